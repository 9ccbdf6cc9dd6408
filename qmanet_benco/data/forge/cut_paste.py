"""Forgeries as a person makes them in an editor: a region is cut out, perhaps scaled or turned, pasted, and saved.

:mod:`qmanet_benco.data.forge.forgery` gives host and donor histories that set them apart. Here nothing is added: the
region is told by what the editor leaves, a hard or slightly softened outline, resampling where it was scaled or turned,
JPEG blocks that no longer meet the host's, or by the same pixels being there twice. CASIA v1 was made like this, with
Adobe Photoshop (Dong, Wang, Tan 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from qmanet_benco.data.forge.forgery import Forgery, ForgeryKnobs, compressed, decoded, random_crop, random_region
from qmanet_benco.errors import RequestError

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
LEAST_PIXELS = 64
"""A pasted region has so many or more; smaller ones are drawn again."""
TRIES = 20


class NoRegionError(ValueError):
    """These photos and this outline gave no forgery; others may."""


@dataclass(frozen=True)
class PasteKnobs:
    """Ranges that a forgery's parameters are drawn from, uniformly."""

    fraction: tuple[float, float] = (0.01, 0.25)
    """Part of the host that the region covers, before the border cuts it; its logarithm is uniform."""
    unscaled: float = 0.5
    """Part of the regions that keep their size, and apart from that, their direction."""
    scale: tuple[float, float] = (0.5, 1.6)
    turn: tuple[float, float] = (-40.0, 40.0)
    """Degrees."""
    hard: float = 0.6
    """Part of the regions whose outline is not softened."""
    edge: tuple[float, float] = (0.4, 1.5)
    """Sigma in pixels of a softened outline."""


def paste(host: Image, donor: Image, shape: Mask, rng: Generator, knobs: PasteKnobs) -> Forgery:
    """Paste a region of one photo into another, or elsewhere into itself.

    Args:
        host: H x W x 3.
        donor: of any size; the very array ``host`` makes it a copy-move.
        shape: outline of the region, of any size; its bounding box is scaled to the size that is drawn.
        rng: source of all randomness.
        knobs: ranges.

    Returns:
        The forgery at the host's size, before it is saved. Its mask is where the region arrives.

    Raises:
        NoRegionError: the outline is empty, or no try gave a region of enough pixels that are other than the host's.
    """
    if not shape.any():
        raise NoRegionError("an outline without a pixel")
    kind = "copy-move" if donor is host else "splice"
    for _ in range(TRIES):
        target = _placed(shape, (host.shape[0], host.shape[1]), rng, knobs)
        inserted, known = _brought(donor, target, rng, knobs, moved=donor is host)
        mask = target & known
        if mask.sum() >= LEAST_PIXELS and not np.array_equal(inserted[mask], host[mask]):
            break
    else:
        raise NoRegionError(f"no region of {LEAST_PIXELS} pixels changed the photo in {TRIES} tries")
    alpha = mask.astype(np.float32)[..., None]
    if rng.random() >= knobs.hard:
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(*knobs.edge))[..., None] * known[..., None]
    blended = alpha * inserted + (1 - alpha) * host
    return Forgery(np.clip(np.rint(blended), 0, 255).astype(np.uint8), mask, kind)


def paste_crops(host: Image, donor: Image, size: int, rng: Generator, knobs: ForgeryKnobs) -> Forgery:
    """Make a forgery of ``size`` x ``size`` pixels from crops of two photos; every second is a copy-move in the host.

    Args:
        host: H x W x 3.
        donor: of any size.
        size: side in pixels.
        rng: source of all randomness.
        knobs: size of the crops and the JPEG quality that photos come with.

    Returns:
        The forgery before it is saved.

    Raises:
        RequestError: no crop has anything that could be pasted.
    """
    for _ in range(TRIES):
        first, second = (_as_photo(random_crop(photo, size, rng, knobs), rng, knobs) for photo in (host, donor))
        outline = random_region(size, 0.2, rng)
        try:
            return paste(first, first if rng.random() < 0.5 else second, outline, rng, PasteKnobs())
        except NoRegionError:
            continue  # a crop of nothing but sky, say
    raise RequestError(f"crops of {size} pixels that show nothing", "photos with content", "name other photos")


def _as_photo(image: Image, rng: Generator, knobs: ForgeryKnobs) -> Image:
    """Compress an image as a camera or a web page does."""
    low, high = knobs.history_quality
    return decoded(compressed(image, int(rng.integers(low, high + 1))))


def _placed(shape: Mask, size: tuple[int, int], rng: Generator, knobs: PasteKnobs) -> Mask:
    """Place the shape, flipped or not, at a random size and place; its centre lies in the image."""
    rows, columns = np.nonzero(shape)
    box = shape[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    if rng.random() < 0.5:
        box = box[:, ::-1]
    height, width = size
    fraction = np.exp(rng.uniform(*np.log(knobs.fraction)))
    scale = np.sqrt(fraction * height * width / box.sum())
    scale = min(scale, 0.9 * height / box.shape[0], 0.9 * width / box.shape[1])
    to = (max(2, round(box.shape[1] * scale)), max(2, round(box.shape[0] * scale)))
    scaled = cv2.resize(box.astype(np.uint8), to, interpolation=cv2.INTER_NEAREST).astype(bool)
    centre = rng.uniform(0.05, 0.95, 2) * size
    top, left = (round(at - side / 2) for at, side in zip(centre, scaled.shape, strict=True))
    canvas = np.zeros((height + 2 * scaled.shape[0], width + 2 * scaled.shape[1]), bool)
    top, left = top + scaled.shape[0], left + scaled.shape[1]
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas[scaled.shape[0] : scaled.shape[0] + height, scaled.shape[1] : scaled.shape[1] + width]


def _brought(donor: Image, target: Mask, rng: Generator, knobs: PasteKnobs, *, moved: bool) -> tuple[Image, Mask]:
    """Lay the donor so that a random place of it comes to lie on the target, and where it has pixels."""
    height, width = target.shape
    rows, columns = np.nonzero(target)
    if not len(rows):
        return np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    reach = (np.ptp(rows) / 2, np.ptp(columns) / 2)
    source = [
        rng.uniform(margin, length - margin) if length > 2 * margin else length / 2
        for margin, length in zip(reach, donor.shape[:2], strict=True)
    ]
    arrival = (rows.mean(), columns.mean())
    scale, degrees = 1.0, 0.0
    if rng.random() >= knobs.unscaled:
        scale = rng.uniform(*knobs.scale)
        degrees = rng.uniform(*knobs.turn) if rng.random() < 0.5 else 0.0
    if scale == 1.0 and degrees == 0.0:
        shift = [round(to - start) for to, start in zip(arrival, source, strict=True)]
        if moved and not any(shift):
            shift[0] += height // 4
        laid = np.asarray([[1.0, 0.0, shift[1]], [0.0, 1.0, shift[0]]])
        how = cv2.INTER_NEAREST  # whole pixels are moved, none is computed
    else:
        laid = cv2.getRotationMatrix2D((source[1], source[0]), degrees, scale)
        laid[:, 2] += (arrival[1] - source[1], arrival[0] - source[0])
        how = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_LINEAR
    inserted = cv2.warpAffine(donor, laid, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)
    known = cv2.warpAffine(np.ones(donor.shape[:2], np.uint8), laid, (width, height), flags=cv2.INTER_NEAREST)
    return np.asarray(inserted, np.uint8), known.astype(bool)
