"""Forgeries with honest traces: splice, copy-move and removal, made from whole photos.

A region that comes from elsewhere has another history than its surroundings: another resampling, another noise, other
compression. The generator gives host and donor histories of their own and changes nothing else to mark the region.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as PillowImage

from qmanet_benco.errors import RequestError
from qmanet_benco.images import encoded

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
_INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


@dataclass(frozen=True)
class ForgeryKnobs:
    """Ranges that a forgery's parameters are drawn from, uniformly."""

    kinds: tuple[str, ...] = ("splice", "splice", "splice", "copy-move", "removal")
    """Drawn with equal weight for each entry."""
    crop_scale: tuple[float, float] = (1.0, 2.2)
    """Side of the crop of a photo relative to the forgery's side."""
    fraction: tuple[float, float] = (0.05, 0.3)
    """Part of the image that is tampered."""
    removal_fraction: tuple[float, float] = (0.03, 0.15)
    noise: tuple[float, float] = (0.0, 8.0)
    """Standard deviation in grey levels of the noise in a history."""
    blur: tuple[float, float] = (0.0, 1.5)
    """Sigma in pixels of the blur in a donor's history."""
    history_quality: tuple[int, int] = (50, 95)
    """JPEG quality in a history."""
    final_quality: tuple[int, int] = (85, 99)
    """JPEG quality of the finished forgery."""
    subsamplings: tuple[str, ...] = ("4:4:4", "4:2:0")
    """Chroma subsampling of the finished forgery."""
    edge: tuple[float, float] = (0.3, 1.2)
    """Sigma in pixels of the softened boundary."""
    turn: tuple[float, float] = (-30.0, 30.0)
    """Degrees that an inserted region is turned by."""

    def __post_init__(self) -> None:
        """Check the range that a command takes.

        Raises:
            RequestError: crops would be smaller than the forgery.
        """
        if not 1 <= self.crop_scale[0] <= self.crop_scale[1] < math.inf:
            raise RequestError(
                f"crops of {self.crop_scale[0]} to {self.crop_scale[1]} sizes", "1 or more, finite, in order"
            )


class Forgery(NamedTuple):
    """One finished forgery."""

    image: Image
    mask: Mask
    kind: str


def forge(host: Image, donor: Image, size: int, kind: str, rng: Generator, knobs: ForgeryKnobs) -> Forgery:
    """Make one forgery.

    Args:
        host: photo that is tampered with, H x W x 3.
        donor: photo that a splice takes its region from.
        size: side of the forgery in pixels.
        kind: ``splice``, ``copy-move`` or ``removal``.
        rng: source of all randomness.
        knobs: ranges.

    Returns:
        The forgery before its final compression, ``size`` x ``size``.
    """
    background = _with_history(random_crop(host, size, rng, knobs), rng, knobs, blurred=False)
    fractions = knobs.removal_fraction if kind == "removal" else knobs.fraction
    mask = random_region(size, rng.uniform(*fractions), rng)
    if kind == "splice":
        inserted = _turned(random_crop(donor, size, rng, knobs), rng.uniform(*knobs.turn))
        inserted = _with_history(inserted, rng, knobs, blurred=True)
        inserted = _towards(inserted, background, mask, rng.uniform(0.2, 0.8))
    elif kind == "copy-move":
        inserted, mask = _moved(background, mask, rng)
    else:
        method = cv2.INPAINT_TELEA if rng.random() < 0.5 else cv2.INPAINT_NS
        inserted = cv2.inpaint(background, mask.astype(np.uint8), 3, method)
    return Forgery(blended(background, inserted, mask, rng.uniform(*knobs.edge)), mask, kind)


def blended(picture: Image, inserted: NDArray[np.generic], mask: Mask, sigma: float) -> Image:
    """Lay one picture over another where the mask is, with an edge feathered by ``sigma`` pixels."""
    alpha = mask.astype(np.float32)
    if sigma:
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), sigma), np.float32)
    mixed = alpha[..., None] * np.asarray(inserted, np.float32) + (1 - alpha[..., None]) * picture
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def random_region(size: int, fraction: float, rng: Generator) -> Mask:
    """Draw a blob, an ellipse or a polygon over about ``fraction`` of ``size`` x ``size`` pixels; it is never empty."""
    shape = rng.integers(3)
    radius = size * np.sqrt(fraction / np.pi)
    # anywhere, cut off by the border or not: a network must not get far by calling the middle tampered
    centre = rng.uniform(0.08, 0.92, 2) * (size - 1)
    if shape == 0:
        return _blob(size, fraction, centre, radius, rng)
    canvas = np.zeros((size, size), np.uint8)
    if shape == 1:
        stretch = rng.uniform(0.6, 1.0)
        axes = (max(1, round(radius / stretch**0.5)), max(1, round(radius * stretch**0.5)))
        cv2.ellipse(canvas, _point(centre), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 9)))
        reach = radius * rng.uniform(0.8, 1.5, len(angles))
        corners = centre[:, None] + reach * np.stack([np.cos(angles), np.sin(angles)])
        cv2.fillPoly(canvas, [np.rint(corners.T).astype(np.int32)], 1)
    canvas[round(centre[1]), round(centre[0])] = 1
    return canvas.astype(bool)


