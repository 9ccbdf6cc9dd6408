"""What the framework needs of ``jpegio``, which has no wheel: the quantised coefficients of a JPEG file, by jpeglib."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Component:
    """One colour plane of a file."""

    v_samp_factor: int
    h_samp_factor: int
    quant_tbl_no: int


@dataclass(frozen=True)
class Jpeg:
    """A file's coefficients under the names that jpegio gives them."""

    comp_info: list[Component]
    coef_arrays: list[NDArray[np.int16]]
    """For each plane 8 rows and 8 columns of a block side by side, H x W padded to whole blocks."""
    quant_tables: list[NDArray[np.uint16]]
    """8 x 8 each."""


def read(path: str) -> Jpeg:
    """Read the coefficients of a JPEG file.

    Raises:
        OSError: it is no JPEG file.
    """
    import jpeglib

    content = jpeglib.read_dct(path)
    planes = [plane for plane in (content.Y, content.Cb, content.Cr) if plane is not None]
    numbers = [int(number) for number in content.quant_tbl_no][: len(planes)]
    factors = np.asarray(content.samp_factor).reshape(-1, 2)
    components = [
        Component(int(vertical), int(horizontal), number)
        for (vertical, horizontal), number in zip(factors, numbers, strict=False)
    ]
    return Jpeg(components, [_beside(plane) for plane in planes], list(np.asarray(content.qt)))


def _beside(blocks: NDArray[np.int16]) -> NDArray[np.int16]:
    """Blocks (rows x columns x 8 x 8) as one array of 8 x rows by 8 x columns."""
    rows, columns = blocks.shape[:2]
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3).reshape(rows * 8, columns * 8))
