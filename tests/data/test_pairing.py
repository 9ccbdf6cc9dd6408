"""Pairing by identity: the order of files, their letter case and strangers among them have no influence."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from qmanet_benco.data.prepare.archive import safe_name
from qmanet_benco.data.prepare.casia import CASIA_KEYS
from qmanet_benco.data.prepare.pairing import image_key, mask_key, match, number_key

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
