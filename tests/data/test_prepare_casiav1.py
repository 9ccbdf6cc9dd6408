"""CASIA v1 out of its real layout: 920 pairs, each the right one."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import archives
import numpy as np
import pytest
from PIL import Image
from prepared import grey, left_out, manifest, pairs_of

from qmanet_benco.data.prepare.prepare import prepare


def assert_right(out: Path, truth: dict[str, tuple[Path, np.ndarray]]) -> None:
    pairs = pairs_of(out)
    assert set(pairs) == set(truth)
    for name, (image, mask) in truth.items():
        assert pairs[name][0].read_bytes() == image.read_bytes(), name
        assert np.array_equal(pairs[name][1], mask), name


def test_the_archive_gives_exactly_920_correct_pairs(casiav1_archive, tmp_path):
    raw, truth = casiav1_archive
    made = prepare("casiav1", raw, tmp_path / "out", workers=2)
    assert (made.tampered, made.failed) == (920, 0)
    assert_right(tmp_path / "out", truth)
    reasons = left_out(tmp_path / "out")
    assert list(reasons) == ["Tp/Sp/Sp_D_NRN_A_cha0011_sec0011_0542.jpg"]
    assert "920 masks for 921 images" in reasons["Tp/Sp/Sp_D_NRN_A_cha0011_sec0011_0542.jpg"]


def test_corrections_are_noted(casiav1_archive, tmp_path):
    prepare("casiav1", casiav1_archive[0], tmp_path / "out")
    notes = [line["note"] for line in manifest(tmp_path / "out")]
    assert sum(note.startswith("named Sp_") for note in notes) == 106
    assert sum("turned 90 degrees counter-clockwise" in note for note in notes) == 1
    kinds = [line["kind"] for line in manifest(tmp_path / "out")]
    assert (kinds.count("copy-move"), kinds.count("splice")) == (459, 461)


@pytest.mark.parametrize("folders", ["Sp", "CASIA 1.0 dataset/Tp/{}", "a/b/c/TP/{}"])
def test_other_layouts(folders, tmp_path):
    names = archives.casiav1_names()[90:220] + archives.casiav1_names()[595:605]
    truth = archives.casiav1(tmp_path / "raw", folders=folders, names=names)
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert_right(tmp_path / "out", truth)


def test_letter_case_and_stray_files_change_nothing(tmp_path):
    names = archives.casiav1_names()[90:220]
    truth = archives.casiav1(tmp_path / "raw", names=names)
    for path in sorted((tmp_path / "raw" / "Tp").rglob("*.jpg"))[::2]:
        path.rename(path.with_name(path.stem.upper() + ".JPG"))
    (tmp_path / "raw" / "Tp").rename(tmp_path / "raw" / "TP")
    (tmp_path / "raw" / "readme.txt").write_text("read me")
    (tmp_path / "raw" / "__MACOSX").mkdir()
    (tmp_path / "raw" / "__MACOSX" / "._Sp_S_NNN_A_ani0000_ani0000_1000.jpg").write_bytes(b"x")
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    pairs = pairs_of(tmp_path / "out")
    assert set(pairs) == set(truth)
    assert all(np.array_equal(pairs[name][1], truth[name][1]) for name in truth)
    assert left_out(tmp_path / "out")["readme.txt"] == "not a part of the set's layout"


def test_a_folder_named_after_the_repository_is_no_ground_truth(tmp_path):
    """The download unpacks as casia1groundtruth-master, images and masks alike."""
    truth = archives.casiav1(tmp_path / "raw" / "casia1groundtruth-master", names=archives.casiav1_names()[90:120])
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert_right(tmp_path / "out", truth)


def test_masks_without_their_ending_are_known_by_their_folder(tmp_path):
    truth = archives.casiav1(tmp_path / "raw" / "casia1groundtruth-master", names=archives.casiav1_names()[90:120])
    for path in (tmp_path / "raw").rglob("*_gt.png"):
        path.rename(path.with_name(path.name.replace("_gt", "")))
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert_right(tmp_path / "out", truth)


def test_linked_files_and_folders_count_and_loops_end(tmp_path):
    truth = archives.casiav1(tmp_path / "disk", names=archives.casiav1_names()[:6])
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "Tp").symlink_to(tmp_path / "disk" / "Tp")
    (tmp_path / "disk" / "Tp" / "loop").symlink_to(tmp_path / "raw")
    for path in (tmp_path / "disk" / "CASIA 1.0 groundtruth").rglob("*.png"):
        (tmp_path / "raw" / path.name).symlink_to(path)
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert_right(tmp_path / "out", truth)
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_a_mask_that_was_turned_already_stays(tmp_path):
    name = "Sp_D_CNN_A_sec0012_ani0007_0275"
    archives.save(tmp_path / "raw" / "Sp" / f"{name}.jpg", archives.picture(1))
    archives.save(tmp_path / "raw" / "gt" / f"{name}_gt.png", archives.region(1))
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(pairs_of(tmp_path / "out")[name][1], archives.region(1))


@pytest.mark.parametrize("photo", [True, False])
def test_the_one_turned_mask_is_turned_counter_clockwise(photo, shared_data, tmp_path):
    """The real pair: its mask lies clockwise in the archive, and the photo it was made from proves it."""
    name, folder = "Sp_D_CNN_A_sec0012_ani0007_0275", shared_data("casia1_dev")
    right = grey(folder / "Gt" / f"{name}.png")
    for source, place in ((f"Tp/{name}.jpg", f"Tp/Sp/{name}.jpg"), ("Au/Au_sec_0012.jpg", "Au/Au_sec_0012.jpg")):
        (tmp_path / "raw" / place).parent.mkdir(parents=True, exist_ok=True)
        if photo or not place.startswith("Au"):
            shutil.copy(folder / source, tmp_path / "raw" / place)
    archives.save(tmp_path / "raw" / "CASIA 1.0 groundtruth" / "Sp" / f"{name}_gt.png", np.rot90(right, -1))
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(pairs_of(tmp_path / "out")[name][1], right)
    proof = ", as the authentic photo proves" if photo else ""
    assert manifest(tmp_path / "out")[0]["note"] == f"mask turned 90 degrees counter-clockwise{proof}"


def test_the_photo_contradicts_a_turn_that_is_written_down(tmp_path):
    name, size = "Sp_D_CNN_A_sec0012_ani0007_0275", (48, 32)
    rng = np.random.default_rng(1)
    host = rng.integers(0, 120, (size[1], size[0], 3), dtype=np.uint8)
    truth = np.zeros((size[1], size[0]), bool)
    truth[4:14, 6:30] = True
    archives.save(
        tmp_path / "raw" / "Sp" / f"{name}.png", np.where(truth[..., None], host + 100, host).astype(np.uint8)
    )
    archives.save(tmp_path / "raw" / "gt" / f"{name}_gt.png", np.rot90(truth, 1))
    archives.save(tmp_path / "raw" / "Au" / "Au_sec_0012.png", host)
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(pairs_of(tmp_path / "out")[name][1], truth)


def test_an_archive_unpacked_twice_counts_once(tmp_path):
    truth = archives.casiav1(tmp_path / "raw", names=archives.casiav1_names()[:20])
    shutil.copytree(tmp_path / "raw" / "Tp" / "CM", tmp_path / "raw" / "copy" / "CM")
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert_right(tmp_path / "out", truth)
    assert sum(reason.startswith("a copy of") for reason in left_out(tmp_path / "out").values()) == 20


def test_two_pictures_of_one_name_are_not_guessed_at(tmp_path):
    archives.casiav1(tmp_path / "raw", names=archives.casiav1_names()[:3])
    name = archives.casiav1_names()[0]
    archives.save(tmp_path / "raw" / "Tp" / "Sp" / f"{name}.jpg", archives.picture(77))
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert name not in pairs_of(tmp_path / "out")
    assert sum(name in file for file in left_out(tmp_path / "out")) == 3


def test_the_real_pairs_survive_misnaming(shared_data, tmp_path):
    """Half of the real set with names perturbed as the archive has them: S for D, and other categories."""
    folder = shared_data("casia1_dev")
    images = sorted((folder / "Tp").iterdir())
    numbers = [path.stem[-4:] for path in images]
    rng = random.Random(0)
    wrong = set(rng.sample([path.stem for path in images if numbers.count(path.stem[-4:]) == 1], 106))
    for path in images:
        stem = path.stem
        if stem in wrong:
            letters = stem.replace("Sp_S", "Sp_?").replace("Sp_D", "Sp_S").replace("Sp_?", "Sp_D")
            stem = letters if rng.random() < 0.7 else f"{stem[:10]}xxx0000_yyy{rng.randrange(9999):04d}{stem[-5:]}"
        kind = rng.choice(["CM", "Sp"])
        (tmp_path / "raw" / "Tp" / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "raw" / "Tp" / kind / f"{stem}.jpg")
        truth = tmp_path / "raw" / "CASIA 1.0 groundtruth" / kind / f"{path.stem}_gt.png"
        truth.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "Gt" / f"{path.stem}.png", truth)
        if path.stem.endswith("sec0012_ani0007_0275"):
            with Image.open(truth) as mask:
                turned = mask.transpose(Image.Transpose.ROTATE_270)
            turned.save(truth)
    prepare("casiav1", tmp_path / "raw", tmp_path / "out", workers=2)
    pairs = pairs_of(tmp_path / "out")
    assert set(pairs) == {path.stem for path in images}
    for path in images:
        assert pairs[path.stem][0].read_bytes() == path.read_bytes()
        assert np.array_equal(pairs[path.stem][1], grey(folder / "Gt" / f"{path.stem}.png"))
