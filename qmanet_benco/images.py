"""The one way in which all rooms open an image file, bounded in bytes and pixels, and normalise its colours."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

FORMATS: Mapping[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif"),
    "MPO": (".mpo",),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".j2c", ".jpc", ".jpf"),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif", ".heics", ".heifs"),
}
"""Formats of photos and masks by Pillow's names, with the endings of such files. All others are refused. Pillow looks
at the content, not at the name, and would hand an EPS file to Ghostscript, which runs the program that the file is."""
ENDINGS = frozenset(ending for endings in FORMATS.values() for ending in endings)
"""Endings of the files that are taken from a folder. A file that the user names may have any ending."""
MOST_PIXELS = 178_956_970
"""A photo of 24 megapixels fits seven times; more is refused before it is decoded. This is Pillow's own bound; somebody
may have lifted that one, which is a global of the process."""
MOST_BYTES = 1 << 30
"""Largest file that is read: 178 megapixels without compression are 0.5 GB."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of RGB in [0, 1], of the framework's datasets and the encoders' pretrained weights."""


HEVC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"})
"""Brands in the box ``ftyp``, which every file of this family begins with (ISO 14496-12; ISO 23008-12, annex B)."""
AVIF_BRANDS = frozenset({b"avif", b"avis"})
LONGEST_BOX = 512
"""Bytes of that box that are read."""
_TWELVE_BITS = 4095 >> 8
"""Largest value of the upper 8 of 16 bits where only 12 bits are used."""


class UnusableFileError(ValueError):
    """One file cannot be used; the message is the reason that the list of left-out files gives."""


def read_file(path: Path) -> bytes:
    """Read the bytes of a plain file.

    Raises:
        UnusableFileError: it is a folder, a pipe or a device, it has more than :data:`MOST_BYTES`, or is unreadable.
    """
    try:
        _check_kind(path)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unusable(error) from error


def open_image(path: str | Path, content: bytes | None = None) -> Image.Image:
    """Open an image of which only the header has been read.

    Args:
        path: where it lies.
        content: its bytes, where they have been read already.

    Raises:
        UnusableFileError: not an image of :data:`FORMATS`, or one with too many pixels; its cause is what was raised.
    """
    try:
        if content is None:
            _check_kind(path)
        image = _opened(path if content is None else io.BytesIO(content))
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

    Colours of 16 bits, of which Pillow keeps the upper 8, are read again where only 12 of them are used.

    Raises:
        UnusableFileError: truncated or broken.
    """
    try:
        if coarse:
            image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
        of_sixteen = image.mode == "RGB" and any(";16" in str(tile) for tile in getattr(image, "tile", ()))
        content = _content(image) if of_sixteen else b""
        image.load()
        if of_sixteen and int(np.asarray(image).max()) <= _TWELVE_BITS:
            _read_again(image, content)
    except Exception as error:  # decoders raise whatever a broken file provokes
        raise UnusableFileError(f"damaged or cut off: {_reason(error)}") from error
    return image


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata provoke anything; the pixels were decoded by themselves
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """ImageNet-normalised colours, ... x 3 in float32, of ... x 3 in 0..255."""
    mean, deviation = (np.array(values, np.float32) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels.astype(np.float32) / 255 - mean) / deviation


def encoded(picture: Image.Image | NDArray[np.uint8], kind: str, **options: Any) -> bytes:
    """Encode a picture (an array: H x W or H x W x 3) as ``PNG`` or ``JPEG``, with Pillow's options."""
    stream = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stream, kind, **options)
    return stream.getvalue()


def fitting(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the two sides of a picture with the longer one at most ``side``, never enlarged."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _check_kind(path: str | Path) -> None:
    status = os.stat(path)  # noqa: PTH116 - a Path for each of 100,000 names is slow
    if not stat.S_ISREG(status.st_mode):
        raise UnusableFileError("a pipe or a device, not a file")  # opening a pipe would wait for a writer
    if status.st_size > MOST_BYTES:
        raise UnusableFileError(f"it has {status.st_size:,} bytes, more than {MOST_BYTES:,}")


def _opened(source: str | Path | io.BytesIO) -> Image.Image:
    """Open an image; Pillow's plugin for HEIC is loaded when the first file with such content is met."""
    formats = _known_formats()
    try:
        return Image.open(source, formats=formats)
    except UnidentifiedImageError:
        # asked of the formats that were tried: another thread may have loaded the plugin since
        if "HEIF" in formats or not _register_heif(source):
            raise
        if isinstance(source, io.BytesIO):
            source.seek(0)
        return Image.open(source, formats=_known_formats())


def _known_formats() -> list[str]:
    """Those of :data:`FORMATS` that this Pillow can read."""
    Image.init()  # at once if that is done; another thread that is at it has registered some formats only
    return [name for name in FORMATS if name in Image.OPEN]


def _register_heif(source: str | Path | io.BytesIO) -> bool:
    """Register Pillow's plugin if the file is HEIC, and tell whether it was.

    Raises:
        UnusableFileError: the plugin is not installed.
    """
    if isinstance(source, io.BytesIO):
        head = source.getvalue()[:LONGEST_BOX]
    else:
        with Path(source).open("rb") as stream:
            head = stream.read(LONGEST_BOX)
    length = int.from_bytes(head[:4], "big")
    brands = {head[at : at + 4] for at in (8, *range(16, min(length, len(head)), 4))}  # bytes 12 to 16 are a version
    if head[4:8] != b"ftyp" or not brands & HEVC_BRANDS or brands & AVIF_BRANDS:
        return False
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise UnusableFileError("HEIC needs Pillow's plugin: pip install pillow-heif") from error
    register_heif_opener()
    return True


def _content(image: Image.Image) -> bytes:
    """Read all bytes of an image's file."""
    stream = getattr(image, "fp", None)
    if stream is None:
        return b""
    place = stream.tell()
    stream.seek(0)
    content: bytes = stream.read()
    stream.seek(place)
    return content


def _read_again(image: Image.Image, content: bytes) -> None:
    """Read colours of 12 bits, stored in 16, again by OpenCV, in place; unchanged where OpenCV cannot read the file."""
    import cv2

    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if values is None or values.dtype != np.uint16 or values.shape != (image.height, image.width, 3):
        return
    eight = (values[..., ::-1] * np.float32(255 / 4095)).clip(0, 255).round().astype(np.uint8)
    image.paste(Image.fromarray(eight))


def _unusable(error: Exception) -> UnusableFileError:
    if isinstance(error, UnusableFileError):
        return error
    if isinstance(error, UnidentifiedImageError):
        return UnusableFileError("not an image of a known kind")
    if isinstance(error, OSError) and error.strerror:
        return UnusableFileError(error.strerror)
    return UnusableFileError(_reason(error))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
