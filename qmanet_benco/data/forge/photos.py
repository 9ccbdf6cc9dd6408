"""Authentic photos to forge: those that the dependencies ship, or a folder of one's own; each for one split only.

Licences as stated by the packages: the docstrings of scikit-image's ``skimage.data``, scikit-learn's
``datasets/images/README.txt``, and matplotlib's sample data. Nothing is copied into this project.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qmanet_benco.data.prepare.archive import Archive
from qmanet_benco.errors import RequestError
from qmanet_benco.images import UnusableFileError, open_image
from qmanet_benco.likeness import alike, linked, signature_of, signature_of_file, signatures_of_files
from qmanet_benco.pixels import upright_rgb

logger = logging.getLogger(__name__)

SMALLEST_SIDE = 64
TEST_PART = 0.25
"""Part of a folder's photos that only test forgeries are made from."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """One photo, of a dependency or of a folder."""

    name: str
    shipped: str
    """The file in a dependency, from the folder of packages; empty for a photo of a folder."""
    split: str
    """``train`` or ``test``: a scene is in one of them only, as host and as donor."""
    licence: str = ""
    path: Path | None = None
    """The file, for a photo of a folder."""


PHOTOS = (
    Photo("astronaut", "skimage/data/astronaut.png", "train", "public domain (NASA)"),
    Photo("coffee", "skimage/data/coffee.png", "train", "CC0 (Rachel Michetti)"),
    Photo("rocket", "skimage/data/rocket.jpg", "train", "public domain (SpaceX)"),
    Photo("hubble_deep_field", "skimage/data/hubble_deep_field.jpg", "train", "public domain (NASA)"),
    Photo(
        "immunohistochemistry",
        "skimage/data/ihc.png",
        "train",
        "no known copyright restrictions (CMM, University of Oulu)",
    ),
    Photo("retina", "skimage/data/retina.jpg", "train", "CC0 (M. Haggstrom)"),
    Photo("china.jpg", "sklearn/datasets/images/china.jpg", "train", "CC BY 2.0 (danielbuechele)"),
    Photo("chelsea", "skimage/data/chelsea.png", "test", "CC0 (Stefan van der Walt)"),
    Photo("flower.jpg", "sklearn/datasets/images/flower.jpg", "test", "CC BY 2.0 (vultilion)"),
    Photo("grace_hopper.jpg", "matplotlib/mpl-data/sample_data/grace_hopper.jpg", "test", "public domain (US Navy)"),
)


def photos_in(folder: Path, seed: int) -> tuple[Photo, ...]:
    """List the photos below a folder, a quarter of them for testing; seed and names alone decide which.

    Copies of one photo, and pictures that look alike, are in one split. Files that Pillow cannot read, and photos
    smaller than 64 pixels, are left out with a warning.

    Raises:
        RequestError: there are fewer than four photos, two for each split, or too few that do not look alike.
    """
    archive = Archive(folder)
    for passed_over in filter(None, (archive.listing.told(), archive.listing.others_told())):
        logger.warning("%s: passed over %s", folder, passed_over)
    readable = [path for path in archive.images if _is_usable(path)]
    if len(readable) < 4:
        raise RequestError(f"{folder} has {len(readable)} usable photos", "four or more, of 64 pixels or more a side")
    names = {path: path.relative_to(archive.root).as_posix() for path in readable}
    shuffled = sorted(readable, key=lambda path: hashlib.sha256(f"{seed}:{names[path]}".encode()).digest())
    wanted = max(2, round(TEST_PART * len(shuffled)))
    tests: set[Path] = set()
    for group in linked(len(shuffled), alike(signatures_of_files(shuffled))):
        fits = len(tests) + len(group) <= max(wanted, 2) or len(tests) < 2
        if len(tests) < wanted and fits and len(shuffled) - len(tests) - len(group) >= 2:
            tests |= {shuffled[position] for position in group}
    if len(tests) < 2:
        got = f"{folder} has {len(shuffled)} usable photos, too many of them copies of one"
        raise RequestError(got, "two or more for each split that do not look alike")
    return tuple(Photo(names[path], "", "test" if path in tests else "train", path=path) for path in shuffled)


def without_test_photos(photos: Sequence[Photo]) -> tuple[Photo, ...]:
    """Photos without those to train on that show what a photo to test on shows, whatever the files' names.

    Raises:
        RequestError: fewer than two to train on are left.
    """
    links = alike([signature_of_file(photo.path) if photo.path else signature_of(pixels(photo)) for photo in photos])
    tested = {
        position
        for group in linked(len(photos), links)
        if any(photos[position].split == "test" for position in group)
        for position in group
        if photos[position].split == "train"
    }
    left = tuple(photo for position, photo in enumerate(photos) if position not in tested)
    if tested:
        some = ", ".join(photos[position].name for position in sorted(tested)[:3])
        logger.warning("%d photos to train on are left out: photos to test on show the same (%s)", len(tested), some)
    if sum(photo.split == "train" for photo in left) < 2:
        got = f"{len(tested)} photos to train on are copies of photos to test on"
        raise RequestError(got, "two or more others", "name other photos")
    return left


def _is_usable(path: Path) -> bool:
    try:
        with open_image(path) as image:
            usable = min(image.size) >= SMALLEST_SIDE
    except UnusableFileError as error:
        logger.warning("%s is left out: %s", path, error)
        return False
    if not usable:
        logger.warning("%s is left out: smaller than %d pixels", path, SMALLEST_SIDE)
    return usable


@lru_cache(maxsize=128)
def pixels(photo: Photo) -> Image:
    """H x W x 3, 8 bit, upright.

    Raises:
        RequestError: the file is damaged.
    """
    package, _, file = photo.shipped.partition("/")
    path = photo.path or Path(str(files(package))) / file
    try:
        with open_image(path) as image:
            return np.asarray(upright_rgb(image))
    except UnusableFileError as error:
        raise RequestError(f"{path} cannot be read ({error})", "an undamaged photo", "remove it") from error
