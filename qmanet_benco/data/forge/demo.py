"""A forged data set from authentic photos: those that the dependencies ship, or a folder of one's own.

Training and test forgeries share no photo, neither as host nor as donor, so that a good figure on the test forgeries
cannot come from remembered scenes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image as PillowImage

from qmanet_benco.data.forge.cut_paste import paste_crops
from qmanet_benco.data.forge.edits import AUTHENTIC, Edit, EditKnobs, edit_with_twin
from qmanet_benco.data.forge.forgery import ForgeryKnobs, finished, forge
from qmanet_benco.data.forge.photos import PHOTOS, SMALLEST_SIDE, Photo, photos_in, pixels, without_test_photos
from qmanet_benco.data.forge.staging import Contents, staged, write_rows
from qmanet_benco.errors import RequestError
from qmanet_benco.images import open_image
from qmanet_benco.pixels import THRESHOLD, mask_colours
from qmanet_benco.pool import in_order

SPLITS = ("train", "test")
COLUMNS = ("split", "file", "mask", "kind", "host", "donor", "quality", "subsampling", "tampered_fraction")
LISTS = tuple(f"{split}_list.json" for split in SPLITS)
CONTENTS = Contents(
    ".begun-by-qmanet-data-demo",
    SPLITS,
    ("manifest.csv", "test.json", *LISTS),
    r"[^/]+_\d{5}\.(jpg|png)",
    ("Tp", "Gt", "Au"),
)


@dataclass(frozen=True)
class DemoSet:
    """Where a demo set lies: two folders in the framework's ManiDataset format and the lists beside them."""

    train: Path
    test: Path
    test_json: Path
    """``{"demo": "<test>"}``, for ``qmanet benco test``."""
    train_list: Path
    """The training images, forgeries and authentic ones, as the framework's JsonDataset reads them."""
    test_list: Path
    manifest: Path


@dataclass(frozen=True)
class _Plan:
    """What every forgery of a set has in common."""

    folder: Path
    photos: tuple[Photo, ...]
    size: int
    seed: int
    pasted: float
    edited: float
    authentic: float
    twins: bool
    knobs: ForgeryKnobs


