"""Makes one image of the study's set and writes it with its mask."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as PillowImage

from qmanet_benco.data.forge.cut_paste import TRIES, NoRegionError, PasteKnobs, paste
from qmanet_benco.data.forge.forgery import (
    Forgery,
    ForgeryKnobs,
    compressed,
    decoded,
    finished,
    forge,
    random_region,
)
from qmanet_benco.data.forge.photos import Photo, pixels
from qmanet_benco.data.masks import encode_mask, read_mask
from qmanet_benco.errors import RequestError
from qmanet_benco.images import UnusableFileError, encoded, load_whole, open_image
from qmanet_benco.pixels import as_rgb
from study_split import RealPair, identities_of

COLUMNS = ("split", "file", "kind", "sources")
KNOBS = ForgeryKnobs(crop_scale=(1.0, 1.6), final_quality=(80, 99))
"""CASIA's photos have 256 x 384 pixels: at 128 the crops have 128 to 205 of them, at 256 none is larger than 256."""
PASTE = PasteKnobs()
DRAWN_OUTLINES = 0.3
"""Part of the pasted regions whose outline is drawn; the others have that of a real tampered region."""
SAVED_QUALITY = (62, 97)
"""JPEG quality of a pasted forgery: the first entries of CASIA v1's tables of luminance run from 12 to 1."""
OUTLINE_SIDE = 256
"""Side of the square that an outline is drawn in; it is scaled to the region's size."""
COPIES_UNLIKE = 4
"""So many copies of a pair differ without chance: whole, a crop, and both mirrored."""
MOST = (0.7, 1.0)
"""Part of each side that later copies have in place of the whole."""
TRAIN, GENERATED, REAL, CROPS = SPLITS = "train", "val_generated", "val_real", "val_crops"

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Task:
    """One image to make."""

    split: str
    index: int
    pair: RealPair | None = None
    """The pair to vary; None: a generated forgery."""
    pasted: bool = False
    """Which generator makes it."""


@dataclass(frozen=True)
class Plan:
    """What all tasks share."""

    folder: Path
    photos: dict[str, tuple[Photo, ...]]
    outlines: dict[str, tuple[Path, ...]]
    """Masks of real pairs."""
    size: int
    seed: int


def write(plan: Plan, task: Task) -> dict[str, str]:
    """Make and write one image; all randomness comes from the seed, the split, the index and the pair's name."""
    name = task.pair.image.stem if task.pair else ""
    drawn = [plan.seed, SPLITS.index(task.split), task.index + 1, int(task.pasted), *name.encode()]
    rng = np.random.default_rng(drawn)
    if task.split == REAL and task.pair:
        return _keep_as_it_is(plan, task.pair)
    if task.split == CROPS and task.pair:
        return _keep_a_crop(plan, task.pair, rng)
    quality = ""
    if task.pair:
        varied = _varied(*_read(task.pair), plan.size, task.index, rng)
        made, sources = Forgery(*varied, "real"), task.pair.identities
    elif task.pasted:
        made, sources = _pasted(plan, task, rng)
    else:
        made, sources = _generated(plan.photos[task.split], plan.size, rng)
        content, quality, _ = finished(made, rng, KNOBS)
    if not quality:
        content = encoded(made.image, "PNG")
    stem = f"{made.kind}_{name or '-'.join(sources)}_{task.index:05d}"
    folder = plan.folder / task.split
    file = folder / "Tp" / f"{stem}{'.jpg' if quality else '.png'}"
    file.write_bytes(content)
    (folder / "Gt" / f"{stem}.png").write_bytes(encode_mask(made.mask))
    return _row(task.split, file.name, made.kind, sources)


def _pasted(plan: Plan, task: Task, rng: Generator) -> tuple[Forgery, tuple[str, ...]]:
    photos = plan.photos[task.split]
    for _ in range(TRIES):
        host, donor = (photos[index] for index in rng.choice(len(photos), 2, replace=False))
        if rng.random() < 0.5:
            donor = host
        try:
            made = paste(pixels(host), pixels(donor), _outline(plan.outlines[task.split], rng), rng, PASTE)
            break
        except NoRegionError:
            continue
    else:
        raise RequestError(f"no pasted forgery in {TRIES} draws of photos", "photos with content", "name other photos")
    image = decoded(compressed(made.image, int(rng.integers(SAVED_QUALITY[0], SAVED_QUALITY[1] + 1))))
    varied = _varied(image, made.mask, plan.size, task.index % COPIES_UNLIKE, rng)
    sources = dict.fromkeys(identities_of(photo.name)[0] for photo in (host, donor))
    return Forgery(*varied, f"pasted-{made.kind}"), tuple(sources)


