"""A prepared set has one number on every machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import archives
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from qmanet_benco.cli.main import app
from qmanet_benco.data.prepare.digest import pair_digest
from qmanet_benco.data.prepare.prepare import PrepareOptions, prepare

CASIA_HALF = "360ccb50133e971c09463ea2bd4fbc2cdb126a6df6995ef697df93e89dfcdc34"
"""Digest of the pairs in ../shared/data/casia1_dev."""


@pytest.mark.parametrize("name", ["columbia", "fantasticreality", "tampcoco", "coverage"])
def test_paths_and_processes_change_nothing(name: str, tmp_path: Path) -> None:
    getattr(archives, name)(tmp_path / "one" / "raw")
    shutil.copytree(tmp_path / "one" / "raw", tmp_path / "two" / "deep" / "elsewhere")
    first = prepare(name, tmp_path / "one" / "raw", tmp_path / "out1")
    second = prepare(name, tmp_path / "two", tmp_path / "out2", workers=2)
    again = prepare(name, tmp_path / "two", tmp_path / "out2")
    assert len(first.digest) == 64
    assert first.digest == second.digest == again.digest
    shown = CliRunner().invoke(
        app, ["data", "prepare", name, "--raw", str(tmp_path / "two"), "--out", str(tmp_path / "x")]
    )
    assert f"SHA-256 of the set: {first.digest}" in shown.output


@pytest.mark.parametrize("what", ["image", "mask", "name"])
def test_another_pixel_or_name_is_another_set(what: str, tmp_path: Path) -> None:
    archives.coverage(tmp_path / "raw")
    before = prepare("coverage", tmp_path / "raw", tmp_path / "before").digest
    image, mask = tmp_path / "raw/image/1t.tif", tmp_path / "raw/mask/1forged.tif"
    if what == "name":
        image.rename(image.with_name("7t.tif"))
        mask.rename(mask.with_name("7forged.tif"))
    else:
        path = image if what == "image" else mask
        with Image.open(path) as opened:
            pixels = np.array(opened)
        pixels[3, 3] = 255 - pixels[3, 3]
        archives.save(path, pixels)
    assert prepare("coverage", tmp_path / "raw", tmp_path / "after").digest != before


def test_scaled_images_count_by_their_pixels(tmp_path: Path) -> None:
    archives.nist16(tmp_path / "raw")
    whole = prepare("nist16", tmp_path / "raw", tmp_path / "whole").digest
    small = prepare("nist16", tmp_path / "raw", tmp_path / "small", PrepareOptions(long_side=64)).digest
    assert small != whole
    assert prepare("nist16", tmp_path / "raw", tmp_path / "again", PrepareOptions(long_side=64)).digest == small


def test_a_mask_counts_by_its_size_too() -> None:
    wide, high = np.ones((2, 4), bool), np.ones((4, 2), bool)
    assert pair_digest(b"image", wide) != pair_digest(b"image", high)


def test_half_of_casia_v1_has_its_number(shared_data, tmp_path: Path) -> None:
    folder = shared_data("casia1_dev")
    shutil.copytree(folder / "Tp", tmp_path / "raw" / "Tp" / "Sp")
    (tmp_path / "raw" / "CASIA 1.0 groundtruth").mkdir()
    for path in (folder / "Gt").iterdir():
        shutil.copy(path, tmp_path / "raw" / "CASIA 1.0 groundtruth" / f"{path.stem}_gt.png")
    made = prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.digest) == (460, CASIA_HALF)
