"""The photos that the dependencies ship, and which of them are for training and which for testing.

Licences as stated by the packages: the docstrings of scikit-image's ``skimage.data``, scikit-learn's
``datasets/images/README.txt``, and matplotlib's sample data. Nothing is copied into this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """One photo of a dependency."""

    name: str
    package: str
    split: str
    """``train`` or ``test``: a scene is in one of them only, as host and as donor."""
    licence: str


PHOTOS = (
    Photo("astronaut", "skimage", "train", "public domain (NASA)"),
    Photo("coffee", "skimage", "train", "CC0 (Rachel Michetti)"),
    Photo("rocket", "skimage", "train", "public domain (SpaceX)"),
    Photo("hubble_deep_field", "skimage", "train", "public domain (NASA)"),
    Photo("immunohistochemistry", "skimage", "train", "no known copyright restrictions (CMM, University of Oulu)"),
    Photo("retina", "skimage", "train", "CC0 (M. Haggstrom)"),
    Photo("china.jpg", "sklearn", "train", "CC BY 2.0 (danielbuechele)"),
    Photo("chelsea", "skimage", "test", "CC0 (Stefan van der Walt)"),
    Photo("flower.jpg", "sklearn", "test", "CC BY 2.0 (vultilion)"),
    Photo("grace_hopper.jpg", "matplotlib", "test", "public domain (US Navy)"),
)


def photos_of(split: str) -> tuple[Photo, ...]:
    """The photos of ``train`` or ``test``."""
    return tuple(photo for photo in PHOTOS if photo.split == split)


@cache
def pixels(photo: Photo) -> Image:
    """H x W x 3, 8 bit."""
    if photo.package == "sklearn":
        from sklearn.datasets import load_sample_image

        return np.ascontiguousarray(load_sample_image(photo.name))
    if photo.package == "matplotlib":
        from matplotlib.cbook import get_sample_data

        with PillowImage.open(get_sample_data(photo.name, asfileobj=False)) as image:
            return np.asarray(image.convert("RGB"))
    from skimage import data, io

    ending = {"hubble_deep_field": "hubble_deep_field.jpg", "immunohistochemistry": "ihc.png", "retina": "retina.jpg"}
    ending |= {"rocket": "rocket.jpg"}
    path = Path(data.__file__).parent / f"{ending.get(photo.name, photo.name + '.png')}"
    return np.ascontiguousarray(io.imread(path)[..., :3])