def make_demo(
    out: Path,
    *,
    train_count: int = 480,
    test_count: int = 60,
    size: int = 128,
    seed: int = 0,
    photos: Path | None = None,
    train_photos: Path | None = None,
    test_photos: Path | None = None,
    pasted: float = 0.0,
    edited: float = 0.0,
    authentic: float = 0.0,
    twins: bool = False,
    workers: int = 1,
    knobs: ForgeryKnobs | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DemoSet:
    """Make the set; the same arguments give the same bytes, whatever the number of workers.

    Args:
        out: a new or empty folder.
        train_count: forgeries in ``out/train``.
        test_count: forgeries in ``out/test``, from other photos.
        size: side in pixels.
        seed: of everything that is drawn.
        photos: folder of authentic photos; by default those that the dependencies ship.
        train_photos: folder of further ones, for training forgeries only.
        test_photos: folder of photos for test forgeries only; all those of ``photos`` are for training then.
        pasted: part of the forgeries that are cut and pasted as in an editor, in [0, 1]; in the others the region has
            another history than its surroundings.
        edited: part of the images that :mod:`~qmanet_benco.data.forge.edits` makes, in [0, 1]: regions have the outline
            of things, and the whole picture has one last history.
        authentic: part of the images that are authentic and have the same histories as those of ``edited``, in [0, 1];
            they go into ``Au`` beside ``Tp`` and stand in the lists as "Negative".
        twins: beside each forgery of ``edited`` also the same view of the same photo with the same history, in which
            nothing was changed; it goes into ``Au`` and is not counted.
        workers: processes; a script that asks for several needs the guard ``if __name__ == "__main__":``.
        knobs: ranges of the generator.
        progress: called with the finished and all forgeries.

    Returns:
        The folders and lists.

    Raises:
        RequestError: the folder is in use, also by another run at this moment, a number is out of range, or there
                are too few photos; nothing is left then.
    """
    check = partial(_check, out, train_count, test_count, size, seed, workers)
    check()
    for name, part in (("pasted", pasted), ("edited", edited), ("authentic", authentic)):
        if not 0 <= part <= 1:
            raise RequestError(f"{name} {part}", "a part of the images, from 0 to 1")
    if twins and not edited:
        raise RequestError("twins without edited forgeries", "edited above 0", "add --edited 1")
    chosen = PHOTOS if photos is None else photos_in(photos, seed)
    if train_photos is not None:
        chosen += _all_for("train", photos_in(train_photos, seed))
    if test_photos is not None:
        chosen = _all_for("train", chosen) + _all_for("test", photos_in(test_photos, seed))
    if train_photos is not None or test_photos is not None:
        chosen = without_test_photos(chosen)
    tasks = [(split, i) for split, count in zip(SPLITS, (train_count, test_count), strict=True) for i in range(count)]
    with staged(out, CONTENTS, check) as unfinished:
        plan = _Plan(unfinished, chosen, size, seed, pasted, edited, authentic, twins, knobs or ForgeryKnobs())
        rows = _write_all(plan, tasks, workers, progress)
        write_rows(unfinished / "manifest.csv", COLUMNS, rows)
        for split, name in zip(SPLITS, LISTS, strict=True):
            images = _image_list(out.resolve(), [row for row in rows if row["split"] == split])
            (unfinished / name).write_text(json.dumps(images), encoding="utf-8")
        listed = json.dumps({"demo": str((out.resolve() / "test").resolve())})
        (unfinished / "test.json").write_text(listed, encoding="utf-8")
    train_list, test_list = (out / name for name in LISTS)
    return DemoSet(out / "train", out / "test", out / "test.json", train_list, test_list, out / "manifest.csv")


def _all_for(split: str, photos: tuple[Photo, ...]) -> tuple[Photo, ...]:
    return tuple(replace(photo, split=split) for photo in photos)


def _image_list(place: Path, rows: list[dict[str, str]]) -> list[list[str]]:
    """Return ``[image, mask]`` or ``[image, "Negative"]``, the framework's word for an authentic image."""
    return [[str(place / row["file"]), str(place / row["mask"]) if row["mask"] else "Negative"] for row in rows]


def _write_all(
    plan: _Plan, tasks: list[tuple[str, int]], workers: int, progress: Callable[[int, int], None] | None
) -> list[dict[str, str]]:
    """Rows of the manifest, in the order of the tasks."""
    rows = []
    with closing(in_order(partial(_write_one, plan), tasks, workers)) as written:
        for done, (_, made) in enumerate(written, 1):
            rows.extend(made)
            if progress is not None:
                progress(done, len(tasks))
    return rows


def all_tampered_f1(folder: Path, image_size: int) -> float:
    """Mean pixel-F1 of a mask that calls every pixel tampered, which a useful model has to exceed.

    Args:
        folder: ManiDataset folder; only its ``Gt`` is read.
        image_size: the masks are resized to this side first, as the framework does it.

    Returns:
        The mean over the images of 2p / (1 + p), with p the tampered fraction.
    """
    masks = _masks(folder, image_size)
    return _constant_f1(np.ones(masks.shape[1:], bool), masks)


def constant_mask_f1(train: Path, test: Path, image_size: int) -> float:
    """Mean pixel-F1 of the best mask that is the same for all images: what knowing the usual place alone is worth.

    The candidates are the pixels that were tampered most often in the training masks, from 5 % to 95 % of them; the
    best is chosen on the test masks, so the value is rather too high than too low.

    Args:
        train: ManiDataset folder whose ``Gt`` gives the candidates.
        test: ManiDataset folder whose ``Gt`` is scored.
        image_size: the masks are resized to this side first.
    """
    frequency = _masks(train, image_size).mean(axis=0)
    masks = _masks(test, image_size)
    thresholds = np.quantile(frequency, np.linspace(0.05, 0.95, 19))
    return max(_constant_f1(frequency > threshold, masks) for threshold in thresholds)


def _masks(folder: Path, image_size: int) -> NDArray[np.bool_]:
    """Read the masks of a folder, N x side x side, binarised and resized as the framework does it."""
    masks = []
    for path in sorted((folder / "Gt").iterdir()):
        with open_image(path) as image:
            mask = mask_colours(image).mean(axis=2) > THRESHOLD
        resized = cv2.resize(mask.astype(np.uint8), (image_size, image_size), interpolation=cv2.INTER_NEAREST)
        masks.append(resized.astype(bool))
    if not masks:
        raise RequestError(f"{folder / 'Gt'} is empty", "one mask or more")
    return np.stack(masks)


def _constant_f1(constant: NDArray[np.bool_], masks: NDArray[np.bool_]) -> float:
    overlap = (masks & constant).sum(axis=(1, 2))
    return float((2 * overlap / np.maximum(constant.sum() + masks.sum(axis=(1, 2)), 1)).mean())


def _check(out: Path, train_count: int, test_count: int, size: int, seed: int, workers: int) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"{out} is not empty", "a new or empty folder", "name another one, or remove it")
    if min(train_count, test_count, workers) < 1:
        raise RequestError(f"{train_count} and {test_count} forgeries, {workers} workers", "1 or more of each")
    if size < SMALLEST_SIDE:
        raise RequestError(f"size {size}", "64 pixels or more", "QMA-Net takes no smaller images")
    if seed < 0:
        raise RequestError(f"seed {seed}", "0 or more")


