"""What a prepared folder holds, read the way the framework reads it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = ("casiav2", "columbia", "coverage", "nist16", "imd2020", "fantasticreality", "cocoglide", "autosplice")


def pairs_of(out: Path) -> dict[str, tuple[Path, np.ndarray]]:
    """What the framework will see: stem to image and mask; from the JSON list where there are no folders."""
    if (out / "Tp").is_dir():
        images, masks = sorted((out / "Tp").iterdir()), sorted((out / "Gt").iterdir())  # as the framework does it
        assert [path.stem for path in images] == [path.stem for path in masks]
    else:
        images, masks = zip(
            *[(Path(image), Path(mask)) for image, mask in json.loads((out / "list.json").read_text())], strict=True
        )
    return {image.stem: (image, grey(mask)) for image, mask in zip(images, masks, strict=True)}


def grey(path: Path) -> np.ndarray:
    """A prepared mask as truth values; it must be an 8-bit plane of 0 and 255."""
    with Image.open(path) as image:
        assert image.mode == "L"
        values = np.asarray(image)
    assert set(np.unique(values)) <= {0, 255}
    return values > 127


def left_out(out: Path) -> dict[str, str]:
    """File to reason."""
    with (out / "left_out.csv").open(newline="") as stream:
        return {line["file"]: line["reason"] for line in csv.DictReader(stream)}


def manifest(out: Path) -> list[dict[str, str]]:
    """The lines of the manifest."""
    with (out / "manifest.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def snapshot(out: Path) -> dict[str, bytes]:
    """Every file of a folder and its bytes."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
