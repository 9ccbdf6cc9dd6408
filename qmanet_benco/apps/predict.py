"""Predicts a photo's mask at the photo's own size, and whether it was tampered with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qmanet_benco import images
from qmanet_benco.apps.engines.engines import Localizer
from qmanet_benco.apps.photo import Photo, Pixels, read_photo
from qmanet_benco.errors import RequestError
from qmanet_benco.model.calibration import Calibration
from qmanet_benco.model.network import SMALLEST_SIDE, image_score
from qmanet_benco.model.statistics.blocks import BLOCK

THRESHOLD = 0.5
TILE, OVERLAP = 768, 256
"""Pixels. The overlap is blended; CHOICE: the paper resizes and has no tiles."""
MOST_REGIONS = 50
LEAST_REGION = 0.001
"""Part of the photo that a region has to cover for the verdict to count it."""

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """A connected region of tampered pixels (8 neighbours), in pixels of the upright photo."""

    left: int
    top: int
    width: int
    height: int
    pixels: int
    mean_probability: float


@dataclass(frozen=True)
class Prediction:
    """What a model says of a photo."""

    probability: Plane
    """H x W in [0, 1], at the photo's own size after the rotation that EXIF asks for."""
    mask: NDArray[np.bool_]
    """H x W, True where the probability is above the threshold; empty where :attr:`gated`."""
    score: float
    """In [0, 1]. With a calibration the chance that the photo was tampered with; without one a number that can only be
    compared with other photos' under the same weights."""
    regions: tuple[Region, ...]
    """The largest first, at most :data:`MOST_REGIONS`."""
    threshold: float = THRESHOLD
    """The probability above which a pixel is in the mask."""
    calibration: Calibration | None = None
    """What the score rests on; None where the weights have none, or none for this resolution."""
    gated: bool = False
    """Whether the mask was left empty because the score says that nothing was tampered with."""

    @property
    def tampered_fraction(self) -> float:
        """The part of the photo's pixels that the mask covers, in [0, 1]."""
        return float(self.mask.mean())

    @property
    def score_rule(self) -> str:
        """Where the score comes from, in words."""
        if self.calibration is None:
            return "not calibrated (mean of the most suspicious thousandth)"
        photos = f"{self.calibration.tampered} tampered and {self.calibration.authentic} authentic photos"
        return f"chance that the photo was tampered with, calibrated on {photos}"

    @property
    def verdict(self) -> str:
        """The answer in a few words, such as ``2 regions found``."""
        count = sum(region.pixels >= LEAST_REGION * self.mask.size for region in self.regions)
        more = " or more" if count == MOST_REGIONS else ""
        what = f"{count}{more} region{'' if count == 1 else 's'} found" if count else "nothing found"
        return what if self.calibration else f"{what}; not calibrated"


def predict(
    model: Localizer,
    photo: Photo,
    *,
    native: bool | None = None,
    image_size: int = 0,
    threshold: float | None = None,
) -> Prediction:
    """Find what was tampered with in a photo.

    Args:
        model: of :func:`~qmanet_benco.load_model`, in eval mode, or an
            :class:`~qmanet_benco.apps.engines.engines.EngineModel`.
        photo: a file, a Pillow image, or H x W x 3 in uint8, RGB.
        native: at the photo's own resolution, in overlapping tiles where it is larger than one; if False, resized to
            a square, as the paper does it, and the probability scaled back; None: the way that the weights were
            calibrated for, else the square.
        image_size: the square's side; 0: the one that the model was trained for (512 where it does not say).
        threshold: of the mask; None: the calibrated one, else 0.5. With None and a calibration the mask of a photo
            whose score is below the calibration's gate is empty.

    Returns:
        Its ``score`` is calibrated if the weights are, for this resolution; otherwise it is the mean of the most
        suspicious thousandth of the pixels that the network saw, with ``native`` the largest of the tiles'. Scores of
        the two ways cannot be compared.

    Raises:
        RequestError: the photo cannot be read, an argument makes no sense, or the network's answer is not finite.
    """
    way = resolved(model, native, image_size, threshold)
    pixels = read_photo(photo)
    with torch.inference_mode():
        probability, score = _tiled(model, pixels) if way.native else _resized(model, pixels, way.side)
    if not np.isfinite(probability).all():
        raise RequestError("the network's answer is not finite", "numbers from 0 to 1", "its weights are damaged")
    mask, gated = probability > way.threshold, False
    if way.calibration is not None:
        score = way.calibration.score(probability)
        gated = threshold is None and way.calibration.withholds_mask(score)
    if gated:
        mask = np.zeros_like(mask)
    return Prediction(
        probability, mask, score, tuple(regions(mask, probability)), way.threshold, way.calibration, gated
    )


class Settings(NamedTuple):
    """How a photo is predicted: what the caller asks for, completed by what is stored with the weights."""

    native: bool
    side: int
    """The side of the square, in pixels."""
    threshold: float
    calibration: Calibration | None
    """The weights' own, where it holds for this resolution."""