def compressed(image: Image, quality: int, subsampling: str = "4:2:0") -> bytes:
    """JPEG of an image."""
    return encoded(image, "JPEG", quality=quality, subsampling=subsampling)


def decoded(content: bytes) -> Image:
    """Decode the pixels of a JPEG or PNG."""
    return np.asarray(PillowImage.open(io.BytesIO(content)))


def finished(forgery: Forgery, rng: Generator, knobs: ForgeryKnobs) -> tuple[bytes, str, str]:
    """Save as JPEG, three times of five, or PNG: the bytes, JPEG quality and subsampling (empty for PNG)."""
    if rng.random() < 0.6:
        low, high = knobs.final_quality
        quality = int(rng.integers(low, high + 1))
        subsampling = knobs.subsamplings[rng.integers(len(knobs.subsamplings))]
        return compressed(forgery.image, quality, subsampling), str(quality), subsampling
    return encoded(forgery.image, "PNG"), "", ""


def _turned(image: Image, degrees: float) -> Image:
    size = len(image)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), degrees, 1.0)
    return cv2.warpAffine(image, turn, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def _blob(size: int, fraction: float, centre: NDArray[np.float64], radius: float, rng: Generator) -> Mask:
    field = cv2.GaussianBlur(rng.standard_normal((size, size)), (0, 0), size / 12)
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(columns - centre[0], rows - centre[1]) / max(radius, 1)
    field = field / field.std() * 0.35 - distance
    return field >= np.quantile(field, 1 - fraction)


def random_crop(photo: Image, size: int, rng: Generator, knobs: ForgeryKnobs) -> Image:
    """Cut a random square of a photo, flipped or not, resampled to ``size``."""
    height, width = photo.shape[:2]
    side = int(min(height, width, size * rng.uniform(*knobs.crop_scale)))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = photo[top : top + side, left : left + side]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    method = _INTERPOLATIONS[rng.integers(len(_INTERPOLATIONS))]
    return cv2.resize(np.ascontiguousarray(crop), (size, size), interpolation=method)


def _with_history(image: Image, rng: Generator, knobs: ForgeryKnobs, *, blurred: bool) -> Image:
    """Tone, blur, noise and compression, as an image collects them before it is tampered with."""
    tones = np.clip((image / 255.0) ** rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.1), 0, 1) * 255
    if blurred and (sigma := rng.uniform(*knobs.blur)) > 0.3:
        tones = cv2.GaussianBlur(tones, (0, 0), sigma)
    noisy = tones + rng.normal(0, rng.uniform(*knobs.noise), tones.shape)
    result = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        low, high = knobs.history_quality
        result = decoded(compressed(result, int(rng.integers(low, high + 1))))
    return result


def _towards(inserted: Image, background: Image, mask: Mask, amount: float) -> Image:
    """Shift the inserted region's mean colour towards the background's, as a careful forger would."""
    shift = amount * (background[mask].mean(axis=0) - inserted[mask].mean(axis=0))
    return np.clip(inserted + shift, 0, 255).astype(np.uint8)


def _moved(image: Image, mask: Mask, rng: Generator) -> tuple[Image, Mask]:
    """Copy a region to another place of the same image, turned and scaled; the mask is where it arrives."""
    size = len(mask)
    rows, columns = np.nonzero(mask)
    centre = (float(columns.mean()), float(rows.mean()))
    turn = cv2.getRotationMatrix2D(centre, float(rng.uniform(-40, 40)), float(rng.uniform(0.8, 1.25)))
    turn[:, 2] = turn[:, 2] + rng.uniform(0.1, 0.9, 2) * size - np.asarray(centre)
    moved = cv2.warpAffine(image, turn, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    arrived = cv2.warpAffine(mask.astype(np.uint8), turn, (size, size), flags=cv2.INTER_NEAREST).astype(bool)
    return np.asarray(moved, np.uint8), arrived


def _point(values: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(values[0])), round(float(values[1]))
