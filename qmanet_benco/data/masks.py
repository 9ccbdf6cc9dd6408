"""Reads the mask of any archive as a plane of False and True, and writes it as 0 and 255, as the framework wants it.

The rules (``DataSet.mask_rule``):

==========  =======================================================================================================
``bright``  mean of the colours above 127.5, the framework's own threshold; black and one dark shade count as 0 and 255
``dark``    the same, inverted: black is tampered (NIST16)
``nonzero`` any class id but 0 (Fantastic Reality); a palette image's indices are its ids
``green``   Columbia's edge masks: green and bright green are the spliced side, red and bright red the host
==========  =======================================================================================================
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from qmanet_benco.data.prepare.arrays import read_arrays
from qmanet_benco.images import UnusableFileError, encoded, load_whole, open_image
from qmanet_benco.pixels import THRESHOLD, mask_colours

Value = TypeVar("Value", bound=np.generic)

ARRAY_ENDINGS = (".mat", ".npz", ".npy")
PLANES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "F")
"""Modes whose values are class ids as they are."""
PLANE_NAMES = ("mask", "segmentation", "labels")


def read_mask(path: Path, rule: str, *, strict: bool = False) -> NDArray[np.bool_]:
    """Read a mask of any archive.

    Args:
        path: an image, or a ``.mat``, ``.npz`` or ``.npy`` array.
        rule: ``bright``, ``dark``, ``nonzero`` or ``green``.
        strict: refuse shades of which nobody can tell what they mean, instead of applying the threshold to them.

    Returns:
        H x W, True where tampered.

    Raises:
        UnusableFileError: the file is not whole, or not a mask by that rule.
    """
    values = _array(path) if path.suffix.lower() in ARRAY_ENDINGS else _pixels(path, keep_ids=rule == "nonzero")
    mask = binarise(values, rule)
    doubt = _doubt(_grey_of(values), floats=values.dtype.kind == "f") if strict and rule in ("bright", "dark") else ""
    if doubt:
        raise UnusableFileError(doubt)
    return mask


def binarise(values: NDArray[np.generic], rule: str) -> NDArray[np.bool_]:
    """Apply a rule to H x W or H x W x C values.

    Raises:
        UnusableFileError: the values do not fit the rule.
    """
    values = np.asarray(values)
    if values.ndim not in (2, 3) or values.size == 0:
        raise UnusableFileError(f"a mask of shape {values.shape}; expected height x width (x colours)")
    if rule == "nonzero":
        return values.reshape(*values.shape[:2], -1).astype(bool).any(axis=2)
    if rule == "green":
        return _green_side(values)
    grey = _grey_of(values)
    bright = _bright(grey, floats=values.dtype.kind == "f")
    return ~bright if rule == "dark" else bright


def _grey_of(values: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.asarray(values if values.ndim == 2 else values[..., :3].mean(axis=2), np.float64)


def turn_clockwise(mask: NDArray[np.bool_], quarter_turns: int) -> NDArray[np.bool_]:
    """Turn a mask by that many times 90 degrees clockwise."""
    return np.rot90(mask, -quarter_turns)


def stored_from_shown(values: NDArray[Value], orientation: int) -> NDArray[Value]:
    """Turn a picture as it is shown into the pixels as they are stored, which the framework reads.

    Args:
        values: H x W (x C).
        orientation: of EXIF, 1 to 8.
    """
    if orientation in (5, 7):
        laid = np.swapaxes(values, 0, 1)
        return laid if orientation == 5 else np.rot90(laid, 2)
    if orientation in (2, 4):
        return np.flip(values, axis=1 if orientation == 2 else 0)
    return np.rot90(values, {3: 2, 6: 1, 8: -1}.get(orientation, 0))


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Encode the bytes of an 8-bit grey PNG with 0 and 255; the same mask gives the same bytes."""
    return encoded(np.where(mask, 255, 0).astype(np.uint8), "PNG", compress_level=3)


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Scale to width x height; a pixel is tampered where half of its area or more was."""
    grey = PillowImage.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    return np.asarray(grey.resize(size, PillowImage.Resampling.BOX)) > 127


def _pixels(path: Path, *, keep_ids: bool) -> NDArray[np.generic]:
    image = load_whole(open_image(path))
    if keep_ids and image.mode in PLANES:
        return np.asarray(image)
    colours = mask_colours(image)
    one_shade = image.mode == "P" and int(np.ptp(colours.sum(axis=2, dtype=np.uint16))) == 0
    return np.asarray(image) if one_shade else colours  # a palette that shows nothing: its indices do


def _array(path: Path) -> NDArray[np.generic]:
    """Read the one plane that a MATLAB or NumPy file holds."""
    try:
        planes = read_arrays(path)
    except UnusableFileError:
        raise
    except Exception as error:  # decoders raise whatever a broken file provokes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnusableFileError(f"unreadable array ({reason})") from error
    usable = {key: np.squeeze(value) for key, value in planes.items() if _is_plane(value)}
    several = len(usable)
    if several > 1:
        usable = {key: value for key, value in usable.items() if key.casefold() in PLANE_NAMES}
    if len(usable) != 1:
        raise UnusableFileError(f"{several} planes of numbers in the file ({', '.join(planes)}); expected one")
    return next(iter(usable.values()))


def _bright(grey: NDArray[np.float64], *, floats: bool) -> NDArray[np.bool_]:
    """Tell where a mask is bright: above the threshold, or, with black and one dark shade only, not black."""
    if grey.max() > THRESHOLD:
        return grey > THRESHOLD
    if grey.min() == 0 and len(np.unique(grey)) <= 2:
        return grey > 0
    return grey > (0.5 if floats and grey.max() <= 1 else THRESHOLD)


def _doubt(grey: NDArray[np.float64], *, floats: bool) -> str:
    """Say why nobody can tell which shades of a mask mean tampered; empty where they can."""
    darkest, brightest = float(grey.min()), float(grey.max())
    if brightest > THRESHOLD:
        several = THRESHOLD < darkest < brightest
        return f"nothing in the mask is darker than {darkest:.0f}: which shade is tampered?" if several else ""
    shades = np.unique(grey)
    if (darkest == 0 and len(shades) <= 2) or (floats and brightest <= 1):
        return ""
    listed = ", ".join(f"{shade:.0f}" for shade in shades[:4]) + (", ..." if len(shades) > 4 else "")
    return (
        f"nothing in the mask is brighter than {brightest:.0f}, and it has the values {listed}: expected 0 and 255, or "
        "0 and one other"
    )


def _is_plane(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "buif" and np.squeeze(value).ndim == 2


def _green_side(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """True where green outweighs red.

    Columbia's masks are JPEG, so the colours are not exact. Whichever of the two is larger decides each pixel; a mask
    in which most pixels are neither (a black or grey one) is refused.
    """
    if values.ndim != 3 or values.shape[2] < 3:
        raise UnusableFileError("an edge mask without colours; expected Columbia's green and red")
    red, green = values[..., 0].astype(np.int16), values[..., 1].astype(np.int16)
    undecided = float((np.abs(green - red) < 30).mean())
    if undecided > 0.5:
        raise UnusableFileError(f"{undecided:.0%} of the edge mask is neither green nor red")
    return green > red
