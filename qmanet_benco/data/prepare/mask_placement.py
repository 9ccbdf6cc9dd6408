"""Finds how a mask lies on its image, proven by what the forgery changed in the authentic photo it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from qmanet_benco.data.masks import ARRAY_ENDINGS, resize_mask, stored_from_shown, turn_clockwise
from qmanet_benco.data.prepare.archive import ArchivePair
from qmanet_benco.images import UnusableFileError, load_whole, open_image, orientation_of
from qmanet_benco.pixels import as_rgb

Value = TypeVar("Value", bound=np.generic)
Mask = NDArray[np.bool_]
Pixels = NDArray[np.int16]

VISIBLE_CHANGE = 16
"""Difference of the mean of the colours, of 255: above what a second JPEG compression does to most pixels."""
SURE = 0.5
"""Overlap of changed and masked pixels (intersection over union) that proves a fit. 80 % of the correct pairs of CASIA
v1 reach it; a mask that is turned by 180 degrees reaches it in 0.4 %."""
AHEAD = 0.2
"""How far the overlap must be above that of any fit that says something else."""
SAME = 0.8
"""Fits whose masks overlap more than this say the same."""
NO_MATTER = 0.95
"""A mask and itself turned that overlap more than this say the same."""
SHAPE_TOLERANCE = 0.03
"""A mask is scaled only to an image of its shape."""
MOST_OFFSETS = 400
"""Places that are tried for a mask that was cut or extended."""
MOST_PIXELS = 100_000_000
"""Compared pixels of all places together: about two seconds."""
SAMPLED = 16
"""Every so many pixels are compared with all of Columbia's photos."""


@dataclass(frozen=True)
class Fit:
    """One way a mask of another size can lie on its image."""

    mask: Mask
    """H x W of the image."""
    how: str
    host: Pixels
    """The photo, laid in the same way where it has the mask's size; H x W x 3."""
    area: Mask
    """Where the photo reaches."""


def proven_fit(image: Path, mask: Mask, hosts: Iterable[Path]) -> tuple[Mask, str] | None:
    """Lay a mask of another size on its image, as the authentic photo proves it.

    A photo of the image's size shows which pixels changed. One of the mask's size was what the mask was made from: it
    is turned, scaled or placed together with the mask. (CASIA v2's masks are differences of forgery and photo.)

    Args:
        image: the forgery.
        mask: of other sides than the image.
        hosts: authentic photos that it may have been made from.

    Returns:
        The mask at the image's size and what was done to it; None where no photo proves a fit.
    """
    forged = _pixels(image)
    if forged is None:
        return None
    for path in hosts:
        host = _pixels(path)
        fit = None if host is None else _ahead(mask, host, forged)
        if fit is not None:
            return fit.mask, f"{fit.how}, as the authentic photo proves"
    return None


def _ahead(mask: Mask, host: Pixels, forged: Pixels) -> Fit | None:
    """Find the fit that is sure and ahead of all that say something else; one fit is in memory at a time."""
    overlaps = [_overlap(fit, forged) for fit in _fits(mask, host, forged.shape[:2])]
    best_overlap = max(overlaps, default=0.0)
    if best_overlap < SURE:
        return None
    fits = enumerate(_fits(mask, host, forged.shape[:2]))
    best = next(fit for index, fit in fits if overlaps[index] == best_overlap)
    for index, fit in enumerate(_fits(mask, host, forged.shape[:2])):
        if best_overlap - overlaps[index] < AHEAD and _alike(fit.mask, best.mask) < SAME:
            return None
    return best


def _fits(mask: Mask, host: Pixels, shape: tuple[int, ...]) -> Iterator[Fit]:
    height, width = shape
    of_image, of_mask = host.shape[:2] == (height, width), host.shape[:2] == mask.shape
    if not (of_image or of_mask):
        return
    everywhere = np.ones((height, width), bool)
    if mask.shape == (width, height):
        for quarters, side in ((1, "clockwise"), (3, "counter-clockwise")):
            laid = host if of_image else np.rot90(host, -quarters)
            yield Fit(turn_clockwise(mask, quarters), f"mask turned 90 degrees {side}", laid, everywhere)
    size = f"{mask.shape[1]} x {mask.shape[0]} pixels"
    if same_shape(mask.shape, shape):
        yield Fit(resize_mask(mask, (width, height)), f"mask scaled from {size}", _scaled(host, shape), everywhere)
    for top, left in _offsets(mask.shape, shape):
        area = _placed(np.ones(mask.shape, bool), top, left, shape)
        laid = host if of_image else _placed(host, top, left, shape)
        how = f"mask of {size} placed {left} to the right, {top} down"
        yield Fit(_placed(mask, top, left, shape), how, laid, everywhere if of_image else area)


