"""A small training and validation set for the architecture study: real pairs of CASIA v1 and forgeries of its photos.

A photo's identity stands in CASIA's file names (``Sp_D_CNN_A_ani0049_ani0084_0266`` was made from ``Au_ani_0049`` and
``Au_ani_0084``). Pairs that share an identity, directly or through others, go to the same split, and so do the photos:
no part of the validation was seen in training.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as PillowImage

from qmanet_benco.data.forgery import Forgery, ForgeryKnobs, finished, forge
from qmanet_benco.data.masks import encode_mask, read_mask
from qmanet_benco.data.photos import SMALLEST_SIDE, Photo, pixels
from qmanet_benco.data.pool import in_order
from qmanet_benco.data.staging import Contents, staged, write_rows
from qmanet_benco.errors import RequestError
from qmanet_benco.images import UnusableFileError, as_rgb, load_whole, open_image

IDENTITY = re.compile(r"([a-z]{3})_?(\d{4,5})")
VALIDATION_PART = 0.25
"""Of the real pairs."""
COLUMNS = ("split", "file", "kind", "sources")
KNOBS = ForgeryKnobs(crop_scale=(1.0, 1.6), final_quality=(80, 99))
"""CASIA's photos have 256 x 384 pixels: at 128 the crops have 128 to 205 of them, at 256 none is larger than 256."""
TRAIN, GENERATED, REAL, CROPS = SPLITS = "train", "val_generated", "val_real", "val_crops"
CONTENTS = Contents(
    ".begun-by-qmanet-data-study",
    SPLITS,
    ("manifest.csv", "test.json"),
    r"[^/]+\.(jpe?g|png|tiff?|bmp)",
)

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class StudySet:
    """ManiDataset folders."""

    train: Path
    generated: Path
    """Forgeries made from validation photos."""
    real: Path
    """Real pairs of the validation split, whole."""
    crops: Path
    """A crop of each of them at its own resolution, around the tampered region."""

    @classmethod
    def below(cls, folder: Path) -> StudySet:
        """The folders of a set that was made into ``folder``."""
        return cls(*(folder / split for split in SPLITS))


@dataclass(frozen=True)
class Pair:
    """A real forgery."""

    image: Path
    mask: Path
    identities: tuple[str, ...]


@dataclass(frozen=True)
class _Task:
    split: str
    index: int
    pair: Pair | None = None
    """The pair to vary; None: a generated forgery."""


@dataclass(frozen=True)
class _Plan:
    folder: Path
    photos: dict[str, tuple[Photo, ...]]
    size: int
    seed: int


