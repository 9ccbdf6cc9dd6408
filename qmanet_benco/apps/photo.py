"""Reads a photo as upright RGB of 8 bits, whatever the file's mode; bounded in pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from qmanet_benco.errors import RequestError
from qmanet_benco.folders import files_below
from qmanet_benco.images import MOST_PIXELS, UnusableFileError, check_pixels, load_whole, open_image, orientation_of
from qmanet_benco.pixels import TURNS, Pixels, mask_colours, upright_rgb

logger = logging.getLogger(__name__)

Photo = str | Path | Image.Image | Pixels

RESULTS = (".mask.png", ".heatmap.png", ".probability.png")
"""Endings of the images that a prediction leaves, beside ``.json``."""


def read_photo(photo: Photo) -> Pixels:
    """Read the pixels of a photo.

    Args:
        photo: a file; a Pillow image; or an array, H x W x 3 in uint8. Every mode is read as
            :func:`~qmanet_benco.pixels.as_rgb` says, the first frame of an animation is taken, and the rotation that
            EXIF asks for is applied.

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
        what = "is a folder" if os.path.isdir(path) else "is not a file"  # noqa: PTH112 - as above
        raise RequestError(f"{path} {what}", "a photo", "check the path")
    try:
        with open_image(path) as image:
            return _decoded(image, str(path))
    except UnusableFileError as error:
        raise _unreadable(str(path), error) from error


def read_mask(path: Path) -> Pixels:
    """Read a mask as it is shown, H x W: the brightest colour that :func:`~qmanet_benco.pixels.mask_colours` gives.

    Raises:
        RequestError: it cannot be read, or its colours and its alpha channel say different things.
    """
    try:
        with open_image(path) as image:
            turn = TURNS.get(orientation_of(load_whole(image)))
            plane = mask_colours(image).max(axis=2)
    except UnusableFileError as error:
        raise _unreadable(str(path), error) from error
    return plane if turn is None else np.asarray(Image.fromarray(plane).transpose(turn))


def photos_below(paths: Iterable[Path]) -> list[Path]:
    """Files as they are named; of a folder every image below it, sorted; each once.

    Files of other programs (:mod:`~qmanet_benco.folders`), results that a prediction left in the folder (their record
    lies beside them) and files without an image's ending are no photos; the log says how many were passed over.

    Raises:
        RequestError: a path does not exist, or a folder holds no image.
    """
    photos: dict[str, Path] = {}
    for path in paths:
        for each in _photos_of(path) if path.is_dir() else [path]:
            photos.setdefault(os.path.realpath(each), each)
    return list(photos.values())


def _photos_of(folder: Path) -> list[Path]:
    listing = files_below(folder)
    images = listing.images()
    photos = [path for path in images if not _is_result(path)]
    results = len(images) - len(photos)
    told = [listing.told(), f"{results} results of predictions" if results else "", listing.others_told()]
    said = "; ".join(filter(None, told))
    if not photos:
        raise RequestError(
            f"{folder} holds no image{f' (passed over: {said})' if said else ''}",
            "photos (.jpg, .png, .heic, .tif, ...)",
            "check the path, or name the files",
        )
    if said:
        logger.warning("%s: passed over %s", folder, said)
    return photos


def _is_result(path: Path) -> bool:
    stems = (path.name.removesuffix(ending) for ending in RESULTS if path.name.endswith(ending))
    return any(path.with_name(f"{stem}.json").is_file() for stem in stems)


def _decoded(image: Image.Image, name: str) -> Pixels:
    try:
        check_pixels(image)
        return np.asarray(upright_rgb(image))
    except UnusableFileError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: UnusableFileError) -> RequestError:
    expected = f"an undamaged photo of at most {MOST_PIXELS // 1_000_000} megapixels"
    return RequestError(f"{name} cannot be read as an image ({error})", expected)
