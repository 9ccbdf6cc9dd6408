"""Pairing by identity: the order of files, their letter case and strangers among them have no influence."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmanet_benco.data.prepare.archive import safe_name
from qmanet_benco.data.prepare.casia import CASIA_KEYS, number_key
from qmanet_benco.pairing import image_key, mask_key, match, match_names

NAME = st.from_regex(r"Sp_[SD]_NNN_A_(ani|sec)[0-9]{2}_(art|txt)[0-9]{2}_[0-9]{2}", fullmatch=True)
NAMES = st.lists(NAME, max_size=12, unique=True)


@given(NAMES, st.randoms(use_true_random=False))
def test_the_order_of_files_has_no_influence(names, random):
    images, masks = [Path(f"{name}.jpg") for name in names], [Path(f"{name}_gt.png") for name in names[::2]]
    plain = match(images, masks, CASIA_KEYS)
    random.shuffle(images)
    random.shuffle(masks)
    assert match(images, masks, CASIA_KEYS) == plain


@given(NAMES)
def test_exact_names_always_win(names):
    images, masks = [Path(f"{name}.jpg") for name in names], [Path(f"{name}_gt.png") for name in names]
    pairs = match(images, masks, CASIA_KEYS).pairs
    assert {(image_key(image), stage) for image, mask, stage in pairs} == {(name.casefold(), 0) for name in names}
    assert all(image_key(image) == mask_key(mask) for image, mask, _ in pairs)


@given(NAMES, NAMES)
def test_no_file_is_lost_or_used_twice(names, others):
    images, masks = [Path(f"{name}.jpg") for name in names], [Path(f"{name}_GT.png") for name in others]
    matching = match(images, masks, CASIA_KEYS)
    assert sorted([image for image, _, _ in matching.pairs] + matching.images) == sorted(images)
    assert sorted([mask for _, mask, _ in matching.pairs] + matching.masks) == sorted(masks)
    for image, mask, stage in matching.pairs:
        assert number_key(image) == number_key(mask) or stage == 0


@given(NAMES)
def test_letter_case_has_no_influence(names):
    images, masks = [Path(f"{name.upper()}.JPG") for name in names], [Path(f"{name.lower()}_Gt.PNG") for name in names]
    assert len(match(images, masks).pairs) == len(names)


def test_an_ambiguous_number_pairs_nothing():
    images = [Path("a_1.jpg"), Path("b_1.jpg"), Path("c_2.jpg")]
    masks = [Path("x_1_gt.png"), Path("y_2_gt.png")]
    matching = match(images, masks, ((image_key, mask_key), (number_key, number_key)))
    assert [(image.name, mask.name) for image, mask, _ in matching.pairs] == [("c_2.jpg", "y_2_gt.png")]


@given(st.text(max_size=20))
def test_a_safe_name_stays_below_its_folder(name):
    try:
        place = safe_name(name)
    except ValueError:
        return
    root = Path("/raw/archive")
    assert (root / place).resolve().is_relative_to(root)


NUMBERS = ("1", "2", "10")
CAFE = "caf\u00e9"
TOGETHER = {
    **{
        ending: [(f"{number}.jpg", f"{number}{ending}.png") for number in NUMBERS]
        for ending in (
            *("", "_groundtruth", "_gt3", "_label", "_seg", "_mask_1", "_gt", "-mask", " mask", ".mask", "_xyz", "_GT"),
            *(
                "gt",
                "_ground_truth",
                "_tampered_region",
                "_manipulation-mask",
                "_m",
                "_0",
                ".jpg",
                ".jpg_mask",
                "_copy2",
            ),
        )
    },
    "a beginning": [(f"{number}.jpg", f"mask_{number}.png") for number in NUMBERS],
    "a beginning without a mark": [(f"{number}.jpg", f"gt{number}.png") for number in NUMBERS],
    "another word before": [(f"img_{number}.jpg", f"mask_{number}.png") for number in NUMBERS],
    "another word behind": [(f"{number}_tampered.jpg", f"{number}_mask.png") for number in NUMBERS],
    "words on both sides": [(f"photo{number}_a.jpg", f"gt{number}_b.png") for number in NUMBERS],
    "leading zeros": [(f"{number}.jpg", f"{number:0>4}.png") for number in NUMBERS],
    "letter case": [("IMG_1.JPG", "img_1_gt.png"), ("IMG_10.JPG", "Img_10_GT.PNG")],
    "names that only letter case tells apart": [("a.jpg", "a.png"), ("A.jpg", "A.png")],
    "several endings": [
        ("1.jpg", "1_gt.png"),
        ("2.jpg", "2_mask.png"),
        ("10.jpg", "10_label_1.png"),
        ("3.jpg", "3.png"),
    ],
    "a name that ends like a mask": [("a.jpg", "a_gt.png"), ("a_gt.jpg", "a_gt_gt.png")],
    "one image": [("a.jpg", "a_segment.png")],
    "one image and one beginning": [("a7.jpg", "groundtruth-a7.png")],
    "one image with a word of its own": [("img_1.jpg", "mask_1.png")],
    "one stem, two kinds": [("a.jpg", "a.jpg.png"), ("a.png", "a.png.png")],
    "one stem, two kinds on both sides": [("a.jpg", "a.jpg"), ("a.png", "a.png")],
    "words": [("cat.jpg", "cat_mask.png"), ("dog.jpg", "dog_mask.png"), ("catdog.jpg", "catdog_mask.png")],
    "words without a mark": [("cat.jpg", "catmask.png"), ("dog.jpg", "dogmask.png")],
    "accents": [
        (unicodedata.normalize("NFC", f"{CAFE}{n}.jpg"), unicodedata.normalize("NFD", f"{CAFE}{n}_gt.png"))
        for n in NUMBERS
    ],
    "COVERAGE": [("1t.tif", "1forged.tif"), ("10t.tif", "10forged.tif"), ("2t.tif", "2forged.tif")],
}


@pytest.mark.parametrize("case", TOGETHER)
def test_names_decide_whatever_masks_have_more(case):
    pairs = [(Path("Tp", image), Path("Gt", mask)) for image, mask in TOGETHER[case]]
    matching = match_names([image for image, _ in pairs], [mask for _, mask in pairs])
    assert [(image, mask) for image, mask, _ in matching.pairs] == sorted(pairs)
    assert not matching.images
    assert not matching.masks


APART = {
    "no name in common": (("a.jpg", "b.jpg"), ("x.png", "y.png")),
    "a number that goes on": (("1.jpg", "2.jpg"), ("10.png", "20.png")),
    "other numbers of one kind": (("10.jpg", "11.jpg", "12.jpg"), ("20.png", "21.png", "22.png")),
    "another set's numbers": (("set1_a.jpg", "set1_b.jpg"), ("set2_a.png", "set2_b.png")),
    "words that rhyme": (("cat.jpg", "car.jpg"), ("dot.png", "dor.png")),
    "two masks of one image": (("cat_1.jpg", "cat_2.jpg"), ("cat_1_red.png", "cat_1_blue.png")),
    "a shift": (("1.jpg", "2.jpg"), ("2.png", "3.png")),
    "one image, another mask": (("a.jpg",), ("b.png",)),
    "one image, the next mask": (("a_1.jpg",), ("a_2.png",)),
    "one number more": (("a.jpg", "b.jpg"), ("a_2.png", "c_2.png")),
}


@pytest.mark.parametrize("case", APART)
def test_what_names_leave_open_stays_unpaired(case):
    images, masks = ([Path(name) for name in names] for names in APART[case])
    matching = match_names(images, masks)
    wrong = [(image.stem, mask.stem) for image, mask, _ in matching.pairs if image.stem != mask.stem]
    assert not wrong
    assert matching.images
    assert matching.masks


@given(st.sets(st.integers(0, 3000), min_size=1, max_size=30), st.from_regex(r"[_-][a-z]{1,8}[0-9]?", fullmatch=True))
def test_numbers_find_their_masks_behind_any_ending(numbers, ending):
    images, masks = [Path(f"{number}.jpg") for number in numbers], [Path(f"{number}{ending}.png") for number in numbers]
    assert {(image.stem + ending, mask.stem) for image, mask, _ in match_names(images, masks).pairs} == {
        (mask.stem, mask.stem) for mask in masks
    }
