"""Forgeries as people make them: outlines follow things, nothing else changes, authentic pictures are marked."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

from qmanet_benco.data.forge import edits
from qmanet_benco.data.forge.demo import make_demo
from qmanet_benco.data.forge.edits import AUTHENTIC, EditKnobs, edit_with_twin
from qmanet_benco.data.forge.history import HistoryKnobs, view
from qmanet_benco.data.forge.outlines import thing_outline
from qmanet_benco.data.forge.removal import remove
from qmanet_benco.errors import RequestError

KINDS = ("splice", "copy-move", "removal", "retouch")
PLAIN = HistoryKnobs(native=1, toned=0, sharpened=0, noisy=0, compressed=0, rescaled=0, saved_as_jpeg=0)
"""A crop of the photo, saved as PNG."""


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("seed", range(6))
def test_an_outline_follows_the_thing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = np.full((200, 240, 3), (60, 120, 60), np.uint8)
    disc = np.zeros((200, 240), np.uint8)
    cv2.circle(disc, (int(rng.integers(60, 180)), int(rng.integers(60, 140))), 45, 1, -1)
    picture[disc > 0] = (200, 60, 40)
    noisy = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    outline = thing_outline(noisy, disc.mean(), rng)
    if outline is None:
        return
    border = cv2.morphologyEx(outline.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    edges = cv2.dilate(cv2.morphologyEx(disc, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.ones((9, 9), np.uint8))
    inside = border[2:-2, 2:-2]
    on_edge = (edges > 0)[2:-2, 2:-2][inside].mean()
    assert on_edge > 0.3  # a shape that ignores the picture has under 0.1 there


@pytest.mark.parametrize("seed", range(8))
def test_an_outline_is_one_region_without_holes_of_about_the_size(seed: int) -> None:
    outline = thing_outline(astronaut(), 0.08, np.random.default_rng(seed))
    assert outline is not None
    assert outline.shape == (512, 512)
    assert 0.01 < outline.mean() < 0.3
    assert cv2.connectedComponents(outline.astype(np.uint8), connectivity=8)[0] == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_far_from_the_mask_is_changed(kind: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = EditKnobs(history=PLAIN, feather=(0.4, 1.0), cloned=0)
    seen: list[np.ndarray] = []
    monkeypatch.setattr(edits, "view", lambda *args: seen.append(view(*args)) or seen[-1])
    monkeypatch.setattr(edits, "toned", lambda picture, _: picture)
    monkeypatch.setattr(edits, "sharpened", lambda picture, _: picture)
    made, _ = edit_with_twin(astronaut(), coffee(), 128, kind, np.random.default_rng(seed), knobs)
    far = cv2.dilate(made.mask.astype(np.uint8), np.ones((25, 25), np.uint8)) == 0
    picture = decoded(made.content)
    assert np.array_equal(picture[far], seen[0][far])
    assert (picture[made.mask] != seen[0][made.mask]).any()
    assert made.kind == kind
    assert (made.quality, made.subsampling) == ("", "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_a_twin_differs_from_its_forgery_only_where_something_was_changed(kind: str, seed: int) -> None:
    history = replace(PLAIN, rescaled=0.5, toned=0.5)
    knobs = EditKnobs(history=history, feather=(0.4, 1.0), cloned=0)
    rng = np.random.default_rng(seed)
    made, twin = edit_with_twin(astronaut(), coffee(), 128, kind, rng, knobs)
    assert (twin.kind, twin.mask.any()) == (AUTHENTIC, False)
    far = cv2.dilate(made.mask.astype(np.uint8), np.ones((25, 25), np.uint8)) == 0
    forged, authentic = decoded(made.content), decoded(twin.content)
    assert np.array_equal(forged[far], authentic[far])
    assert (forged != authentic).any() == made.mask.any()


def test_twins_stand_beside_their_forgeries_and_change_none(tmp_path: Path) -> None:
    plain = make_demo(tmp_path / "plain", train_count=6, test_count=2, size=64, edited=1, authentic=0.3)
    twins = make_demo(tmp_path / "twins", train_count=6, test_count=2, size=64, edited=1, authentic=0.3, twins=True)
    alone, beside = (json.loads(made.train_list.read_text()) for made in (plain, twins))
    forged = [Path(image).name for image, mask in alone if mask != "Negative"]
    assert [Path(image).name for image, mask in beside if mask != "Negative"] == forged
    named = [Path(image).name for image, mask in beside if Path(image).name.startswith("twin_")]
    assert sorted(name[-9:-4] for name in named) == sorted(name[-9:-4] for name in forged)
    assert all(mask == "Negative" for image, mask in beside if Path(image).name in named)
    for name in forged:
        assert (plain.train / "Tp" / name).read_bytes() == (twins.train / "Tp" / name).read_bytes()


def test_twins_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="twins without edited forgeries"):
        make_demo(tmp_path / "demo", train_count=1, test_count=1, twins=True)


def test_an_authentic_picture_is_the_photo_with_a_history() -> None:
    made, _ = edit_with_twin(astronaut(), coffee(), 96, AUTHENTIC, np.random.default_rng(0), EditKnobs())
    assert made.kind == AUTHENTIC
    assert not made.mask.any()
    assert decoded(made.content).shape == (96, 96, 3)


def test_a_photo_of_nothing_stays_authentic() -> None:
    sky = np.full((200, 200, 3), 200, np.uint8)
    made, _ = edit_with_twin(sky, sky, 96, "copy-move", np.random.default_rng(0), replace(EditKnobs(), history=PLAIN))
    assert made.kind == AUTHENTIC
    assert not made.mask.any()


def test_removal_covers_the_thing_and_a_margin() -> None:
    outline = np.zeros((300, 451), bool)
    outline[100:140, 200:260] = True
    picture = np.ascontiguousarray(chelsea())
    for seed in range(4):
        changed, mask = remove(picture, outline, np.random.default_rng(seed))
        assert mask[outline].all()
        assert mask.sum() == 44 * 64
        assert (changed[mask] != picture[mask]).mean() > 0.5


@pytest.mark.parametrize("size", [64, 100])
def test_a_demo_set_holds_authentic_pictures_beside_the_forgeries(tmp_path: Path, size: int) -> None:
    made = make_demo(tmp_path / "a", train_count=16, test_count=8, size=size, seed=3, edited=1, authentic=0.4)
    again = make_demo(
        tmp_path / "b", train_count=16, test_count=8, size=size, seed=3, edited=1, authentic=0.4, workers=2
    )
    for path in made.train.rglob("*.*"):
        assert path.read_bytes() == (again.train / path.relative_to(made.train)).read_bytes()
    listed = json.loads(made.train_list.read_text())
    rows = [row for row in csv.DictReader(made.manifest.open()) if row["split"] == "train"]
    assert len(listed) == len(rows) == 16
    for (image, mask), row in zip(listed, rows, strict=True):
        with Image.open(image) as picture:
            assert picture.size == (size, size)
        assert (mask == "Negative") == (row["kind"] == AUTHENTIC) == (Path(image).parent.name == "Au")
        assert mask == "Negative" or Path(mask).is_file()
    assert 0 < sum(row["kind"] == AUTHENTIC for row in rows) < 16


def test_photos_for_testing_are_never_trained_on(tmp_path: Path) -> None:
    for folder, photos in (("train", 4), ("test", 5)):
        (tmp_path / folder).mkdir()
        for index in range(photos):
            crop = astronaut()[60 * index : 60 * index + 200, 40 * index : 40 * index + 220]
            shade = crop if folder == "train" else coffee()[30 * index : 30 * index + 200, :220]
            Image.fromarray(np.roll(shade, 13 * index, axis=1)).save(tmp_path / folder / f"{folder}{index}.png")
    made = make_demo(
        tmp_path / "out",
        train_count=10,
        test_count=10,
        size=64,
        edited=1,
        photos=tmp_path / "train",
        test_photos=tmp_path / "test",
    )
    for row in csv.DictReader(made.manifest.open()):
        assert row["host"].startswith(row["split"])
        assert not row["donor"] or row["donor"].startswith(row["split"])


@pytest.mark.parametrize("name", ["edited", "authentic"])
def test_a_part_beyond_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match=name):
        make_demo(tmp_path / "out", size=64, **{name: 1.5})
