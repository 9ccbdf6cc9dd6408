"""Limits of the web page: bytes, pixels, kinds of files, time. A refusal is one line and names no path."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from types import NoneType

from PIL import Image, UnidentifiedImageError

from qmanet_benco.apps.photo import Pixels, read_photo
from qmanet_benco.errors import RequestError
from qmanet_benco.images import UnusableFileError, open_image

logger = logging.getLogger(__name__)

MEGA = 1_000_000
MOST_MEGAPIXELS = 178.0
"""Pillow itself refuses a larger image as a possible attack: ``2 * PIL.Image.MAX_IMAGE_PIXELS``."""
MOST_MEGABYTES = 1024.0
SMALLEST_SIDE = 32
"""Pixels. A smaller picture holds no evidence, and 100,000 x 1 is an attack (CHOICE)."""


@dataclass(frozen=True)
class Limits:
    """What one server accepts, and how long it keeps it.

    Args:
        megapixels: of one photo, in millions of pixels.
        megabytes: of one upload, in millions of bytes.
        queue: requests that may wait for the network; further ones are refused.
        seconds: age at which uploads and results go, also of a page that is still open.

    Raises:
        RequestError: megapixels or megabytes are out of range.
    """

    megapixels: float = 50
    megabytes: float = 64
    queue: int = 32
    seconds: float = 3600

    def __post_init__(self) -> None:
        if not 0 < self.megapixels <= MOST_MEGAPIXELS:
            raise RequestError(f"--max-megapixels {self.megapixels:g}", f"above 0, at most {MOST_MEGAPIXELS:g}")
        if not 0 < self.megabytes <= MOST_MEGABYTES:
            raise RequestError(f"--max-megabytes {self.megabytes:g}", f"above 0, at most {MOST_MEGABYTES:g}")

    @property
    def bytes(self) -> int:
        """The most bytes of one upload."""
        return int(self.megabytes * MEGA)


def read_upload(path: Path, limits: Limits) -> Pixels:
    """Read the photo in a stranger's file, H x W x 3, RGB, upright.

    The header is read first: a picture with too many pixels is refused before a pixel is decoded.

    Raises:
        RequestError: too many bytes or pixels, too small, or no photo; the message holds no path.
    """
    if path.stat().st_size > limits.bytes:
        raise RequestError("The file is too large", f"at most {limits.megabytes:g} MB")
    try:
        with open_image(path) as image:
            _check_size(*image.size, limits)
            return read_photo(image)
    except UnusableFileError as error:
        if isinstance(error.__cause__, UnidentifiedImageError):
            raise RequestError("This file is not a photo", "JPEG, HEIC, PNG, TIFF, WebP, BMP or GIF") from error
        if isinstance(error.__cause__, Image.DecompressionBombError | NoneType):
            raise RequestError("The photo has too many pixels", f"at most {limits.megapixels:g} megapixels") from error
        logger.info("an upload cannot be decoded: %s", error)
        raise RequestError("The photo is damaged and cannot be read", "a whole file") from error


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.megapixels * MEGA:
        raise RequestError(
            f"The photo has {width} x {height} pixels", f"at most {limits.megapixels:g} megapixels", "scale it down"
        )
    if min(width, height) < SMALLEST_SIDE:
        raise RequestError(f"The photo has {width} x {height} pixels", f"{SMALLEST_SIDE} or more on each side")
