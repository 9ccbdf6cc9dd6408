"""Forgeries as people make them, and authentic pictures with the same history.

A thing is cut out along its outline and laid into another photo or elsewhere into its own, or it is removed, or a place
is retouched; then the whole picture is scaled and saved once. CASIA (Dong, Wang, Tan 2013), Columbia, Coverage and
IMD2020 describe such forgeries: scaled and turned or not, with hard and feathered edges, adapted in colour or not.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from qmanet_benco.data.forge.forgery import blended, random_region
from qmanet_benco.data.forge.history import HistoryKnobs, rescaled, saved, sharpened, toned, view
from qmanet_benco.data.forge.outlines import thing_outline
from qmanet_benco.data.forge.removal import remove

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

AUTHENTIC = "authentic"
LEAST_FRACTION, LARGEST_FRACTION = 0.003, 0.6
"""Part of the picture that a region covers in the end; others are drawn again."""
LEAST_CHANGE = 1.0
"""Mean change in grey levels within the region."""
TRIES = 12
SMALLEST_SIDE = 64


@dataclass(frozen=True)
class EditKnobs:
    """How often something is done, in [0, 1], and ranges that are drawn from uniformly."""

    kinds: tuple[str, ...] = ("splice",) * 9 + ("copy-move",) * 6 + ("removal",) * 3 + ("retouch",)
    """Drawn with equal weight for each entry."""
    fraction: tuple[float, float] = (0.01, 0.3)
    """Part of the picture that the outline covers before it is scaled; its logarithm is uniform."""
    things: float = 0.7
    """Regions with the outline of a thing; the others are frames, ellipses, polygons and blobs."""
    transformed: float = 0.55
    """Pasted regions that are scaled, and half of these also turned."""
    scale: tuple[float, float] = (0.5, 1.6)
    turn: tuple[float, float] = (-45.0, 45.0)
    """Degrees."""
    feathered: float = 0.6
    feather: tuple[float, float] = (0.4, 2.5)
    """Sigma in pixels; its logarithm is uniform."""
    matched: float = 0.5
    """Splices whose colour is drawn towards the colour around them; of copy-moves half as many."""
    cloned: float = 0.06
    """Splices by Poisson blending (Perez et al. 2003)."""
    history: HistoryKnobs = field(default_factory=HistoryKnobs)


class Edit(NamedTuple):
    """One finished picture."""

    content: bytes
    """The file, JPEG or PNG."""
    mask: Mask
    """Side x side; empty for an authentic picture."""
    kind: str
    """What was done, or :data:`AUTHENTIC`."""
    quality: str
    """JPEG quality; empty for PNG."""
    subsampling: str


def edit_with_twin(
    host: Image, donor: Image, size: int, kind: str, rng: Generator, knobs: EditKnobs
) -> tuple[Edit, Edit]:
    """Makes one picture and its authentic twin.

    The twin is the same view of the host with the same history, only that nothing was changed in it: what differs
    between the two is what the network has to find.

    Args:
        host: photo that is tampered with, H x W x 3.
        donor: photo that a splice takes its thing from.
        size: side in pixels.
        kind: ``splice``, ``copy-move``, ``removal``, ``retouch`` or :data:`AUTHENTIC`. Where nothing can be done to
            the host (nothing but sky, say), the picture stays authentic, and its ``kind`` says so.
        rng: source of all randomness.
        knobs: ranges.

    Returns:
        The picture and its twin; two equal ones where nothing was changed.
    """
    history = knobs.history
    scale = float(rng.uniform(*history.scale)) if rng.random() < history.rescaled else 1.0
    side = max(SMALLEST_SIDE, round(size / scale))
    untouched = view(host, side, rng, history)
    picture, mask = untouched, np.zeros((side, side), bool)
    if kind != AUTHENTIC:
        picture, mask = _tampered(picture, donor, kind, rng, knobs)
        kind = kind if mask.any() else AUTHENTIC
    twin = _finished(untouched, np.zeros_like(mask), AUTHENTIC, size, copy.deepcopy(rng), history)
    return _finished(picture, mask, kind, size, rng, history), twin


def _finished(picture: Image, mask: Mask, kind: str, size: int, rng: Generator, history: HistoryKnobs) -> Edit:
    """Gives the whole picture its last tones, scale and file."""
    if rng.random() < 0.2:
        picture = toned(picture, rng)
    if len(picture) != size:
        way = cv2.INTER_AREA if len(picture) > size else cv2.INTER_LINEAR
        picture = rescaled(picture, size, rng)
        mask = np.asarray(cv2.resize(mask.astype(np.float32), (size, size), interpolation=way) > 0.5, bool)
    if rng.random() < 0.1:
        picture = sharpened(picture, rng)
    content, quality, subsampling = saved(picture, rng, history)
    return Edit(content, mask, kind, quality, subsampling)


def _tampered(picture: Image, donor: Image, kind: str, rng: Generator, knobs: EditKnobs) -> tuple[Image, Mask]:
    """Change one region of the picture: the picture, and the region, which is empty where no try changed enough."""
    for _ in range(TRIES):
        fraction = float(np.exp(rng.uniform(*np.log(knobs.fraction))))
        if kind == "removal":
            changed, mask = remove(picture, _outline(picture, fraction, rng, knobs), rng)
        elif kind == "retouch":
            mask = _outline(picture, fraction, rng, knobs)
            changed = _retouched(picture, mask, rng)
        else:
            moved = kind == "copy-move"
            source = picture if moved else view(donor, len(picture), rng, knobs.history)
            changed, mask = _pasted(picture, source, _outline(source, fraction, rng, knobs), rng, knobs, moved=moved)
        if LEAST_FRACTION <= mask.mean() <= LARGEST_FRACTION and _change(picture, changed, mask) > LEAST_CHANGE:
            return changed, mask
    return picture, np.zeros(picture.shape[:2], bool)


def _change(before: Image, after: Image, mask: Mask) -> float:
    return float(np.abs(after[mask].astype(np.int16) - before[mask]).mean())


def _outline(picture: Image, fraction: float, rng: Generator, knobs: EditKnobs) -> Mask:
    """Draw the outline of a thing, a frame, or a shape."""
    if rng.random() < knobs.things:
        outline = thing_outline(picture, fraction, rng)
        if outline is not None:
            return outline
    side = len(picture)
    if rng.random() >= 0.3:
        return random_region(side, fraction, rng)
    stretch = np.exp(rng.uniform(-0.6, 0.6))
    height, width = (int(np.clip((fraction * ratio) ** 0.5 * side, 6, side - 2)) for ratio in (stretch, 1 / stretch))
    top, left = int(rng.integers(side - height)), int(rng.integers(side - width))
    frame = np.zeros((side, side), bool)
    frame[top : top + height, left : left + width] = True
    return frame


def _pasted(
    picture: Image, source: Image, outline: Mask, rng: Generator, knobs: EditKnobs, *, moved: bool
) -> tuple[Image, Mask]:
    """Lay the outlined part of the source somewhere into the picture, and where it arrives."""
    inserted, mask = _laid(source, outline, rng, knobs)
    if not mask.any():
        return picture, mask
    if rng.random() < (0.5 if moved else 1.0) * knobs.matched:
        inserted = _matched(inserted, picture, mask, rng)
    if rng.random() < 0.15:
        inserted = np.asarray(cv2.GaussianBlur(inserted, (0, 0), rng.uniform(0.5, 1.5)), np.float32)
    if not moved and rng.random() < knobs.cloned:
        return _cloned(picture, inserted, mask)
    sigma = float(np.exp(rng.uniform(*np.log(knobs.feather)))) if rng.random() < knobs.feathered else 0.0
    return blended(picture, inserted, mask, sigma), mask


def _laid(source: Image, outline: Mask, rng: Generator, knobs: EditKnobs) -> tuple[Plane, Mask]:
    """Move the source so that the outlined part comes to lie at a random place, perhaps scaled, turned, mirrored."""
    side = len(source)
    rows, columns = np.nonzero(outline)
    if not len(rows):
        return source.astype(np.float32), outline
    centre = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
    reach = np.array([np.ptp(columns), np.ptp(rows)]) / 2
    scale, turn, way = 1.0, 0.0, cv2.INTER_NEAREST  # whole pixels are moved, none is computed
    if rng.random() < knobs.transformed:
        scale = float(np.exp(rng.uniform(*np.log(knobs.scale))))
        turn = float(rng.uniform(*knobs.turn)) if rng.random() < 0.5 else 0.0
        way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)[rng.integers(4)]
    mirror = -1.0 if rng.random() < 0.3 else 1.0
    cosine, sine = scale * np.cos(np.deg2rad(turn)), scale * np.sin(np.deg2rad(turn))
    matrix = np.array([[cosine * mirror, -sine], [sine * mirror, cosine]])
    margin = np.minimum(0.8 * scale * reach, side / 2)
    shift = rng.uniform(margin, side - margin) - matrix @ centre
    if way == cv2.INTER_NEAREST:
        shift = np.rint(shift)
    if scale < 0.8:  # what a good editor does against aliasing
        source = np.asarray(cv2.GaussianBlur(source, (0, 0), 0.45 / scale), np.uint8)
    affine = np.column_stack([matrix, shift])
    inserted = cv2.warpAffine(source, affine, (side, side), flags=way, borderMode=cv2.BORDER_REPLICATE)
    arrived = cv2.warpAffine(outline.astype(np.float32), affine, (side, side), flags=cv2.INTER_LINEAR)
    return inserted.astype(np.float32), np.asarray(arrived > 0.5, bool)


def _matched(inserted: Plane, picture: Image, mask: Mask, rng: Generator) -> Plane:
    """Colour, and now and then contrast, drawn towards what is around the place."""
    ring = cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool) & ~mask
    if not ring.any():
        return inserted
    amount = rng.uniform(0.2, 0.9)
    own, place = inserted[mask], picture[ring]
    middle = place.mean(axis=0)
    inserted = inserted + amount * (middle - own.mean(axis=0))
    if rng.random() < 0.4:
        ratio = float(np.clip((place.std() + 5) / (own.std() + 5), 0.6, 1.5)) ** amount
        inserted = (inserted - middle) * ratio + middle
    return np.asarray(inserted, np.float32)


def _cloned(picture: Image, inserted: Plane, mask: Mask) -> tuple[Image, Mask]:
    """Poisson blending; OpenCV wants the region's box inside the picture."""
    inner = mask.copy()
    inner[:2] = inner[-2:] = False
    inner[:, :2] = inner[:, -2:] = False
    if inner.sum() < 16:
        return picture, np.zeros_like(mask)
    rows, columns = np.nonzero(inner)
    middle = (int(columns.min() + columns.max() + 1) // 2, int(rows.min() + rows.max() + 1) // 2)
    source = np.clip(inserted, 0, 255).astype(np.uint8)
    try:
        cloned = cv2.seamlessClone(source, picture, inner.astype(np.uint8) * 255, middle, cv2.NORMAL_CLONE)
    except cv2.error:
        return picture, np.zeros_like(mask)
    return np.asarray(cloned, np.uint8), inner


def _retouched(picture: Image, mask: Mask, rng: Generator) -> Image:
    """Blurs, smooths or roughens a place."""
    way = rng.integers(3)
    changed: NDArray[np.generic]
    if way == 0:
        changed = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1.0, 3.0))
    elif way == 1:
        changed = cv2.medianBlur(picture, 5)
    else:
        changed = np.clip(picture + rng.normal(0, rng.uniform(3, 10), picture.shape), 0, 255)
    return blended(picture, changed, mask, rng.uniform(0.5, 3.0))
