"""One photo as upright 8-bit RGB, whatever the file's mode; bounded in pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qmanet_benco.errors import RequestError
from qmanet_benco.images import MOST_PIXELS, UnusableFileError, as_rgb, check_pixels, load_whole, open_image, upright

Pixels = NDArray[np.uint8]
Photo = str | Path | Image.Image | Pixels

ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".heic"}
    | {".heif", ".avif", ".jp2"}
)
"""What is taken from a folder; a file that is named itself may have any name."""
RESULTS = (".mask.png", ".heatmap.png", ".probability.png")
"""Endings of the images that a prediction leaves, beside ``.json``."""
ROOM_ABOVE_ONE = 1.5
HEVC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"})
"""Brands in the box ``ftyp``, which every file of this family begins with (ISO 14496-12; ISO 23008-12, annex B)."""
AVIF_BRANDS = frozenset({b"avif", b"avis"})
LONGEST_BOX = 512
"""Bytes of it that are looked at."""


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


def photos_below(paths: Iterable[Path]) -> list[Path]:
    """Files as they are named; of a folder every image below it, sorted; each once.

    Results that a prediction left in the folder (their record lies beside them) are no photos, and neither are hidden
    files: macOS writes some beside its own (``._name``), and a killed command leaves what it was writing.

    Raises:
        RequestError: a path does not exist, or a folder holds no image.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.is_dir():
            inside = [path]
        else:
            inside = sorted(each for each in path.rglob("*") if _is_photo(each))
            if not inside:
                raise RequestError(f"{path} holds no image", "photos (.jpg, .png, .tif, ...)", "check the path")
        for each in inside:
            found.setdefault(os.path.realpath(each), each)
    return list(found.values())


def _is_photo(path: Path) -> bool:
    if path.suffix.lower() not in ENDINGS or path.name.startswith(".") or not path.is_file():
        return False
    stems = (path.name.removesuffix(ending) for ending in RESULTS if path.name.endswith(ending))
    return not any(path.with_name(f"{stem}.json").is_file() for stem in stems)


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
    expected = f"an undamaged photo of at most {MOST_PIXELS // 1_000_000} megapixels"
    return RequestError(f"{name} cannot be read as an image ({error})", expected)


def _grey(values: NDArray[np.generic]) -> Pixels:
    """A plane of 16 or 32 bits, or of floats, whose range no convention fixes: the smallest usual one that holds it.

    Those are 1 (floats, with some room for what resampling adds), 255 and 65535; beyond, the largest value is white.
    """
    plane = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    highest = float(plane.max(initial=0.0))
    if values.dtype.kind == "f" and highest <= ROOM_ABOVE_ONE:
        scale = 255.0
    elif highest <= 255:
        scale = 1.0
    else:
        scale = 1 / 257 if highest <= 65535 else 255 / highest
    eight = (plane * np.float32(scale)).clip(0, 255).round().astype(np.uint8)
    return np.repeat(eight[..., None], 3, axis=2)


def _register_heic(path: Path) -> None:
    """HEIC, which a file is by its content, needs Pillow's plugin, which the user may have installed."""
    try:
        with path.open("rb") as stream:
            head = stream.read(LONGEST_BOX)
    except OSError:
        return  # opening it says why
    length = int.from_bytes(head[:4], "big")
    brands = {head[at : at + 4] for at in (8, *range(16, min(length, len(head)), 4))}  # bytes 12 to 16 are a version
    if head[4:8] != b"ftyp" or not brands & HEVC_BRANDS or brands & AVIF_BRANDS:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise RequestError(f"{path} is HEIC", "Pillow's plugin for it", "pip install pillow-heif") from error
    register_heif_opener()
