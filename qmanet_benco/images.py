"""The one way in which all rooms open an image file, bounded in bytes and pixels, and normalise its colours."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "MPO", "PNG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""What photos and masks come in. Pillow looks at the content, not at the name, and would hand an EPS file to
Ghostscript, which runs the program that the file is; formats that nobody photographs in are left out as well."""
MOST_PIXELS = 178_956_970
"""A photo of 24 megapixels fits seven times; more is refused before it is decoded. This is Pillow's own bound; somebody
may have lifted that one, which is a global of the process."""
MOST_BYTES = 1 << 30
"""Of a file: 178 megapixels without compression are 0.5 GB."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of RGB in [0, 1]; the framework's datasets normalise with them, and so do the encoders' pretrained weights."""


class UnusableFileError(ValueError):
    """One file cannot be used; the message is the reason that the list of left-out files gives."""


def read_file(path: Path) -> bytes:
    """The bytes of a plain file.

    Raises:
        UnusableFileError: it is a folder, a pipe or a device, it has more than :data:`MOST_BYTES`, or is unreadable.
    """
    try:
        _check_kind(path)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unusable(error) from error


def open_image(path: str | Path, content: bytes | None = None) -> Image.Image:
    """An image of which only the header has been read.

    Args:
        path: where it lies.
        content: its bytes, where they have been read already.

    Raises:
        UnusableFileError: not an image of :data:`FORMATS`, or one with too many pixels; its cause is what was raised.
    """
    try:
        if content is None:
            _check_kind(path)
        image = Image.open(path if content is None else io.BytesIO(content), formats=_known_formats())
    except Exception as error:  # decoders raise whatever a broken file provokes
        raise _unusable(error) from error
    check_pixels(image)
    return image


def check_pixels(image: Image.Image) -> None:
    """Refuse an image that would not fit into memory, before it is decoded.

    Raises:
        UnusableFileError: it has more than :data:`MOST_PIXELS`.
    """
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise UnusableFileError(f"it has {width} x {height} pixels, more than {MOST_PIXELS:,}")


def load_whole(image: Image.Image, *, coarse: bool = False) -> Image.Image:
    """Decode all of an opened image, so that a truncated one is found out.

    Args:
        image: of :func:`open_image`; changed in place.
        coarse: a JPEG may come back at an eighth of its size; every byte is read all the same.

    Raises:
        UnusableFileError: truncated or broken.
    """
    try:
        if coarse:
            image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
    except Exception as error:  # decoders raise whatever a broken file provokes
        raise UnusableFileError(f"unreadable or truncated image ({_reason(error)})") from error
    return image


def upright(image: Image.Image) -> Image.Image:
    """An image turned as its EXIF orientation asks; as it is where the metadata are broken."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken metadata provoke anything; the pixels were decoded by themselves
        return image


def as_rgb(image: Image.Image) -> Image.Image:
    """An image as three colours of 8 bits; transparency is dropped.

    Raises:
        UnusableFileError: truncated or broken, or of a mode that has no way to RGB (big-endian 16 bits, CIELAB).
    """
    try:
        return image.convert("RGB")
    except Exception as error:  # decoders raise whatever a broken file provokes
        raise UnusableFileError(f"unreadable or truncated image ({_reason(error)})") from error


def normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """ImageNet-normalised colours, ... x 3 in float32, of ... x 3 in 0..255."""
    mean, deviation = (np.array(values, np.float32) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels.astype(np.float32) / 255 - mean) / deviation


def _check_kind(path: str | Path) -> None:
    found = os.stat(path)  # noqa: PTH116 - a Path for each of 100,000 names is slow
    if not stat.S_ISREG(found.st_mode):
        raise UnusableFileError("not a plain file")  # opening a pipe would wait for a writer
    if found.st_size > MOST_BYTES:
        raise UnusableFileError(f"it has {found.st_size:,} bytes, more than {MOST_BYTES:,}")


def _known_formats() -> list[str]:
    """Those of :data:`FORMATS` that this Pillow can read; HEIF needs a plugin."""
    if "JPEG2000" not in Image.OPEN:
        Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _unusable(error: Exception) -> UnusableFileError:
    if isinstance(error, UnusableFileError):
        return error
    if isinstance(error, UnidentifiedImageError):
        return UnusableFileError("not an image that can be read")
    if isinstance(error, OSError) and error.strerror:
        return UnusableFileError(f"unreadable file ({error.strerror})")
    return UnusableFileError(f"unreadable image ({_reason(error)})")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