def _write_one(plan: _Plan, task: tuple[str, int]) -> list[dict[str, str]]:
    """Makes and writes one image and perhaps its twin; all randomness comes from the seed, the split and the index."""
    split, index = task
    rng = np.random.default_rng([plan.seed, SPLITS.index(split), index])
    photos = [photo for photo in plan.photos if photo.split == split]
    host_index, donor_index = rng.choice(len(photos), 2, replace=False)
    host, donor = photos[host_index], photos[donor_index]
    made, twin = _made(plan, host, donor, rng)
    rows = [_written(plan, split, index, made, made.kind, host, donor)]
    if twin is not None:
        rows.append(_written(plan, split, index, twin, "twin", host, donor))
    return rows


def _written(plan: _Plan, split: str, index: int, made: Edit, name: str, host: Photo, donor: Photo) -> dict[str, str]:
    """Writes an image and its mask; the row of the manifest."""
    stem = f"{name}_{re.sub(r'[^A-Za-z0-9]+', '-', Path(host.name).stem)[:60]}_{index:05d}"
    authentic = made.kind == AUTHENTIC
    file = f"{split}/{'Au' if authentic else 'Tp'}/{stem}{'.jpg' if made.quality else '.png'}"
    (plan.folder / file).write_bytes(made.content)
    mask = "" if authentic else f"{split}/Gt/{stem}.png"
    if mask:
        PillowImage.fromarray(np.where(made.mask, 255, 0).astype(np.uint8)).save(plan.folder / mask)
    donor_name = donor.name if made.kind == "splice" else ""
    fraction = f"{made.mask.mean():.6f}"
    values = (split, file, mask, made.kind, host.name, donor_name, made.quality, made.subsampling, fraction)
    return dict(zip(COLUMNS, values, strict=True))


def _made(plan: _Plan, host: Photo, donor: Photo, rng: Generator) -> tuple[Edit, Edit | None]:
    """Make one image by the generator that is drawn, and its authentic twin where twins are wanted."""
    authentic = bool(plan.authentic) and rng.random() < plan.authentic
    if authentic or (plan.edited and rng.random() < plan.edited):
        knobs = EditKnobs()
        kind = AUTHENTIC if authentic else knobs.kinds[rng.integers(len(knobs.kinds))]
        made, twin = edit_with_twin(pixels(host), pixels(donor), plan.size, kind, rng, knobs)
        return made, twin if plan.twins and made.kind != AUTHENTIC else None
    if plan.pasted and rng.random() < plan.pasted:
        forgery = paste_crops(pixels(host), pixels(donor), plan.size, rng, plan.knobs)
    else:
        kind = plan.knobs.kinds[rng.integers(len(plan.knobs.kinds))]
        forgery = forge(pixels(host), pixels(donor), plan.size, kind, rng, plan.knobs)
    content, quality, subsampling = finished(forgery, rng, plan.knobs)
    return Edit(content, forgery.mask, forgery.kind, quality, subsampling), None