def resolved(model: Localizer, native: bool | None, image_size: int, threshold: float | None) -> Settings:
    """Complete a request by what is stored with the weights; arguments as for :func:`predict`.

    Raises:
        RequestError: the model is not loaded or not in eval mode, or an argument makes no sense.
    """
    if not callable(model):
        raise RequestError(f"{model!r} for a model", "a loaded model", "predict(load_model(NAME_OR_FILE), photo)")
    if getattr(model, "training", False):
        raise RequestError("a network in training mode", "one in eval mode", "call its eval()")
    if threshold is not None and not 0 < threshold < 1:
        raise RequestError(f"threshold {threshold}", "above 0 and below 1")
    side = image_size or model.image_size
    if side < SMALLEST_SIDE:
        raise RequestError(f"image size {side}", f"{SMALLEST_SIDE} pixels or more")
    calibration: Calibration | None = getattr(model, "calibration", None)
    if native is None:
        native = calibration is not None and calibration.native and not image_size
    if calibration is not None and (calibration.native != native or (not native and side != model.image_size)):
        calibration = None
    if threshold is None:
        threshold = THRESHOLD if calibration is None else calibration.threshold
    return Settings(native, side, threshold, calibration)


def regions(mask: NDArray[np.bool_], probability: Plane) -> list[Region]:
    """Connected regions of a mask, the largest first."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    largest = sorted(range(1, count), key=lambda label: -int(boxes[label, cv2.CC_STAT_AREA]))[:MOST_REGIONS]
    listed = []
    for label in largest:
        left, top, width, height, area = (int(value) for value in boxes[label])
        window = np.s_[top : top + height, left : left + width]
        mean = float(probability[window][labels[window] == label].mean())
        listed.append(Region(left, top, width, height, area, mean))
    return listed


def _resized(model: Localizer, pixels: Pixels, side: int) -> tuple[Plane, float]:
    """Predict the paper's way: scaled to a square, sampled as the framework's loader does it."""
    height, width = pixels.shape[:2]
    square = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)
    probability = model(normalised(square).to(device_of(model))).float()
    score = float(image_score(probability)[0])
    plane = cv2.resize(probability[0, 0].cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(plane, 0, 1), score


def _tiled(model: Localizer, pixels: Pixels) -> tuple[Plane, float]:
    """Predict in tiles at the photo's resolution; memory grows with one tile and a few planes of the photo's size."""
    height, width = pixels.shape[:2]
    total = np.zeros((height, width), np.float32)
    weights = np.zeros((height, width), np.float32)
    score = 0.0
    for rows, columns in tiles(height, width):
        tile = pixels[rows, columns]
        padding = [(0, max(0, SMALLEST_SIDE - side)) for side in tile.shape[:2]]
        padded = np.pad(tile, (*padding, (0, 0)), mode="edge")
        probability = model(normalised(padded).to(device_of(model))).float()[..., : tile.shape[0], : tile.shape[1]]
        score = max(score, float(image_score(probability)[0]))
        ramp = _ramp(tile.shape[0], rows.start > 0, rows.stop < height)[:, None]
        ramp = ramp * _ramp(tile.shape[1], columns.start > 0, columns.stop < width)[None]
        total[rows, columns] += probability[0, 0].cpu().numpy() * ramp
        weights[rows, columns] += ramp
    return np.clip(total / weights, 0, 1), score


def tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Windows of at most :data:`TILE` pixels a side that cover a photo and overlap by :data:`OVERLAP` or more.

    They begin where a block of a JPEG begins: what the network sees of the blocks is then that of the whole photo.
    """
    for top, bottom in _spans(height):
        for left, right in _spans(width):
            yield slice(top, bottom), slice(left, right)


def _spans(length: int) -> list[tuple[int, int]]:
    if length <= TILE:
        return [(0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    blocks = -(-(length - TILE) // BLOCK)
    starts = [BLOCK * (index * blocks // (count - 1)) for index in range(count)]
    return [(start, min(start + TILE, length)) for start in starts]


def _ramp(length: int, before: bool, after: bool) -> Plane:
    """Weights of a tile along one side: they rise over the overlap where a neighbour follows, and are never zero."""
    weights = np.ones(length, np.float32)
    rise = (np.arange(1, OVERLAP + 1, dtype=np.float32)) / (OVERLAP + 1)
    if before:
        weights[:OVERLAP] = np.minimum(weights[:OVERLAP], rise)
    if after:
        weights[-OVERLAP:] = np.minimum(weights[-OVERLAP:], rise[::-1])
    return weights


def normalised(pixels: Pixels) -> Tensor:
    """1 x 3 x H x W, ImageNet-normalised, of H x W x 3."""
    return torch.from_numpy(images.normalised(pixels)).permute(2, 0, 1)[None].contiguous()


def device_of(model: Localizer) -> torch.device:
    return next(model.parameters()).device if isinstance(model, nn.Module) else torch.device("cpu")