def make_study_set(
    casia: Path,
    out: Path,
    *,
    size: int = 128,
    generated: int = 2400,
    validation: int = 160,
    copies: int = 3,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> StudySet:
    """Make the set; the same arguments give the same bytes, whatever the number of workers.

    Each real training pair gives ``copies`` images: by turns the whole image resized to the square, as the framework
    does it, and a crop at its own resolution around the tampered region; each flipped and turned at random.

    Args:
        casia: folder with ``Tp``, ``Gt`` (masks, the image's stem) and ``Au`` (authentic photos), named as in CASIA v1.
        out: a new folder.
        size: side in pixels.
        generated: forgeries to train on.
        validation: forgeries to validate on.
        copies: varied copies of each real training pair.
        seed: of everything that is drawn, the split included.
        workers: processes.
        progress: called with the finished and all images.

    Returns:
        The folders.

    Raises:
        RequestError: ``out`` exists, a number is out of range, or ``casia`` is not such a folder.
    """
    _check_numbers(size, generated, validation, copies, seed, workers)
    _check(out)
    pairs, photos = real_pairs(casia), _photos(casia)
    validating = validation_identities(pairs, seed)
    by_split = {
        GENERATED: tuple(photo for photo in photos if identities_of(photo.name)[0] in validating),
        TRAIN: tuple(photo for photo in photos if identities_of(photo.name)[0] not in validating),
    }
    if min(map(len, by_split.values())) < 2:
        raise RequestError(f"{casia / 'Au'} has {len(photos)} photos", "two or more for each split")
    seen = [pair for pair in pairs if not validating & set(pair.identities)]
    unseen = [pair for pair in pairs if validating & set(pair.identities)]
    tasks = [_Task(TRAIN, index) for index in range(generated)]
    tasks += [_Task(TRAIN, copy, pair) for pair in seen for copy in range(copies)]
    tasks += [_Task(GENERATED, index) for index in range(validation)]
    tasks += [_Task(split, -1, pair) for split in (REAL, CROPS) for pair in unseen]
    with staged(out, CONTENTS, partial(_check, out)) as unfinished:
        rows = []
        with closing(in_order(partial(_write, _Plan(unfinished, by_split, size, seed)), tasks, workers)) as written:
            for _, row in written:
                rows.append(row)
                if progress is not None:
                    progress(len(rows), len(tasks))
        write_rows(unfinished / "manifest.csv", COLUMNS, rows)
        tests = {name: str((out / name).resolve()) for name in SPLITS if name != TRAIN}
        (unfinished / "test.json").write_text(json.dumps(tests, indent=2), encoding="utf-8")
    return StudySet.below(out)


def _check(out: Path) -> None:
    if out.exists():
        raise RequestError(f"{out} exists", "a new folder", "name another one, or remove it")


def _check_numbers(size: int, generated: int, validation: int, copies: int, seed: int, workers: int) -> None:
    if size < SMALLEST_SIDE:
        raise RequestError(f"size {size}", f"{SMALLEST_SIDE} pixels or more", "QMA-Net takes no smaller images")
    if min(generated, validation, copies, workers) < 1:
        got = f"{generated} and {validation} forgeries, {copies} copies, {workers} workers"
        raise RequestError(got, "1 or more of each")
    if seed < 0:
        raise RequestError(f"seed {seed}", "0 or more")


def identities_of(name: str) -> tuple[str, ...]:
    """``Sp_D_CNN_A_ani0049_cha0084_0266`` -> ``("ani0049", "cha0084")``; ``Au_ani_0049`` -> ``("ani0049",)``."""
    return tuple(dict.fromkeys(kind + number for kind, number in IDENTITY.findall(Path(name).stem)))


def real_pairs(casia: Path) -> list[Pair]:
    """The pairs of ``casia/Tp`` and ``casia/Gt``.

    Raises:
        RequestError: there are none, or an image has no mask or no identity in its name.
    """
    images = sorted((casia / "Tp").glob("*"))
    if not images:
        raise RequestError(f"{casia / 'Tp'} has no images", "tampered images of CASIA v1")
    pairs = []
    for image in images:
        mask, names = casia / "Gt" / f"{image.stem}.png", identities_of(image.name)
        if not mask.is_file() or not names:
            raise RequestError(f"{image}", "a name as in CASIA v1, and a mask of the same stem in Gt")
        pairs.append(Pair(image, mask, names))
    return pairs


def validation_identities(pairs: Sequence[Pair], seed: int) -> set[str]:
    """Identities of the validation split: whole groups that are linked by pairs, until a quarter of the pairs."""
    groups = linked([pair.identities for pair in pairs])
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{min(group)}".encode()).digest())
    chosen: set[str] = set()
    taken, wanted = 0, VALIDATION_PART * len(pairs)
    for group in order:
        count = sum(pair.identities[0] in group for pair in pairs)
        if taken + count <= wanted:
            chosen |= group
            taken += count
    return chosen


def linked(memberships: Iterable[Sequence[str]]) -> list[set[str]]:
    """Groups of names: two are in one group if a chain of memberships links them."""
    groups: list[set[str]] = []
    for names in memberships:
        touched = [group for group in groups if group & set(names)]
        groups = [group for group in groups if not group & set(names)]
        groups.append(set(names).union(*touched))
    return groups


def _photos(casia: Path) -> list[Photo]:
    paths = [path for path in sorted((casia / "Au").glob("*")) if identities_of(path.name)]
    return [Photo(path.name, "", TRAIN, path=path) for path in paths]


def _write(plan: _Plan, task: _Task) -> dict[str, str]:
    """Make and write one image; all randomness comes from the seed, the split, the index and the pair's name."""
    name = task.pair.image.stem if task.pair else ""
    rng = np.random.default_rng([plan.seed, SPLITS.index(task.split), task.index + 1, *name.encode()])
    if task.split == REAL and task.pair:
        return _keep_as_it_is(plan, task.pair)
    if task.split == CROPS and task.pair:
        return _keep_a_crop(plan, task.pair, rng)
    if task.pair:
        made, sources = _varied(task.pair, plan.size, task.index, rng), task.pair.identities
    else:
        made, sources = _generated(plan.photos[task.split], plan.size, rng)
    stem = f"{made.kind}_{name or '-'.join(sources)}_{task.index:05d}"
    folder = plan.folder / task.split
    content, quality, _ = finished(made, rng, KNOBS)
    file = folder / "Tp" / f"{stem}{'.jpg' if quality else '.png'}"
    file.write_bytes(content)
    (folder / "Gt" / f"{stem}.png").write_bytes(encode_mask(made.mask))
    return _row(task.split, file.name, made.kind, sources)


def _generated(photos: Sequence[Photo], size: int, rng: Generator) -> tuple[Forgery, tuple[str, ...]]:
    host, donor = (photos[index] for index in rng.choice(len(photos), 2, replace=False))
    kind = KNOBS.kinds[rng.integers(len(KNOBS.kinds))]
    made = forge(pixels(host), pixels(donor), size, kind, rng, KNOBS)
    used = (host, donor) if kind == "splice" else (host,)
    return made, tuple(identities_of(photo.name)[0] for photo in used)


def _varied(pair: Pair, size: int, copy: int, rng: Generator) -> Forgery:
    image, mask = _read(pair)
    if copy % 2:
        image, mask = _crop_around(image, mask, size, rng)
    image, mask = _squared(image, mask, size)
    turns = int(rng.integers(4)) if copy else 0
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return Forgery(np.ascontiguousarray(image), np.ascontiguousarray(mask), "real")


def _squared(image: Image, mask: Mask, size: int) -> tuple[Image, Mask]:
    """Scaled to ``size`` x ``size``, unless they are that already."""
    if mask.shape == (size, size):
        return image, mask
    smaller = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return smaller, cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST).astype(bool)