def same_shape(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Tell whether height : width of both differ by no more than 3 %: what rounding and a cut row make of it."""
    return abs(one[1] * other[0] / (one[0] * other[1]) - 1) <= SHAPE_TOLERANCE


def _scaled(host: Pixels, shape: tuple[int, ...]) -> Pixels:
    if host.shape[:2] == shape:
        return host
    picture = PillowImage.fromarray(host.astype(np.uint8))
    return np.asarray(picture.resize((shape[1], shape[0]), PillowImage.Resampling.BILINEAR), np.int16)


def _offsets(inner: tuple[int, ...], outer: tuple[int, ...]) -> list[tuple[int, int]]:
    """List where the one may lie in the other: anywhere between flush at one edge and flush at the other."""
    ranges = [range(min(0, gap), max(0, gap) + 1) for gap in (outer[0] - inner[0], outer[1] - inner[1])]
    if len(ranges[0]) * len(ranges[1]) > min(MOST_OFFSETS, MOST_PIXELS // (outer[0] * outer[1])):
        ranges = [range(steps[0], steps[-1] + 1, max(1, (len(steps) - 1) // 2)) for steps in ranges]
    return [(top, left) for top in ranges[0] for left in ranges[1]]


def _placed(values: NDArray[Value], top: int, left: int, shape: tuple[int, ...]) -> NDArray[Value]:
    """Cut or extend with zeros, H x W (x 3) to ``shape``; the offsets may be negative."""
    height, width = shape
    placed = np.zeros((height, width, *values.shape[2:]), values.dtype)
    rows = slice(max(0, top), min(height, top + values.shape[0]))
    columns = slice(max(0, left), min(width, left + values.shape[1]))
    placed[rows, columns] = values[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return placed


def _overlap(fit: Fit, forged: Pixels) -> float:
    changed = np.abs(fit.host - forged).mean(axis=2) > VISIBLE_CHANGE
    return _alike(fit.mask & fit.area, changed & fit.area)


def _alike(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def mask_of_equal_size(mask: Mask, pair: ArchivePair, orientation: int) -> tuple[Mask, str]:
    """Decide on which an equally large mask lies: the image as it is stored, or as EXIF shows it.

    Args:
        mask: H x W.
        pair: image, mask and the authentic photos that the image may have been made from.
        orientation: of the image, 1 to 8.

    Returns:
        The mask on the stored pixels, and what is known of it.

    Raises:
        UnusableFileError: both are possible and say different things.
    """
    if orientation == 1:
        return mask, ""
    stored = f"EXIF orientation {orientation}, mask and image as stored"
    turned = stored_from_shown(mask, orientation)
    if turned.shape != mask.shape or _alike(turned, mask) > NO_MATTER:
        return mask, stored
    by_photo = _proven_by_photo(pair, (mask, turned), orientation)
    if by_photo is not None:
        how = f"mask turned back from EXIF orientation {orientation}" if by_photo else stored
        return (mask, turned)[by_photo], f"{how}, as the authentic photo proves"
    if _orientation_of_file(pair.mask) == orientation:
        return mask, f"{stored}: the mask has the same orientation"
    raise UnusableFileError(
        f"the image has EXIF orientation {orientation}: whether its mask lies on the picture as it is stored or as it "
        "is shown is not known, and no authentic photo proves it"
    )


def _proven_by_photo(pair: ArchivePair, masks: tuple[Mask, ...], orientation: int) -> int | None:
    """Find the position of the mask that marks what changed; the photo may itself be stored as it is shown."""
    forged = _pixels(pair.image)
    for path in pair.hosts:
        host = _pixels(path)
        for laid in () if host is None else (host, stored_from_shown(host, orientation)):
            if forged is None or laid.shape != forged.shape:
                continue
            changed = np.abs(laid - forged).mean(axis=2) > VISIBLE_CHANGE
            overlaps = [_alike(mask, changed) for mask in masks]
            best = int(np.argmax(overlaps))
            if overlaps[best] >= SURE and overlaps[best] - overlaps[1 - best] >= AHEAD:
                return best
    return None


def _orientation_of_file(path: Path | None) -> int:
    if path is None or path.suffix.lower() in ARRAY_ENDINGS:
        return 1
    try:
        with open_image(path) as image:
            return orientation_of(load_whole(image))
    except UnusableFileError:
        return 1


def side_of_host(image: Path, mask: Mask, hosts: Iterable[Path]) -> tuple[bool, str] | None:
    """Tell which side of a splice an authentic photo agrees with (Columbia, whose files are uncompressed).

    Args:
        image: the splice.
        mask: H x W, True on the side that is taken for the inserted one.
        hosts: authentic photos; those of another size are passed over.

    Returns:
        Whether the photo agrees with the inserted side, and its name; None where no photo agrees with one side alone.
    """
    forged = _sample(image)
    inserted = mask[::SAMPLED, ::SAMPLED]
    if forged is None or forged.shape[:2] != inserted.shape:
        return None
    sides: list[tuple[bool, str]] = []
    for path in hosts:
        host = _sample(path)
        if host is None or host.shape != forged.shape:
            continue
        equal = np.abs(host - forged).max(axis=2) <= 1
        inside, outside = (float(equal[side].mean()) if side.any() else 0.0 for side in (inserted, ~inserted))
        if max(inside, outside) > 0.95 and min(inside, outside) < 0.5:
            sides.append((inside > outside, path.name))
    return sides[0] if len({side for side, _ in sides}) == 1 else None


@lru_cache(maxsize=256)
def _sample(path: Path) -> Pixels | None:
    """Read every 16th pixel of every 16th row; None for a file that cannot be read."""
    pixels = _pixels(path)
    return None if pixels is None else pixels[::SAMPLED, ::SAMPLED].copy()


def _pixels(path: Path) -> Pixels | None:
    try:
        return np.asarray(as_rgb(load_whole(open_image(path))), np.int16)
    except UnusableFileError:
        return None
