"""The stand-in for jpegio gives the coefficients from which the pixels come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.fft import idctn

from qmanet_benco.benco.seam.jpeg_coefficients import read


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("height", "width"), [(64, 80), (33, 47)])
def test_coefficients_give_back_the_decoded_luminance(mode: str, height: int, width: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    ramp = np.linspace(60, 190, width)[None, :] + generator.normal(0, 9, (height, width))
    pixels = np.repeat(ramp.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).convert(mode).save(path, quality=85)
    jpeg = read(str(path))
    rows, columns = (side // 8 for side in jpeg.coef_arrays[0].shape)
    blocks = jpeg.coef_arrays[0].reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).astype(float)
    blocks = idctn(blocks * jpeg.quant_tables[jpeg.comp_info[0].quant_tbl_no], axes=(2, 3), norm="ortho") + 128
    luminance = blocks.transpose(0, 2, 1, 3).reshape(rows * 8, columns * 8)[:height, :width]
    with Image.open(path) as image:
        decoded = np.asarray(image.convert("YCbCr"))[..., 0] if mode == "RGB" else np.asarray(image)
    assert np.abs(luminance.clip(0, 255) - decoded).max() < 2
    assert len(jpeg.coef_arrays) == len(jpeg.comp_info) == (3 if mode == "RGB" else 1)


def test_what_is_no_jpeg_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("no photo")
    with pytest.raises(OSError, match=r"(?i)jpeg"):
        read(str(tmp_path / "photo.jpg"))
