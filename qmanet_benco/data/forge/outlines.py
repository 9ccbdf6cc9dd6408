"""Outlines of the things in a photo, so that the boundary of a forged region follows real edges.

Two ways to find one, as people use them: similar neighbouring segments are merged (graph segmentation, Felzenszwalb and
Huttenlocher 2004), or a frame is drawn and its content is cut out (GrabCut, Rother et al. 2004).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

WORKING_SIDE = 160
"""Longer side in pixels at which an outline is searched; the outline is enlarged smoothly."""
TRIES = 4
CUT_OUT = 0.35
"""Part of the outlines that GrabCut finds."""


def thing_outline(image: Image, fraction: float, rng: Generator) -> Mask | None:
    """Finds the outline of something in a photo.

    Args:
        image: H x W x 3.
        fraction: part of the photo that the thing covers, about.
        rng: source of all randomness.

    Returns:
        H x W, one connected region without holes; None where nothing of about this size is there.
    """
    height, width = image.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    for _ in range(TRIES):
        way = _cut_out if rng.random() < CUT_OUT else _merged_segments
        mask = _one_piece(way(small, fraction, rng))
        if 0.3 * fraction <= mask.mean() <= 2.5 * fraction:
            return _enlarged(mask, (height, width), rng)
    return None


def _merged_segments(small: Image, fraction: float, rng: Generator) -> Mask:
    """Segments of similar colour, from a random one outwards until they cover the part that is asked for."""
    from skimage.segmentation import felzenszwalb  # takes a second to import

    detail = float(np.exp(rng.uniform(np.log(30), np.log(300))))
    labels = felzenszwalb(small, scale=detail, sigma=0.8, min_size=24)
    areas = np.bincount(labels.ravel())
    colours = _mean_colours(small, labels, areas)
    beside = _adjacency(labels, len(areas))
    wanted = fraction * labels.size
    fitting = np.flatnonzero(areas[labels.ravel()] <= 1.6 * wanted)
    if not len(fitting):
        return np.zeros(labels.shape, bool)
    chosen = np.zeros(len(areas), bool)
    chosen[labels.ravel()[rng.choice(fitting)]] = True
    while areas[chosen].sum() < 0.8 * wanted:
        room = 2 * wanted - areas[chosen].sum()
        neighbours = np.flatnonzero(beside[chosen].any(axis=0) & ~chosen & (areas <= room))
        if not len(neighbours):
            break
        middle = np.average(colours[chosen], axis=0, weights=areas[chosen])
        distance = np.linalg.norm(colours[neighbours] - middle, axis=1) * rng.uniform(0.6, 1.4, len(neighbours))
        chosen[neighbours[np.argmin(distance)]] = True
    return np.asarray(chosen[labels], bool)


def _mean_colours(image: Image, labels: NDArray[np.int64], areas: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean colour of each segment in CIE Lab, segments x 3."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float64)
    sums = [np.bincount(labels.ravel(), lab[:, channel], len(areas)) for channel in range(3)]
    return np.stack(sums, axis=1) / areas[:, None]


def _adjacency(labels: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Tell which segments touch, segments x segments."""
    beside = np.zeros((count, count), bool)
    for first, second in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        beside[first.ravel(), second.ravel()] = True
    return beside | beside.T


def _cut_out(small: Image, fraction: float, rng: Generator) -> Mask:
    """Cut out what GrabCut calls foreground within a random frame."""
    height, width = small.shape[:2]
    stretch = float(np.exp(rng.uniform(-0.5, 0.5)))
    area = 1.8 * fraction * height * width
    frame_width = int(np.clip((area * stretch) ** 0.5, 8, width - 4))
    frame_height = int(np.clip((area / stretch) ** 0.5, 8, height - 4))
    left, top = int(rng.integers(1, width - frame_width)), int(rng.integers(1, height - frame_height))
    labels = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(int(rng.integers(2**31)))  # of GrabCut's clustering
    frame, models = (left, top, frame_width, frame_height), (np.zeros((1, 65)), np.zeros((1, 65)))
    try:
        cv2.grabCut(small, labels, frame, *models, 2, cv2.GC_INIT_WITH_RECT)
    except cv2.error:  # all of one colour
        return np.zeros((height, width), bool)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _one_piece(mask: Mask) -> Mask:
    """Keep the largest connected part, opened so that no thread hangs on it, without holes."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.astype(bool)


def _enlarged(mask: Mask, size: tuple[int, int], rng: Generator) -> Mask:
    """Enlarge the outline at full size: smooth, now and then with a margin around the thing or cut into it."""
    height, width = size
    scale = max(1.0, height / mask.shape[0])
    plane = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    plane = cv2.GaussianBlur(plane, (0, 0), 0.5 * scale + rng.uniform(0.3, 1.0))
    return np.asarray(plane > rng.uniform(0.3, 0.6), bool)
