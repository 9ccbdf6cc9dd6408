"""Reads the quantised coefficients of a JPEG file by jpeglib, in place of ``jpegio``, which has no wheel."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray


def read(path: str) -> SimpleNamespace:
    """Read the coefficients of a JPEG file, under the names that jpegio gives them.

    Returns:
        ``comp_info``, one for each colour plane; ``coef_arrays``, for each plane 8 rows and 8 columns of a block side
        by side, int16, H x W padded to whole blocks; ``quant_tables``, uint16, 8 x 8 each.

    Raises:
        OSError: it is no JPEG file.
    """
    import jpeglib

    content = jpeglib.read_dct(path)
    planes = [plane for plane in (content.Y, content.Cb, content.Cr) if plane is not None]
    numbers = [int(number) for number in content.quant_tbl_no][: len(planes)]
    factors = np.asarray(content.samp_factor).reshape(-1, 2)
    return SimpleNamespace(
        comp_info=[
            SimpleNamespace(v_samp_factor=int(vertical), h_samp_factor=int(horizontal), quant_tbl_no=number)
            for (vertical, horizontal), number in zip(factors, numbers, strict=False)
        ],
        coef_arrays=[_beside(plane) for plane in planes],
        quant_tables=list(np.asarray(content.qt)),
    )


def _beside(blocks: NDArray[np.int16]) -> NDArray[np.int16]:
    """Blocks (rows x columns x 8 x 8) as one array of 8 x rows by 8 x columns."""
    rows, columns = blocks.shape[:2]
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3).reshape(rows * 8, columns * 8))
