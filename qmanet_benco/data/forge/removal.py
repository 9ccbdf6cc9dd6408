"""Removal of a thing: its place is filled by inpainting, or covered with another part of the same picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from qmanet_benco.data.forge.forgery import blended

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

INPAINTED = 0.35
"""Part of the removals by OpenCV's inpainting (Telea 2004; Bertalmio et al. 2001); the others are by a patch."""
MARGIN = 5
"""Pixels, side of the square by which the place is larger than the thing."""
SHIFTS, SAMPLES = 60, 800
"""Places that are tried for a patch, and pixels around the hole that they are compared on."""


def remove(picture: Image, outline: Mask, rng: Generator) -> tuple[Image, Mask]:
    """Removes what is within an outline.

    Args:
        picture: H x W x 3.
        outline: H x W.
        rng: source of all randomness.

    Returns:
        The picture and the place that was changed.
    """
    mask = cv2.dilate(outline.astype(np.uint8), np.ones((MARGIN, MARGIN), np.uint8)).astype(bool)
    shift = None if rng.random() < INPAINTED else _best_shift(picture, mask, rng)
    if shift is None:
        way = cv2.INPAINT_TELEA if rng.random() < 0.5 else cv2.INPAINT_NS
        filled = cv2.inpaint(picture, mask.astype(np.uint8), float(rng.integers(3, 8)), way)
        return np.asarray(filled, np.uint8), mask
    affine = np.array([[1.0, 0.0, -shift[1]], [0.0, 1.0, -shift[0]]])
    size = (picture.shape[1], picture.shape[0])
    moved = cv2.warpAffine(picture, affine, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
    return blended(picture, moved, mask, rng.uniform(0.8, 3.0)), mask


def _best_shift(picture: Image, mask: Mask, rng: Generator) -> NDArray[np.int64] | None:
    """Find where a patch lies whose surroundings fit best around the hole; None where there is no room for one."""
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~mask
    rows, columns = np.nonzero(ring)
    if not len(rows):
        return None
    if len(rows) > SAMPLES:
        kept = rng.choice(len(rows), SAMPLES, replace=False)
        rows, columns = rows[kept], columns[kept]
    reach = int(max(np.ptp(axis) for axis in np.nonzero(mask))) + 8
    best, least = None, np.inf
    for shift in rng.integers(-2 * reach, 2 * reach + 1, (SHIFTS, 2)):
        if np.abs(shift).max() < 0.7 * reach:
            continue
        there = rows + shift[0], columns + shift[1]
        inside = (there[0] >= 0) & (there[0] < len(picture)) & (there[1] >= 0) & (there[1] < picture.shape[1])
        if inside.mean() < 0.98:
            continue
        difference = picture[there[0][inside], there[1][inside]].astype(np.int16) - picture[rows, columns][inside]
        if (cost := float(np.abs(difference).mean())) < least:
            best, least = shift, cost
    return best
