"""The study's splits share no photo, and the same arguments give the same bytes."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qmanet_benco.benco.resume.holdout import photos_of
from qmanet_benco.errors import RequestError
from study_images import CROPS, GENERATED, REAL, TRAIN
from study_set import make_study_set
from study_split import identities_of, linked

NAMES = [f"ani{index:04d}" for index in range(12)]


@pytest.fixture(scope="module")
def casia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos and pairs with CASIA's names."""
    folder = tmp_path_factory.mktemp("casia")
    for part in ("Tp", "Gt", "Au"):
        (folder / part).mkdir()
    generator = np.random.default_rng(0)
    for name in NAMES:
        pixels = generator.integers(0, 255, (96, 144, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "Au" / f"Au_{name[:3]}_{name[3:]}.jpg")
    for index, (one, other) in enumerate(zip(NAMES[::2], NAMES[1::2], strict=True)):
        stem = f"Sp_D_CNN_A_{one}_{other}_{index:04d}"
        mask = np.zeros((96, 144), np.uint8)
        mask[20:50, 30 + index : 70] = 255
        Image.fromarray(generator.integers(0, 255, (96, 144, 3), dtype=np.uint8)).save(folder / "Tp" / f"{stem}.jpg")
        Image.fromarray(mask).save(folder / "Gt" / f"{stem}.png")
    return folder


def made(casia: Path, out: Path, workers: int = 1) -> Path:
    make_study_set(casia, out, size=64, generated=6, pasted=4, validation=4, copies=2, workers=workers)
    return out


def test_validation_shares_no_photo_with_training(casia: Path, tmp_path: Path) -> None:
    with (made(casia, tmp_path / "set") / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    used = {
        split: {name for row in rows if row["split"] == split for name in row["sources"].split()}
        for split in (TRAIN, GENERATED, REAL, CROPS)
    }
    assert used[TRAIN].isdisjoint(used[GENERATED] | used[REAL] | used[CROPS])
    assert all(used.values())
    counts = {split: sum(row["split"] == split for row in rows) for split in used}
    assert counts == {TRAIN: 6 + 4 + 2 * 5, GENERATED: 4, REAL: 1, CROPS: 1}
    for split in (TRAIN, GENERATED, CROPS):
        for image in (tmp_path / "set" / split / "Tp").iterdir():
            mask = np.asarray(Image.open(tmp_path / "set" / split / "Gt" / f"{image.stem}.png"))
            assert mask.shape == (64, 64) == Image.open(image).size
            assert set(np.unique(mask)) <= {0, 255}


def test_same_bytes_for_any_number_of_workers(casia: Path, tmp_path: Path) -> None:
    folders = [made(casia, tmp_path / f"of{workers}", workers) for workers in (1, 2)]
    digests = [
        {path.relative_to(folder): hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*.[jp][pn]g")}
        for folder in folders
    ]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2 * 26


def test_whole_real_copies_are_the_pixels_that_the_framework_would_see(casia: Path, tmp_path: Path) -> None:
    """Squeezed and mirrored only: a second compression would lay traces of its own over those of the forger's."""
    folder = made(casia, tmp_path / "set") / TRAIN / "Tp"
    with (tmp_path / "set" / "manifest.csv").open() as stream:
        real = [row["file"] for row in csv.DictReader(stream) if row["split"] == TRAIN and row["kind"] == "real"]
    assert real
    assert all(name.endswith(".png") for name in real)
    whole = [name for name in real if name.endswith("_00000.png")]
    assert len(whole) == len(real) / 2
    for name in whole:
        source = casia / "Tp" / f"{name.removeprefix('real_').removesuffix('_00000.png')}.jpg"
        squeezed = cv2.resize(np.asarray(Image.open(source)), (64, 64), interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(np.asarray(Image.open(folder / name)), squeezed)


def test_more_copies_leave_the_first_as_they_are_and_bring_new_ones(casia: Path, tmp_path: Path) -> None:
    few, many = (tmp_path / str(copies) for copies in (4, 8))
    for folder in (few, many):
        make_study_set(casia, folder, size=64, generated=1, pasted=6, validation=2, copies=int(folder.name))
    before, after = (
        {path.name: path.read_bytes() for path in (folder / TRAIN / "Tp").iterdir()} for folder in (few, many)
    )
    assert before.items() <= after.items()
    later = {name for name in after.keys() - before.keys() if int(Path(name).stem.rsplit("_", 1)[1]) % 2 == 0}
    assert len(later) == 2 * 5  # of five pairs the copies 4 and 6
    for name in later:
        assert after[name] not in before.values()
        mask = np.asarray(Image.open(many / TRAIN / "Gt" / name))
        assert mask.shape == (64, 64)
        assert mask.any(), "a part of the image without the tampered region"


def test_both_generators_make_the_validation_s_forgeries(casia: Path, tmp_path: Path) -> None:
    with (made(casia, tmp_path / "set") / "manifest.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == GENERATED]
    pasted = [row["file"] for row in rows if row["kind"].startswith("pasted-")]
    assert len(pasted) == len(rows) / 2
    # by its index a pasted forgery is whole or a crop, as in training
    assert {int(Path(name).stem.rsplit("_", 1)[1]) % 2 for name in pasted} == {0, 1}


def test_masks_that_are_empty_or_damaged_are_drawn_again_or_named(casia: Path, tmp_path: Path) -> None:
    copied = tmp_path / "casia"
    shutil.copytree(casia, copied)
    for mask in (copied / "Gt").iterdir():
        Image.new("L", (144, 96)).save(mask)
    made(copied, tmp_path / "set")
    for mask in (copied / "Gt").iterdir():
        mask.write_bytes(b"no mask")
    with pytest.raises(RequestError, match=r"\.png"):
        made(copied, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_every_forgery_s_name_tells_its_photos(casia: Path, tmp_path: Path) -> None:
    """`--val-fraction` keeps photos of the held-out part out of training by these names."""
    with (made(casia, tmp_path / "set") / "manifest.csv").open() as stream:
        for row in csv.DictReader(stream):
            assert set(photos_of(row["file"])) == {f"CASIA:{name}" for name in row["sources"].split()}, row["file"]


def test_a_folder_that_exists_is_left_alone(casia: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(RequestError, match="exists"):
        made(casia, tmp_path / "set")


def test_identities_stand_in_the_names() -> None:
    assert identities_of("Sp_D_CNN_A_ani0049_cha0084_0266.jpg") == ("ani0049", "cha0084")
    assert identities_of("Sp_S_NNN_A_nat0071_nat0071_0270.jpg") == ("nat0071",)
    assert identities_of("Au_ani_0049.jpg") == ("ani0049",)
    assert identities_of("Tp_D_NRN_S_N_ani10171_ani00001_12458.jpg") == ("ani10171", "ani00001")


@settings(max_examples=100)
@given(st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), max_size=12))
def test_linked_names_are_one_group_and_groups_share_none(memberships: list[list[str]]) -> None:
    groups = linked(memberships)
    assert sum(map(len, groups)) == len(set().union(*groups)) if groups else not memberships
    for names in memberships:
        assert sum(set(names) <= group for group in groups) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"size": 32}, "size 32"),
        ({"generated": 0}, "0 generated, 4 pasted and 4"),
        ({"pasted": 0}, "6 generated, 0 pasted and 4"),
        ({"copies": -1}, "-1 copies"),
        ({"workers": 0}, "0 workers"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_written(
    casia: Path, tmp_path: Path, changed: dict[str, int], words: str
) -> None:
    numbers = {"size": 64, "generated": 6, "pasted": 4, "validation": 4, "copies": 2, "workers": 1, "seed": 0} | changed
    with pytest.raises(RequestError, match=words):
        make_study_set(casia, tmp_path / "set", **numbers)
    assert not list(tmp_path.iterdir())
