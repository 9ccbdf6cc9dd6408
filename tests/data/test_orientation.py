"""EXIF orientation where mask and image have one size: turned, left as it is, or left out, by what proves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepared import left_out, manifest, pairs_of

from qmanet_benco.data.masks import stored_from_shown
from qmanet_benco.data.prepare.prepare import prepare
from qmanet_benco.data.prepare.writer import PrepareOptions
from qmanet_benco.pixels import TURNS


def _archive(
    raw: Path, orientation: int, size: tuple[int, int], drawn_on: str, *, host: str = "", exif_of_mask: int = 1
) -> np.ndarray:
    """IMD2020 with one forgery; returns the mask on the stored pixels.

    Args:
        raw: where to write.
        orientation: of the forgery.
        size: width and height of the stored pixels.
        drawn_on: the mask lies on the picture as it is ``stored`` or ``shown``.
        host: the original is there, as it is ``stored`` or ``shown``; empty: it is not.
        exif_of_mask: its orientation.
    """
    (raw / "abc12").mkdir(parents=True)
    original = np.random.default_rng(0).integers(0, 128, (size[1], size[0], 3), dtype=np.uint8)
    truth = np.zeros((size[1], size[0]), bool)
    truth[2:11, 3:25] = True
    forged = np.where(truth[..., None], original + 100, original).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(forged).save(raw / "abc12" / "abc12_0.png", exif=exif)
    mask, photo = Image.fromarray(truth), Image.fromarray(original)
    if drawn_on == "shown" and orientation > 1:
        mask = mask.transpose(TURNS[orientation])
    exif[274] = exif_of_mask
    mask.save(raw / "abc12" / "abc12_0_mask.png", exif=exif)
    if host:
        if host == "shown" and orientation > 1:
            photo = photo.transpose(TURNS[orientation])
        photo.save(raw / "abc12" / "abc12_orig.png")
    return truth


@pytest.mark.parametrize("host", ["stored", "shown"])
@pytest.mark.parametrize("drawn_on", ["stored", "shown"])
@pytest.mark.parametrize("size", [(48, 32), (40, 40)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_original_decides(
    orientation: int, size: tuple[int, int], drawn_on: str, host: str, tmp_path: Path
) -> None:
    truth = _archive(tmp_path / "raw", orientation, size, drawn_on, host=host)
    made = prepare("imd2020", tmp_path / "raw", tmp_path / "out")
    assert made.tampered == 1
    assert np.array_equal(next(iter(pairs_of(tmp_path / "out").values()))[1], truth)
    note = manifest(tmp_path / "out")[0]["note"]
    assert (f"EXIF orientation {orientation}" in note) or orientation == 1 or size == (48, 32)


@pytest.mark.parametrize("drawn_on", ["stored", "shown"])
@pytest.mark.parametrize(("orientation", "size"), [(2, (48, 32)), (3, (48, 32)), (4, (48, 32)), (6, (40, 40))])
def test_without_evidence_it_is_left_out_with_the_reason(
    orientation: int, size: tuple[int, int], drawn_on: str, tmp_path: Path
) -> None:
    _archive(tmp_path / "raw", orientation, size, drawn_on)
    _archive(tmp_path / "raw" / "good", 1, size, "stored")
    made = prepare("imd2020", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (1, 1)
    reason = left_out(tmp_path / "out")["abc12/abc12_0.png"]
    assert f"the image has EXIF orientation {orientation}" in reason
    assert "as it is stored or as it is shown is not known" in reason


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_sides_that_are_not_swapped_decide(orientation: int, tmp_path: Path) -> None:
    truth = _archive(tmp_path / "raw", orientation, (48, 32), "stored")
    prepare("imd2020", tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(next(iter(pairs_of(tmp_path / "out").values()))[1], truth)


def test_a_mask_with_the_images_orientation_lies_on_the_stored_pixels(tmp_path: Path) -> None:
    truth = _archive(tmp_path / "raw", 3, (48, 32), "stored", exif_of_mask=3)
    prepare("imd2020", tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(next(iter(pairs_of(tmp_path / "out").values()))[1], truth)


@pytest.mark.parametrize("drawn_on", ["stored", "shown"])
def test_the_note_survives_scaling(drawn_on: str, tmp_path: Path) -> None:
    truth = _archive(tmp_path / "raw", 3, (128, 96), drawn_on, host="stored")
    prepare("imd2020", tmp_path / "raw", tmp_path / "out", PrepareOptions(long_side=64))
    image, mask = next(iter(pairs_of(tmp_path / "out").values()))
    assert np.array_equal(mask, truth[::2, ::2] & truth[1::2, 1::2]) or (mask == truth[::2, ::2]).mean() > 0.99
    with Image.open(image) as scaled:
        assert scaled.size == (64, 48)
    note = manifest(tmp_path / "out")[0]["note"]
    assert "EXIF orientation 3" in note
    assert "scaled from 128 x 96 pixels" in note


@pytest.mark.parametrize("orientation", range(2, 9))
def test_shown_and_stored_are_inverse(orientation: int) -> None:
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    shown = np.asarray(Image.fromarray(stored).transpose(TURNS[orientation]))
    assert np.array_equal(stored_from_shown(shown, orientation), stored)
