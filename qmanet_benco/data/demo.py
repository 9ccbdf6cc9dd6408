"""A small forged data set, made from photos that the dependencies ship: for the quick start and for tests.

Training and test forgeries share no photo, neither as host nor as donor, so that a good figure on the test forgeries
cannot come from remembered scenes.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from qmanet_benco.data.forgery import Forgery, ForgeryKnobs, compressed, forge
from qmanet_benco.data.photos import photos_of, pixels
from qmanet_benco.errors import RequestError

SPLITS = ("train", "test")
COLUMNS = ("split", "file", "mask", "kind", "host", "donor", "tampered_fraction")


@dataclass(frozen=True)
class DemoSet:
    """Where a demo set lies: two folders in the framework's ManiDataset format and the lists beside them."""

    train: Path
    test: Path
    test_json: Path
    """``{"demo": "<test>"}``, for ``qmanet benco test``."""
    manifest: Path


def make_demo(
    out: Path,
    *,
    train_count: int = 480,
    test_count: int = 60,
    size: int = 128,
    seed: int = 0,
    knobs: ForgeryKnobs | None = None,
    progress: Callable[[], None] = lambda: None,
) -> DemoSet:
    """Make the set; the same arguments give the same bytes.

    Args:
        out: a new or empty folder.
        train_count: forgeries in ``out/train``.
        test_count: forgeries in ``out/test``, from other photos.
        size: side in pixels.
        seed: of everything that is drawn.
        knobs: ranges of the generator.
        progress: called once for each forgery.

    Returns:
        The folders and lists.

    Raises:
        RequestError: the folder is in use, or a number is out of range; nothing is written then.
    """
    _check(out, train_count, test_count, size)
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    rows = []
    for split, count in zip(SPLITS, (train_count, test_count), strict=True):
        for folder in ("Tp", "Gt"):
            (unfinished / split / folder).mkdir(parents=True)
        for index in range(count):
            rows.append(_write_one(unfinished, split, index, size, seed, knobs or ForgeryKnobs()))
            progress()
    _write_lists(unfinished, out, rows)
    if out.exists():
        out.rmdir()
    unfinished.rename(out)
    return DemoSet(out / "train", out / "test", out / "test.json", out / "manifest.csv")


def all_tampered_f1(folder: Path, image_size: int) -> float:
    """Mean pixel-F1 of a mask that calls every pixel tampered: the floor of any figure on a set.

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
    best is chosen on the test masks, so this floor is generous.

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
    """The masks of a folder, N x side x side, binarised and resized as the framework does it."""
    import cv2

    masks = []
    for path in sorted((folder / "Gt").iterdir()):
        with PillowImage.open(path) as image:
            mask = np.asarray(image.convert("RGB")).mean(axis=2) > 127.5
        resized = cv2.resize(mask.astype(np.uint8), (image_size, image_size), interpolation=cv2.INTER_NEAREST)
        masks.append(resized.astype(bool))
    if not masks:
        raise RequestError(f"{folder / 'Gt'} is empty", "one mask or more")
    return np.stack(masks)


def _constant_f1(constant: NDArray[np.bool_], masks: NDArray[np.bool_]) -> float:
    overlap = (masks & constant).sum(axis=(1, 2))
    return float((2 * overlap / np.maximum(constant.sum() + masks.sum(axis=(1, 2)), 1)).mean())


def _check(out: Path, train_count: int, test_count: int, size: int) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"{out} is not empty", "a new or empty folder", "name another one, or remove it")
    if min(train_count, test_count) < 1:
        raise RequestError(f"{train_count} and {test_count} forgeries", "1 or more of each")
    if size < 64:
        raise RequestError(f"size {size}", "64 pixels or more", "QMA-Net takes no smaller images")


def _write_one(out: Path, split: str, index: int, size: int, seed: int, knobs: ForgeryKnobs) -> dict[str, str]:
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    photos = photos_of(split)
    host_index, donor_index = rng.choice(len(photos), 2, replace=False)
    host, donor = photos[host_index], photos[donor_index]
    kind = knobs.kinds[rng.integers(len(knobs.kinds))]
    forgery = forge(pixels(host), pixels(donor), size, kind, rng, knobs)
    content, ending = _finished(forgery, rng, knobs)
    stem = f"{kind}_{host.name.removesuffix('.jpg')}_{index:05d}"
    (out / split / "Tp" / f"{stem}{ending}").write_bytes(content)
    PillowImage.fromarray(np.where(forgery.mask, 255, 0).astype(np.uint8)).save(out / split / "Gt" / f"{stem}.png")
    return {
        "split": split,
        "file": f"{split}/Tp/{stem}{ending}",
        "mask": f"{split}/Gt/{stem}.png",
        "kind": kind,
        "host": host.name,
        "donor": donor.name if kind == "splice" else "",
        "tampered_fraction": f"{forgery.mask.mean():.6f}",
    }


def _finished(forgery: Forgery, rng: np.random.Generator, knobs: ForgeryKnobs) -> tuple[bytes, str]:
    """The file's bytes and ending: three of five forgeries are saved as JPEG."""
    if rng.random() < 0.6:
        low, high = knobs.final_quality
        return compressed(forgery.image, int(rng.integers(low, high + 1))), ".jpg"
    stream = io.BytesIO()
    PillowImage.fromarray(forgery.image).save(stream, "PNG")
    return stream.getvalue(), ".png"


def _write_lists(folder: Path, out: Path, rows: list[dict[str, str]]) -> None:
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "test.json").write_text(json.dumps({"demo": str((out / "test").resolve())}), encoding="utf-8")
