"""Converts a photo to RGB and a mask to 8 bits, whatever the mode of the file: the one place for every room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qmanet_benco.images import UnusableFileError, load_whole, orientation_of

Pixels = NDArray[np.uint8]

WHITES = (255, 4095, 65535)
"""Values of white in files of more than 8 bits, of which 8, 12 or 16 are used; the smallest that holds all is taken."""
ROOM_ABOVE_ONE = 1.5
"""Floats up to this are from 0 to 1, with some room for what resampling adds."""
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0
"""TIFF 6.0, sections 3 and 4."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""From the stored pixels to the picture that is shown, by EXIF orientation (EXIF 2.3, section 4.6.4)."""
THRESHOLD = 127.5
"""The framework calls a pixel tampered where the mean of the mask's colours is above this."""


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert a photo to three colours of 8 bits.

    Grey of 16 or 32 bits and floats are scaled by :func:`grey_levels`; palettes, CMYK and the like are converted;
    transparent pixels are laid over white, as viewers and web pages show them.

    Args:
        image: of :func:`~qmanet_benco.images.open_image`, decoded or not.

    Raises:
        UnusableFileError: truncated or broken, transparent all over, or of a mode that has no way to RGB (CIELAB).
    """
    image = load_whole(image)
    try:
        if image.mode.startswith(("I", "F")):
            return Image.fromarray(np.repeat(_grey(image)[..., None], 3, axis=2))
        if _has_alpha(image):
            return _over_white(image.convert("RGBA"))
        return image if image.mode == "RGB" else image.convert("RGB")
    except UnusableFileError:
        raise
    except Exception as error:  # Pillow raises several classes; its message names the mode
        raise UnusableFileError(f"its colours cannot be converted ({' '.join(str(error).split())[:200]})") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Convert a photo as :func:`as_rgb` does, turned as its EXIF orientation asks.

    Raises:
        UnusableFileError: as :func:`as_rgb`.
    """
    turn = TURNS.get(orientation_of(load_whole(image)))  # asked after decoding: Pillow turns a TIFF itself
    rgb = as_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def mask_colours(image: Image.Image) -> Pixels:
    """Read a mask as H x W x 3 of 8 bits, which the framework's threshold can be applied to.

    Grey of 16 or 32 bits and floats are scaled as in a photo; a plane of 0 and 1 stays 0 and 1. A mask of one colour
    is what its alpha channel says: opaque is white.

    Raises:
        UnusableFileError: truncated or broken, or colours and alpha channel say different things.
    """
    image = load_whole(image)
    if not _has_alpha(image):
        return np.asarray(as_rgb(image))
    rgba = np.asarray(image.convert("RGBA"))
    colours, alpha = np.ascontiguousarray(rgba[..., :3]), rgba[..., 3]
    if alpha.min() == alpha.max():
        return colours
    if (colours == colours[0, 0]).all():
        return np.repeat(alpha[..., None], 3, axis=2)
    bright = colours.mean(axis=2) > THRESHOLD
    if (bright & (alpha <= THRESHOLD)).any():
        raise UnusableFileError("the mask's colours and its alpha channel say different things")
    return colours


def grey_levels(values: NDArray[np.generic], white: float | None = None) -> Pixels:
    """Scale a plane of integers or floats to 8 bits.

    Args:
        values: H x W. What is below zero or not a number is black.
        white: the value that becomes 255. None: no convention fixes it, and the smallest usual range is taken that
            holds the largest value: 0 to 1 for floats, or :data:`WHITES`; beyond, the largest value is white.

    Returns:
        H x W.
    """
    plane = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    if white is None:
        highest = float(plane.max(initial=0.0))
        floats = values.dtype.kind == "f" and highest <= ROOM_ABOVE_ONE
        white = 1.0 if floats else next((usual for usual in WHITES if highest <= usual), highest)
    return (plane * np.float32(255 / white)).clip(0, 255).round().astype(np.uint8)


def _grey(image: Image.Image) -> Pixels:
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    grey = grey_levels(np.asarray(image), 2**bits - 1 if image.mode.startswith("I;16") and 8 < bits < 16 else None)
    return ~grey if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else grey


def _has_alpha(image: Image.Image) -> bool:
    keyed = "transparency" in image.info and not image.mode.startswith(("I", "F"))
    return keyed or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")


def _over_white(image: Image.Image) -> Image.Image:
    lowest, highest = image.getchannel("A").getextrema()
    if lowest == 255:
        return image.convert("RGB")
    if highest == 0:
        raise UnusableFileError("every pixel is transparent")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
