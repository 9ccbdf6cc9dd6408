"""What the archives' names say, and where they do not say enough: doubtful files are left out with the reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import archives
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prepared import left_out, manifest, pairs_of

from qmanet_benco.data.prepare.archive import Archive
from qmanet_benco.data.prepare.casia import digits_key, number_key, photo_key
from qmanet_benco.data.prepare.layouts import FINDERS
from qmanet_benco.data.prepare.prepare import prepare
from qmanet_benco.pairing import image_key, mask_key


def add(raw: Path, image: str, mask: str | None, seed: int = 0) -> None:
    """One forgery of CASIA v2 and its mask."""
    archives.save(raw / "Tp" / f"{image}.tif", archives.picture(seed))
    if mask is not None:
        archives.save(raw / "CASIA 2 Groundtruth" / f"{mask}.png", archives.region(seed))


def reasons(out: Path) -> dict[str, str]:
    """Stem to reason."""
    return {Path(file).stem: reason for file, reason in left_out(out).items()}


@given(
    st.from_regex(r"[A-Za-z0-9_]{1,20}[A-Za-z]", fullmatch=True), st.sampled_from(["_gt", "_gt3", "_GT", "_mask", ""])
)
def test_a_masks_key_is_its_images_key(stem, ending):
    if mask_key(Path(f"{stem}.png")) == image_key(Path(f"{stem}.png")):
        assert mask_key(Path(f"{stem}{ending}.png")) == image_key(Path(f"{stem}.jpg"))


def test_numbers_of_a_casia_name():
    path = Path("Tp_D_CRN_S_N_cha00063_art00014_11818_gt.png")
    assert number_key(path) == "11818"
    assert digits_key(path) == "00063-00014-11818"
    assert (photo_key(path, 0), photo_key(path, 1)) == ("00063-11818", "00014-11818")
    assert photo_key(Path("Tp_11818.jpg"), 0) is None


def test_the_first_version_of_a_mask_is_used(tmp_path):
    name = "Tp_S_NRN_S_N_sec20084_sec20084_20094"
    add(tmp_path / "raw", name, f"{name}_gt", 1)
    archives.save(tmp_path / "raw" / "CASIA 2 Groundtruth" / f"{name}_gt3.png", archives.region(2))
    made = prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (1, 0)
    assert np.array_equal(pairs_of(tmp_path / "out")[name][1], archives.region(1))
    assert reasons(tmp_path / "out")[f"{name}_gt3"].startswith("another version of CASIA 2 Groundtruth/")


def test_the_only_version_of_a_mask_is_used_whatever_its_digit(tmp_path):
    name = "Tp_S_NRN_S_N_sec20084_sec20084_20094"
    add(tmp_path / "raw", name, f"{name}_gt3", 1)
    prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    assert set(pairs_of(tmp_path / "out")) == {name}


@pytest.mark.parametrize("name", ["Tp_D_XXX_M_N_nat00009_art00002_11001", "Tp_S_NRN_S_N_cha00001_ani00077_11001"])
def test_a_wrong_name_is_made_good_by_one_photo_and_the_number(name, tmp_path):
    add(tmp_path / "raw", "Tp_D_NRN_M_N_nat00001_art00002_11001", f"{name}_gt", 1)
    add(tmp_path / "raw", "Tp_D_NRN_M_N_nat00001_art00002_11005", None, 2)
    prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    assert set(pairs_of(tmp_path / "out")) == {"Tp_D_NRN_M_N_nat00001_art00002_11001"}
    assert manifest(tmp_path / "out")[0]["note"] == f"mask named {name}_gt in the archive"


def test_a_number_alone_decides_nothing_in_a_part_of_the_archive(tmp_path):
    """Copy-moves and splices are numbered apart: the mask may be of a forgery that this part does not have."""
    add(tmp_path / "raw", "Tp_D_NRN_M_N_nat00001_art00002_11001", "Tp_S_NRN_S_N_cha00066_ani00077_11001_gt", 1)
    add(tmp_path / "raw", "Tp_D_NRN_M_N_nat00003_art00004_11002", None, 2)
    add(tmp_path / "raw", "Tp_S_NRN_S_N_nat00005_nat00005_11003", "Tp_S_NRN_S_N_nat00005_nat00005_11003_gt", 3)
    made = prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    assert set(pairs_of(tmp_path / "out")) == {"Tp_S_NRN_S_N_nat00005_nat00005_11003"}
    assert made.failed == 0
    told = reasons(tmp_path / "out")
    image, mask = "Tp_D_NRN_M_N_nat00001_art00002_11001", "Tp_S_NRN_S_N_cha00066_ani00077_11001_gt"
    assert told[image] == f"it may belong to CASIA 2 Groundtruth/{mask}.png: not guessed"
    assert told[mask] == f"it may belong to Tp/{image}.tif: not guessed"
    assert told["Tp_D_NRN_M_N_nat00003_art00004_11002"] == "no mask in the archive belongs to this image"


def test_a_number_alone_decides_where_the_numbers_agree_one_to_one(tmp_path):
    for number in (11001, 11002, 11003):
        add(tmp_path / "raw", f"Tp_D_NRN_M_N_nat00001_art00002_{number}", f"Tp_S_NRN_S_N_cha9_ani8_{number}_gt", number)
    prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    pairs = pairs_of(tmp_path / "out")
    for number in (11001, 11002, 11003):
        assert np.array_equal(pairs[f"Tp_D_NRN_M_N_nat00001_art00002_{number}"][1], archives.region(number))


def test_sizes_that_disagree_object_to_a_guessed_pair(tmp_path):
    add(tmp_path / "raw", "Tp_D_NRN_M_N_nat00001_art00002_11001", None, 1)
    mask = tmp_path / "raw" / "CASIA 2 Groundtruth" / "Tp_D_NRN_M_N_nat00009_art00002_11001_gt.png"
    archives.save(mask, archives.region(1, (40, 40)))
    add(tmp_path / "raw", "Tp_S_NRN_S_N_nat00005_nat00005_11003", "Tp_S_NRN_S_N_nat00005_nat00005_11003_gt", 3)
    prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    assert set(pairs_of(tmp_path / "out")) == {"Tp_S_NRN_S_N_nat00005_nat00005_11003"}
    assert "not guessed" in reasons(tmp_path / "out")["Tp_D_NRN_M_N_nat00001_art00002_11001"]


@pytest.mark.parametrize(("name", "image", "photos"), [
    ("casiav2", "Tp_D_CND_M_N_ani00018_sec00096_00138", ["Au_ani_00018"]),
    ("columbia", "canong3_canonxt_sub_02", ["canong3_02_sub_01"]),
    ("coverage", "2t", ["2"]),
    ("imd2020", "c8_1", ["b2_orig"]),
])  # fmt: skip
def test_the_finder_knows_the_authentic_photos(name, image, photos, archive):
    found = FINDERS[name](Archive(archive(name)))
    (pair,) = (pair for pair in found.pairs if pair.image.stem == image)
    assert [host.stem for host in pair.hosts] == photos


def test_nist16_knows_the_photo_if_the_archive_has_it(tmp_path):
    row = {"ProbeFileName": "probe/NC2016_0001.jpg", "IsTarget": "Y", "BaseFileName": "world/base.jpg"}
    mask = {"ProbeMaskFileName": "reference/manipulation/mask/NC2016_0001_gt.png"}
    archives.nist16(tmp_path / "raw")
    reference = next((tmp_path / "raw").rglob("*-ref.csv"))
    reference.unlink()
    archives.nist16(tmp_path / "raw", (row | mask,))
    lines = reference.read_text().splitlines()
    reference.write_text("\n".join([lines[0], lines[-1]]) + "\n")
    archives.save(tmp_path / "raw" / "NC2016_Test0613" / "world" / "base.jpg", archives.picture(3, (96, 64)))
    (pair,) = FINDERS["nist16"](Archive(tmp_path / "raw")).pairs
    assert [host.name for host in pair.hosts] == ["base.jpg"]
    reference.write_text(reference.read_text().replace("world/base.jpg", "../../../etc/hostname"))
    (pair,) = FINDERS["nist16"](Archive(tmp_path / "raw")).pairs
    assert pair.hosts == ()


def test_a_nist16_list_with_other_columns_is_named(tmp_path):
    archives.nist16(tmp_path / "raw")
    reference = next((tmp_path / "raw").rglob("*-ref.csv"))
    copy = reference.parent.parent / "splice" / "NC2016-old-manipulation-ref.csv"
    copy.parent.mkdir()
    copy.write_text(reference.read_text().replace("|", ","))
    made = prepare("nist16", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (3, 1)
    assert any("no column ProbeFileName" in reason for reason in left_out(tmp_path / "out").values())


def test_lists_that_repeat_pairs_count_them_once(tmp_path):
    """The lists of removals and splices repeat a part of the whole list."""
    archives.nist16(tmp_path / "raw")
    reference = next((tmp_path / "raw").rglob("*-ref.csv"))
    for kind in ("removal", "splice"):
        copy = reference.parent.parent / kind / f"NC2016-{kind}-manipulation-ref.csv"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(reference, copy)
    made = prepare("nist16", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (3, 0)


def test_a_nist16_probe_with_two_masks_is_left_out(tmp_path):
    row = {"ProbeFileName": "probe/NC2016_0001.jpg", "IsTarget": "Y"}
    other = {"ProbeMaskFileName": "reference/manipulation/mask/NC2016_0000_gt.png"}
    archives.nist16(tmp_path / "raw", (row | other,))
    made = prepare("nist16", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (2, 1)
    assert reasons(tmp_path / "out")["NC2016_0001"] == "the list gives it 2 different masks"
