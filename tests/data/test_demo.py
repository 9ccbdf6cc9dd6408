"""The demo forgeries: same seed, same bytes; no photo on both sides; floors as scikit-learn computes them."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from qmanet_benco.data.forge.demo import DemoSet, all_tampered_f1, constant_mask_f1, make_demo
from qmanet_benco.data.forge.forgery import ForgeryKnobs, random_region
from qmanet_benco.data.forge.photos import PHOTOS, photos_in, pixels
from qmanet_benco.errors import RequestError

KINDS = ("splice", "copy-move", "removal")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoSet:
    return make_demo(tmp_path_factory.mktemp("made") / "demo", train_count=14, test_count=9, size=96, seed=3)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(demo: DemoSet, tmp_path: Path) -> None:
    again = make_demo(tmp_path / "again", train_count=14, test_count=9, size=96, seed=3)
    assert files(again.train) == files(demo.train)
    assert files(again.test) == files(demo.test)


def test_another_seed_gives_other_forgeries(demo: DemoSet, tmp_path: Path) -> None:
    other = make_demo(tmp_path / "other", train_count=14, test_count=9, size=96, seed=4)
    assert files(other.test) != files(demo.test)


def test_workers_change_nothing(demo: DemoSet, tmp_path: Path) -> None:
    again = make_demo(tmp_path / "again", train_count=14, test_count=9, size=96, seed=3, workers=2)
    assert files(again.train) == files(demo.train)
    assert again.manifest.read_bytes() == demo.manifest.read_bytes()


def folder_of_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for index in range(count):
        pixel = rng.integers(0, 256, (80 + index, 120, 3), dtype=np.uint8)
        Image.fromarray(pixel).save(folder / f"photo {index}.png")
    return folder


def test_a_folder_of_photos_is_split_by_photo(tmp_path: Path) -> None:
    photos = folder_of_photos(tmp_path / "photos", 9)
    (photos / "notes.txt").write_text("no photo")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    made = make_demo(tmp_path / "out", train_count=12, test_count=6, size=64, photos=photos)
    with made.manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    seen = {split: {row["host"] for row in rows if row["split"] == split} for split in ("train", "test")}
    assert not seen["train"] & seen["test"]
    assert all(row["host"].startswith("photo ") for row in rows)
    for row in rows:
        assert (row["quality"] != "") == row["file"].endswith(".jpg")
        if row["quality"]:
            with Image.open(made.manifest.parent / row["file"]) as image:
                assert 85 <= int(row["quality"]) <= 99
                assert image.format == "JPEG"


def test_further_photos_are_trained_on_only(tmp_path: Path) -> None:
    more = folder_of_photos(tmp_path / "photos", 30)
    made = make_demo(tmp_path / "out", train_count=12, test_count=6, size=64, train_photos=more)
    with made.manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    further = {row["split"] for row in rows if row["host"].startswith("photo ")}
    assert further == {"train"}
    assert {row["host"] for row in rows if row["split"] == "test"} <= {
        photo.name for photo in PHOTOS if photo.split == "test"
    }


@pytest.mark.parametrize("largest", [0.5, math.inf, math.nan])
def test_crops_smaller_than_the_forgery_are_refused(largest: float) -> None:
    with pytest.raises(RequestError, match="1 or more"):
        ForgeryKnobs(crop_scale=(1.0, largest))


def test_pasted_forgeries_are_splices_and_copy_moves_with_their_masks(tmp_path: Path) -> None:
    made = make_demo(tmp_path / "demo", train_count=12, test_count=2, size=96, seed=3, pasted=1.0)
    with made.manifest.open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["kind"] for row in rows} == {"splice", "copy-move"}
    assert all(bool(row["donor"]) == (row["kind"] == "splice") for row in rows)
    assert all(0 < float(row["tampered_fraction"]) < 0.5 for row in rows)


@pytest.mark.parametrize("part", [-0.1, 1.1, math.nan])
def test_a_part_out_of_range_writes_nothing(tmp_path: Path, part: float) -> None:
    with pytest.raises(RequestError, match="from 0 to 1"):
        make_demo(tmp_path / "demo", pasted=part)
    assert not list(tmp_path.iterdir())


def test_too_few_photos_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    photos = folder_of_photos(tmp_path / "photos", 3)
    with pytest.raises(RequestError, match="3 usable photos"):
        make_demo(tmp_path / "out", train_count=1, test_count=1, photos=photos)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_and_masks_pair_by_name_and_size(demo: DemoSet, split: str) -> None:
    folder: Path = getattr(demo, split)
    images, masks = sorted((folder / "Tp").iterdir()), sorted((folder / "Gt").iterdir())
    assert [path.stem for path in images] == [path.stem for path in masks]
    for image, mask in zip(images, masks, strict=True):
        with Image.open(image) as photo, Image.open(mask) as truth:
            assert photo.size == truth.size == (96, 96)
            assert photo.mode == "RGB"
            assert set(np.unique(np.asarray(truth))) == {0, 255}


def test_no_photo_is_on_both_sides(demo: DemoSet) -> None:
    with demo.manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 23
    seen = {
        split: {row[k] for row in rows if row["split"] == split for k in ("host", "donor")}
        for split in ("train", "test")
    }
    assert not (seen["train"] & seen["test"]) - {""}
    assert {row["kind"] for row in rows} == set(KINDS)


def test_the_test_list_is_what_the_stock_script_reads(demo: DemoSet) -> None:
    assert json.loads(demo.test_json.read_text()) == {"demo": str(demo.test.resolve())}


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RequestError, match="not empty"):
        make_demo(tmp_path, train_count=1, test_count=1)
    assert files(tmp_path) == {"mine.txt": b"mine"}


@pytest.mark.parametrize(("field", "value"), [("train_count", 0), ("test_count", 0), ("size", 63), ("seed", -1)])
def test_numbers_out_of_range_write_nothing(tmp_path: Path, field: str, value: int) -> None:
    with pytest.raises(RequestError, match="expected"):
        make_demo(tmp_path / "out", **{field: value})
    assert not list(tmp_path.iterdir())


def test_every_photo_is_there_and_has_a_licence() -> None:
    for photo in PHOTOS:
        assert photo.licence
        image = pixels(photo)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert min(image.shape[:2]) >= 256
    assert {photo.split for photo in PHOTOS} == {"train", "test"}


def test_regions_are_never_empty_and_about_as_large_as_asked() -> None:
    rng = np.random.default_rng(0)
    sizes = [random_region(128, 0.2, rng).mean() for _ in range(60)]
    assert min(sizes) > 0
    assert 0.08 < np.mean(sizes) < 0.25


def test_only_the_region_is_tampered_with(tmp_path: Path) -> None:
    from qmanet_benco.data.forge.forgery import forge

    knobs = ForgeryKnobs(edge=(0.3, 0.3))
    photos = [pixels(photo) for photo in PHOTOS if photo.split == "train"][:2]
    for kind in KINDS:
        forged = forge(*photos, 128, kind, np.random.default_rng(5), knobs)
        plain = forge(*photos, 128, "removal", np.random.default_rng(5), knobs)  # the same background
        far = ~(forged.mask | plain.mask)
        difference = np.abs(forged.image.astype(int) - plain.image)[far]
        assert np.mean(difference > 1) < 0.1


def test_floors_agree_with_scikit_learn(demo: DemoSet) -> None:
    masks = [np.asarray(Image.open(path)).ravel() > 127 for path in sorted((demo.test / "Gt").iterdir())]
    expected = np.mean([f1_score(mask, np.ones_like(mask)) for mask in masks])
    assert all_tampered_f1(demo.test, 96) == pytest.approx(expected)
    assert constant_mask_f1(demo.train, demo.test, 96) >= 0.5 * expected


def hosts_of(made: DemoSet) -> dict[str, set[str]]:
    with made.manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {
        split: {row[part] for row in rows if row["split"] == split for part in ("host", "donor") if row[part]}
        for split in ("train", "test")
    }


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_a_photo_are_in_one_split(seed: int, tmp_path: Path) -> None:
    photos = folder_of_photos(tmp_path / "photos", 8)
    for path in list(photos.iterdir()):
        shutil.copy(path, path.with_name(f"{path.stem} (1).png"))
    split = {photo.name: photo.split for photo in photos_in(photos, seed)}
    assert set(split.values()) == {"train", "test"}
    assert all(split[f"photo {index}.png"] == split[f"photo {index} (1).png"] for index in range(8))


def test_one_folder_for_both_sides_shares_no_photo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos = folder_of_photos(tmp_path / "photos", 9)
    copies = shutil.copytree(photos, tmp_path / "copies")
    for path in list(copies.iterdir()):
        path.rename(path.with_name(f"renamed {path.name}"))
    for further in (photos, copies):
        out = tmp_path / f"out {further.name}"
        made = make_demo(out, train_count=30, test_count=9, size=64, photos=photos, train_photos=further)
        seen = {split: {name[-5:] for name in names} for split, names in hosts_of(made).items()}
        assert not seen["train"] & seen["test"]
        assert "photos to train on are left out: photos to test on show the same" in caplog.text


def test_files_of_other_programs_are_no_photos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos = folder_of_photos(tmp_path / "photos", 6)
    for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX"):
        (photos / name).mkdir()
        shutil.copy(photos / "photo 0.png", photos / name)
    assert len(photos_in(photos, 0)) == 6
    assert "passed over 3 files of other programs" in caplog.text
