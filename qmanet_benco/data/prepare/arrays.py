"""Reads the arrays of a MATLAB or NumPy file, bounded before they are unpacked: both compress zeros to nothing."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from qmanet_benco.images import MOST_PIXELS, UnusableFileError

MATLAB_NUMBERS = (
    "logical",
    "single",
    "double",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays by name; ``arr_0`` is the one of a ``.npy`` file. Pickled objects are not read.

    Raises:
        UnusableFileError: an array has more than :data:`~qmanet_benco.images.MOST_PIXELS` values.
        Exception: whatever NumPy and SciPy raise for a broken file.
    """
    if not path.is_file():
        raise UnusableFileError("not a plain file")
    if path.suffix.lower() == ".mat":
        return _of_matlab(path)
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            return {"arr_0": _of_numpy(stream)}
    with zipfile.ZipFile(path) as archive:
        arrays = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                arrays[name.removesuffix(".npy")] = _of_numpy(member)
        return arrays


def _of_numpy(stream: IO[bytes]) -> NDArray[Any]:
    """Read one array; its values are read only after its header said how many they are."""
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(
        version
    )
    if read_header is None:
        raise UnusableFileError(f"an array file of version {version}")
    shape, fortran, kind = read_header(stream)
    if kind.kind not in "buif":
        raise UnusableFileError(f"unreadable array of {kind}; expected numbers")
    _check_count(shape)
    count = math.prod(shape)
    content = stream.read(count * kind.itemsize)
    if len(content) < count * kind.itemsize:
        raise UnusableFileError("a truncated array")
    return np.frombuffer(content, kind, count).reshape(shape, order="F" if fortran else "C")


def _of_matlab(path: Path) -> dict[str, NDArray[Any]]:
    """Plain numeric variables; cells, structures and objects stay in the file."""
    names = [name for name, shape, kind in whosmat(path) if kind in MATLAB_NUMBERS and _check_count(shape)]
    values = loadmat(path, variable_names=names) if names else {}
    return {name: values[name] for name in names}


def _check_count(shape: tuple[int, ...]) -> bool:
    if math.prod(shape) > MOST_PIXELS or any(side < 0 for side in shape):
        raise UnusableFileError(f"an array of {' x '.join(map(str, shape))} values, more than {MOST_PIXELS:,}")
    return True