def _crop_around(image: Image, mask: Mask, size: int, rng: Generator) -> tuple[Image, Mask]:
    """A square of the image at its own resolution that holds a random tampered pixel, if the image is large enough."""
    side = min(size, *mask.shape)
    rows, columns = np.nonzero(mask)
    pick = rng.integers(max(1, len(rows)))
    place = (rows[pick], columns[pick]) if len(rows) else (0, 0)
    top, left = (
        int(np.clip(at - rng.integers(side), 0, length - side)) for at, length in zip(place, mask.shape, strict=True)
    )
    return image[top : top + side, left : left + side], mask[top : top + side, left : left + side]


def _read(pair: Pair) -> tuple[Image, Mask]:
    try:
        with open_image(pair.image) as opened:
            image, mask = np.asarray(as_rgb(load_whole(opened))), read_mask(pair.mask, "bright")
    except UnusableFileError as error:
        raise RequestError(f"{pair.image} or its mask: {error}", "undamaged files") from error
    if image.shape[:2] != mask.shape:
        raise RequestError(f"{pair.mask} has {mask.shape[::-1]} pixels", f"{image.shape[1::-1]}, as its image")
    return image, mask


def _keep_as_it_is(plan: _Plan, pair: Pair) -> dict[str, str]:
    for source, part in ((pair.image, "Tp"), (pair.mask, "Gt")):
        shutil.copyfile(source, plan.folder / REAL / part / source.name)
    return _row(REAL, pair.image.name, "real", pair.identities)


def _keep_a_crop(plan: _Plan, pair: Pair, rng: Generator) -> dict[str, str]:
    """As PNG: what the forger's last JPEG left is neither squeezed nor compressed once more."""
    image, mask = _squared(*_crop_around(*_read(pair), plan.size, rng), plan.size)
    file = plan.folder / CROPS / "Tp" / f"{pair.image.stem}.png"
    PillowImage.fromarray(image).save(file)
    (plan.folder / CROPS / "Gt" / file.name).write_bytes(encode_mask(mask))
    return _row(CROPS, file.name, "real", pair.identities)


def _row(split: str, file: str, kind: str, sources: Sequence[str]) -> dict[str, str]:
    return dict(zip(COLUMNS, (split, file, kind, " ".join(sources)), strict=True))
