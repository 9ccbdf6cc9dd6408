"""Changes a photo as happens before and after it is tampered with: crops, scales, tones, sharpness, noise, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as PillowImage

from qmanet_benco.data.forge.forgery import compressed, decoded
from qmanet_benco.images import encoded

Image = NDArray[np.uint8]

_FILTERS = (
    PillowImage.Resampling.BILINEAR,
    PillowImage.Resampling.BICUBIC,
    PillowImage.Resampling.LANCZOS,
    PillowImage.Resampling.BOX,
    PillowImage.Resampling.HAMMING,
)
_SUBSAMPLINGS = ("4:2:0", "4:2:0", "4:4:4")


@dataclass(frozen=True)
class HistoryKnobs:
    """How often something happens to a photo, in [0, 1], and ranges that are drawn from uniformly."""

    native: float = 0.3
    """Crops at the photo's own resolution; the others are scaled down by a factor whose logarithm is uniform."""
    toned: float = 0.3
    sharpened: float = 0.15
    noisy: float = 0.25
    noise: tuple[float, float] = (0.5, 5.0)
    """Standard deviation in grey levels."""
    compressed: float = 0.8
    quality: tuple[int, int] = (60, 98)
    """JPEG quality before the photo is tampered with."""
    aligned: float = 0.6
    """Earlier JPEGs whose blocks begin at the picture's corner; the others were cropped since."""
    rescaled: float = 0.35
    """Finished pictures that are scaled before they are saved."""
    scale: tuple[float, float] = (0.5, 1.3)
    saved_as_jpeg: float = 0.85
    """Finished pictures that are saved as JPEG; the others are PNG."""
    final_quality: tuple[int, int] = (60, 100)


def view(photo: Image, side: int, rng: Generator, knobs: HistoryKnobs) -> Image:
    """Takes a square of a photo as it comes to a forger's hands.

    Args:
        photo: H x W x 3.
        side: of the square in pixels.
        rng: source of all randomness.
        knobs: what happens to it.

    Returns:
        ``side`` x ``side`` x 3.
    """
    picture = _square(photo, side, rng, knobs)
    if rng.random() < knobs.toned:
        picture = toned(picture, rng)
    if rng.random() < knobs.sharpened:
        picture = sharpened(picture, rng)
    if rng.random() < knobs.noisy:
        planes = 3 if rng.random() < 0.5 else 1
        noise = rng.normal(0, rng.uniform(*knobs.noise), (side, side, planes))
        picture = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
    if rng.random() < knobs.compressed:
        picture = _compressed_before(picture, rng, knobs)
    return picture


def rescaled(picture: Image, side: int, rng: Generator) -> Image:
    """Scales a square picture to another side, with the filters of photo editors and libraries."""
    if len(picture) == side:
        return picture
    if rng.random() < 0.8:
        chosen = _FILTERS[rng.integers(len(_FILTERS))]
        return np.asarray(PillowImage.fromarray(picture).resize((side, side), chosen))
    way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)[rng.integers(3)]
    return np.asarray(cv2.resize(picture, (side, side), interpolation=way), np.uint8)


def toned(picture: Image, rng: Generator) -> Image:
    """Changes gamma, brightness and colour balance a little."""
    tones = (picture / 255.0) ** rng.uniform(0.75, 1.3) * rng.uniform(0.85, 1.15)
    return np.clip(np.rint(tones * 255 * rng.uniform(0.94, 1.06, 3)), 0, 255).astype(np.uint8)


def sharpened(picture: Image, rng: Generator) -> Image:
    """Applies an unsharp mask."""
    soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 1.6)).astype(np.float32)
    return np.clip(np.rint(picture + rng.uniform(0.3, 1.2) * (picture - soft)), 0, 255).astype(np.uint8)


def saved(picture: Image, rng: Generator, knobs: HistoryKnobs) -> tuple[bytes, str, str]:
    """Saves the finished picture.

    Returns:
        The file's bytes, JPEG quality and subsampling; both are empty for PNG.
    """
    if rng.random() >= knobs.saved_as_jpeg:
        return encoded(picture, "PNG"), "", ""
    low, high = knobs.final_quality
    quality, subsampling = int(rng.integers(low, high + 1)), _SUBSAMPLINGS[rng.integers(len(_SUBSAMPLINGS))]
    return compressed(picture, quality, subsampling), str(quality), subsampling


def _square(photo: Image, side: int, rng: Generator, knobs: HistoryKnobs) -> Image:
    height, width = photo.shape[:2]
    longest = min(height, width)
    if rng.random() < knobs.native or longest <= side:
        crop_side = min(side, longest)
    else:
        crop_side = round(float(np.exp(rng.uniform(np.log(side), np.log(longest)))))
    top, left = int(rng.integers(height - crop_side + 1)), int(rng.integers(width - crop_side + 1))
    crop = photo[top : top + crop_side, left : left + crop_side]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return rescaled(np.ascontiguousarray(crop), side, rng)


def _compressed_before(picture: Image, rng: Generator, knobs: HistoryKnobs) -> Image:
    """Compress as JPEG and decode; its blocks begin at the corner or, where the photo was cropped since, anywhere."""
    down, right = (0, 0) if rng.random() < knobs.aligned else (int(rng.integers(8)), int(rng.integers(8)))
    quality, subsampling = int(rng.integers(knobs.quality[0], knobs.quality[1] + 1)), _SUBSAMPLINGS[rng.integers(3)]
    padded = np.pad(picture, ((down, 0), (right, 0), (0, 0)), mode="edge")
    return np.ascontiguousarray(decoded(compressed(padded, quality, subsampling))[down:, right:])
