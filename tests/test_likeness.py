"""One photo in two files: byte copies, recompressed, scaled and turned copies, forgeries; strangers stay apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qmanet_benco.likeness import alike, linked, signature_of, signatures_of_files
from qmanet_benco.pixels import TURNS


def picture(seed: int) -> Image.Image:
    """Smooth random tones, 240 x 160, as different as photos are."""
    tones = np.random.default_rng(seed).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    return Image.fromarray(tones).resize((240, 160), Image.Resampling.BICUBIC)


def groups_of(paths: list[Path]) -> list[list[str]]:
    groups = linked(len(paths), alike(signatures_of_files(paths)))
    return [[paths[position].name for position in group] for group in groups]


COPIES = {
    "the same bytes": lambda path: shutil.copy(path, path.with_name("a (1).png")),
    "JPEG": lambda path: Image.open(path).save(path.with_name("x.jpg"), quality=60),
    "half the size": lambda path: (
        Image.open(path).resize((120, 80), Image.Resampling.LANCZOS).save(path.with_name("x.png"))
    ),
    "16 bits": lambda path: Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 257).save(
        path.with_name("x.png")
    ),
    "a small forgery": lambda path: _forged(Image.open(path)).save(path.with_name("x.png")),
}


def _forged(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    image.paste(image.crop((0, 0, 40, 30)), (190, 120))
    return image


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_recognised_whatever_its_name(name: str, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    COPIES[name](tmp_path / "a.png")
    for seed in range(2, 12):
        picture(seed).save(tmp_path / f"stranger{seed}.png")
    groups = groups_of(sorted(tmp_path.iterdir()))
    assert sorted(map(len, groups)) == [1] * 10 + [2]
    assert "a.png" in next(group for group in groups if len(group) == 2)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_copy_that_exif_turns_is_recognised(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = picture(1)
    stored.save(tmp_path / "a.png", exif=exif)
    stored.transpose(TURNS[orientation]).save(tmp_path / "b.png")
    assert len(groups_of(sorted(tmp_path.iterdir()))) == 1


def test_strangers_and_flat_pictures_stay_apart(tmp_path: Path) -> None:
    for seed in range(60):
        picture(seed).save(tmp_path / f"{seed}.png")
    for grey in range(5):
        Image.new("RGB", (60, 40), (40 * grey,) * 3).save(tmp_path / f"flat{grey}.png")
    assert len(groups_of(sorted(tmp_path.iterdir()))) == 65


def test_pictures_in_memory_and_in_files_are_compared(tmp_path: Path) -> None:
    picture(3).save(tmp_path / "a.jpg", quality=80)
    signatures = [
        signature_of(np.asarray(picture(3))),
        *signatures_of_files([tmp_path / "a.jpg", tmp_path / "absent.jpg"]),
    ]
    assert list(alike(signatures)) == [(0, 1)] or set(alike(signatures)) == {(0, 1)}
    assert signatures[2] is None


def test_chains_link() -> None:
    assert linked(5, [(0, 3), (3, 1)]) == [[0, 1, 3], [2], [4]]
