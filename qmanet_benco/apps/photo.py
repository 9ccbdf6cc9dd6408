"""One photo as upright 8-bit RGB, whatever the file's mode; bounded in pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qmanet_benco.errors import RequestError
from qmanet_benco.images import UnusableFileError, as_rgb, check_pixels, load_whole, open_image, upright

Pixels = NDArray[np.uint8]
Photo = str | Path | Image.Image | Pixels

ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".heic"}
    | {".heif", ".avif", ".jp2"}
)
"""What is taken from a folder; a file that is named itself may have any name."""


def read_photo(photo: Photo) -> Pixels:
    """The pixels of a photo.

    Args:
        photo: a file; a Pillow image; or an array, H x W x 3 in uint8. Grey, palette, CMYK and 16-bit images are
            converted, transparency is dropped, the first frame of an animation is taken, and the rotation that EXIF
            asks for is applied.

    Returns:
        H x W x 3 in RGB.

    Raises:
        RequestError: it cannot be decoded, or it has more than :data:`~qmanet_benco.images.MOST_PIXELS` pixels.
    """
    if isinstance(photo, np.ndarray):
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
            raise RequestError(f"an array of {photo.dtype}, {photo.shape}", "H x W x 3 in uint8, RGB")
        return photo
    if isinstance(photo, Image.Image):
        return _decoded(photo, "the image")
    path = Path(photo)
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a folder may not be entered
        raise RequestError(f"{path} is not a file", "a photo", "check the path")
    _register_heic(path)
    try:
        with open_image(path) as image:
            return _decoded(image, str(path))
    except UnusableFileError as error:
        raise _unreadable(str(path), error) from error


def photos_below(paths: list[Path]) -> list[Path]:
    """Files as they are named; of a folder every image below it, sorted.

    Raises:
        RequestError: a path does not exist, or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(each for each in path.rglob("*") if each.suffix.lower() in ENDINGS and each.is_file())
        if not inside:
            raise RequestError(f"{path} holds no image", "photos (.jpg, .png, .tif, ...)", "check the path")
        found += inside
    return found


def _decoded(image: Image.Image, name: str) -> Pixels:
    try:
        check_pixels(image)
        image = upright(load_whole(image))
        if image.mode.startswith(("I", "F")):
            return _grey(np.asarray(image))
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns of what it drops otherwise
        return np.asarray(as_rgb(image), np.uint8)
    except UnusableFileError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: UnusableFileError) -> RequestError:
    return RequestError(f"{name} cannot be read as an image ({error})", "an undamaged photo of at most 200 megapixels")


def _grey(values: NDArray[np.generic]) -> Pixels:
    """A plane of 16 or 32 bits, whose range no convention fixes: 16 bits are scaled, floats in [0, 1] as well."""
    plane = np.nan_to_num(values.astype(np.float64))
    highest = plane.max(initial=0.0)
    floats, wide = values.dtype.kind == "f", highest > 255
    scale = (1.0 if highest > 1 else 255.0) if floats else (1 / 257 if wide else 1.0)
    eight = (plane * scale).clip(0, 255).round().astype(np.uint8)
    return np.repeat(eight[..., None], 3, axis=2)


def _register_heic(path: Path) -> None:
    """HEIC needs Pillow's plugin, which the user may have installed."""
    if path.suffix.lower() not in (".heic", ".heif"):
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise RequestError(f"{path} is HEIC", "Pillow's plugin for it", "pip install pillow-heif") from error
    register_heif_opener()