def _outline(masks: Sequence[Path], rng: Generator) -> Mask:
    """That of a real tampered region, or a drawn one."""
    if rng.random() < DRAWN_OUTLINES:
        return random_region(OUTLINE_SIDE, 0.2, rng)
    path = masks[rng.integers(len(masks))]
    try:
        return read_mask(path, "bright")
    except UnusableFileError as error:
        raise RequestError(f"{path}: {error}", "an undamaged mask") from error


def _generated(photos: Sequence[Photo], size: int, rng: Generator) -> tuple[Forgery, tuple[str, ...]]:
    host, donor = (photos[index] for index in rng.choice(len(photos), 2, replace=False))
    kind = KNOBS.kinds[rng.integers(len(KNOBS.kinds))]
    made = forge(pixels(host), pixels(donor), size, kind, rng, KNOBS)
    used = (host, donor) if kind == "splice" else (host,)
    return made, tuple(identities_of(photo.name)[0] for photo in used)


def _varied(image: Image, mask: Mask, size: int, copy: int, rng: Generator) -> tuple[Image, Mask]:
    """By turns whole (of later copies: most of it), a crop, and both of them mirrored."""
    if copy % 2:
        image, mask = _crop_around(image, mask, size, rng)
    elif copy >= COPIES_UNLIKE:
        image, mask = _most_of(image, mask, rng)
    image, mask = _squared(image, mask, size)
    if copy % COPIES_UNLIKE > 1:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def _most_of(image: Image, mask: Mask, rng: Generator) -> tuple[Image, Mask]:
    """A rectangle of the image, :data:`MOST` of each side, that holds a random tampered pixel."""
    height, width = (round(length * rng.uniform(*MOST)) for length in mask.shape)
    return _rectangle_around(image, mask, (height, width), rng)


def _squared(image: Image, mask: Mask, size: int) -> tuple[Image, Mask]:
    """Scaled to ``size`` x ``size``, unless they are that already."""
    if mask.shape == (size, size):
        return image, mask
    smaller = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return smaller, cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST).astype(bool)


def _crop_around(image: Image, mask: Mask, size: int, rng: Generator) -> tuple[Image, Mask]:
    """A square of the image at its own resolution that holds a random tampered pixel, if the image is large enough."""
    side = min(size, *mask.shape)
    return _rectangle_around(image, mask, (side, side), rng)


def _rectangle_around(image: Image, mask: Mask, sides: tuple[int, int], rng: Generator) -> tuple[Image, Mask]:
    rows, columns = np.nonzero(mask)
    pick = rng.integers(max(1, len(rows)))
    place = (rows[pick], columns[pick]) if len(rows) else (0, 0)
    top, left = (
        int(np.clip(at - rng.integers(side), 0, length - side))
        for at, side, length in zip(place, sides, mask.shape, strict=True)
    )
    part = slice(top, top + sides[0]), slice(left, left + sides[1])
    return image[part], mask[part]


def _read(pair: RealPair) -> tuple[Image, Mask]:
    try:
        with open_image(pair.image) as file:
            image, mask = np.asarray(as_rgb(load_whole(file))), read_mask(pair.mask, "bright")
    except UnusableFileError as error:
        raise RequestError(f"{pair.image} or its mask: {error}", "undamaged files") from error
    if image.shape[:2] != mask.shape:
        raise RequestError(f"{pair.mask} has {mask.shape[::-1]} pixels", f"{image.shape[1::-1]}, as its image")
    return image, mask


def _keep_as_it_is(plan: Plan, pair: RealPair) -> dict[str, str]:
    for source, part in ((pair.image, "Tp"), (pair.mask, "Gt")):
        shutil.copyfile(source, plan.folder / REAL / part / source.name)
    return _row(REAL, pair.image.name, "real", pair.identities)


def _keep_a_crop(plan: Plan, pair: RealPair, rng: Generator) -> dict[str, str]:
    """As PNG: what the forger's last JPEG left is neither squeezed nor compressed once more."""
    image, mask = _squared(*_crop_around(*_read(pair), plan.size, rng), plan.size)
    file = plan.folder / CROPS / "Tp" / f"{pair.image.stem}.png"
    PillowImage.fromarray(image).save(file)
    (plan.folder / CROPS / "Gt" / file.name).write_bytes(encode_mask(mask))
    return _row(CROPS, file.name, "real", pair.identities)


def _row(split: str, file: str, kind: str, sources: Sequence[str]) -> dict[str, str]:
    return dict(zip(COLUMNS, (split, file, kind, " ".join(sources)), strict=True))
