"""Holds out a part of the training set to choose the checkpoint on, so that nobody has to choose on a test set.

Images that share a source photo stay together, where their contents show it (copies, and forgeries that leave most of
the photo as it was) or their names tell it. What neither says is called unknown.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from qmanet_benco.benco.seam.lists import read_training_set
from qmanet_benco.benco.seam.pairs import Pair
from qmanet_benco.errors import RequestError
from qmanet_benco.files import write_text_atomically, writing
from qmanet_benco.likeness import Signature, alike, linked, same_label, signatures_of_files

logger = logging.getLogger(__name__)

SPLIT, LISTS = "val_split.json", "val_split"
_CASIA_PHOTO = r"([a-z]{3})_?(\d{4,5})"
NAMES: tuple[tuple[str, re.Pattern[str], tuple[tuple[int, ...], ...]], ...] = (
    # Tp_D_CRN_S_N_cha00063_art00014_11818, Sp_D_CNN_A_art0024_ani0032_0268
    # (https://github.com/namtpham/casia2groundtruth)
    (
        "CASIA",
        re.compile(rf"(?:real_)?(?:tp|sp)_[ds]_\w{{3}}_\w(?:_\w)?_{_CASIA_PHOTO}_{_CASIA_PHOTO}_\d+(?:_.*)?", re.I),
        ((1, 2), (3, 4)),
    ),
    ("CASIA", re.compile(rf"au_{_CASIA_PHOTO}", re.I), ((1, 2),)),
    # the study's set: forgeries of CASIA's photos; its copies of real pairs are the pairs' names behind "real_"
    ("CASIA", re.compile(rf"(?:pasted-)?splice_{_CASIA_PHOTO}-{_CASIA_PHOTO}_\d{{5}}", re.I), ((1, 2), (3, 4))),
    ("CASIA", re.compile(rf"(?:pasted-)?(?:copy-move|removal)_{_CASIA_PHOTO}_\d{{5}}", re.I), ((1, 2),)),
    # this package's own generator: kind, host photo, number
    ("demo forgeries", re.compile(r"(?:splice|copy-?move|removal)_(.+)_\d{5}", re.I), ((1,),)),
    # https://github.com/wenbihan/coverage: 12t; 12, the original, could be any set's
    ("Coverage", re.compile(r"(\d{1,3})t(?:forged)?", re.I), ((1,),)),
    # AutoSplice: 39406_0, the photo and the forgery's number
    ("AutoSplice", re.compile(r"(\d{3,})_\d{1,2}", re.I), ((1,),)),
    # IMD2020 as `qmanet data prepare` names it: 1a1ogs_c8tf5mq_0, the original's folder first
    ("IMD2020", re.compile(r"((?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{5,8})_[a-z0-9]{2,8}_\d", re.I), ((1,),)),
    # IMD2020 as it comes: c8tf5mq_0, an identifier with a digit in it, and the forgery's number
    ("IMD2020", re.compile(r"((?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{5,8})_\d", re.I), ((1,),)),
)
"""Names that tell their source photos: (what, pattern of the stem, groups of each photo)."""
MOST_COMPARED = 50_000
"""Largest training set whose images are compared by their contents, which takes some milliseconds each. For a larger
one the log says that they are not."""


@dataclass(frozen=True)
class Split:
    """A training set in two, sharing no source photo that names or contents tell."""

    train: list[Pair]
    validation: list[Pair]
    by_photo: int
    """Images whose names tell their photo."""
    compared: int = 0
    """Images whose contents were compared."""
    copies: int = 0
    """Images to train on that look like a held-out one."""


def photos_of(image: str) -> list[str]:
    """Return the source photos that a file's name tells; none if it tells nothing."""
    stem = Path(image).stem
    for name, pattern, groups in NAMES:
        match = pattern.fullmatch(stem)
        if match:
            return [f"{name}:{''.join(match[number].lower() for number in group)}" for group in groups]
    return []


def split_pairs(pairs: Sequence[Pair], fraction: float, seed: int) -> Split:
    """Hold out about ``fraction`` of the images; the same names and seed give the same split, in whatever order.

    Raises:
        RequestError: nothing would be left on one of the sides.
    """
    together, signatures = _together(pairs)
    groups = sorted(together, key=lambda group: (_draw(seed, group), min(str(pair.image) for pair in group)))
    wanted = max(1, round(fraction * len(pairs)))
    held: list[Pair] = []
    for group in groups:
        if len(held) + len(group) <= wanted:
            held += group
    chosen = set(held)
    train = [pair for pair in pairs if pair not in chosen]
    if not held or not train:
        raise RequestError(
            f"--val-fraction {fraction:g} of {len(pairs)} images in {len(groups)} groups that share no photo holds out "
            f"{len(held)}",
            "at least one image on each side",
            "another fraction, or a larger training set",
        )
    validation = [pair for pair in pairs if pair in chosen]
    by_photo = sum(bool(photos_of(pair.image)) for pair in pairs)
    compared = sum(each is not None for each in signatures.values())
    return Split(train, validation, by_photo, compared, _copies(train, validation, signatures))


def hold_out(args: Namespace, fraction: float, folder: Path, say: bool = False) -> list[str]:
    """Write the two parts of ``--data_path`` as lists, and ``val_split.json``.

    Args:
        args: of the stock script.
        fraction: of the images, in (0, 0.9].
        folder: to write to.
        say: tell in the log what was done.

    Returns:
        Flags that make the script train on one part and test on the other.

    Raises:
        RequestError: the training set is wrong or too small, or the folder cannot be written to.
    """
    sets, is_balanced = read_training_set(Path(args.data_path))
    every = [pair for _, pairs in sets for pair in pairs]
    whole = split_pairs(every, fraction, args.seed)
    held = set(whole.validation)
    trains = [[pair for pair in pairs if pair not in held] for _, pairs in sets]
    if not all(trains):
        raise RequestError(f"--val-fraction {fraction:g} leaves a set of {args.data_path} empty", "a smaller fraction")
    with writing(folder):
        train, tests = _write(folder, trains, whole, is_balanced, _summary(args, fraction, whole))
    if say:
        logger.warning("%s", _told(whole, folder / SPLIT))
    return ["--data_path", str(train), "--test_data_path", str(tests)]


def _write(
    folder: Path, trains: list[list[Pair]], whole: Split, is_balanced: bool, summary: dict[str, object]
) -> tuple[Path, Path]:
    lists = folder / LISTS
    parts = [_json(lists / f"train-{number}.json", part) for number, part in enumerate(trains)]
    train = parts[0]
    if is_balanced:
        train = _json(lists / "train.json", [["JsonDataset", str(part.absolute())] for part in parts])
    validation = _json(lists / "validation.json", whole.validation)
    tests = _json(lists / "sets.json", {"validation": str(validation.absolute())})
    _json(
        folder / SPLIT, {**summary, "train": [pair for part in trains for pair in part], "validation": whole.validation}
    )
    return train.absolute(), tests.absolute()


def _summary(args: Namespace, fraction: float, split: Split) -> dict[str, object]:
    return {
        "data_path": str(args.data_path),
        "fraction": fraction,
        "seed": args.seed,
        "images_whose_name_tells_the_photo": split.by_photo,
        "images_whose_content_was_compared": split.compared,
        "shared_photos": shared_photos(split.train, split.validation),
        "shared_copies": split.copies if split.compared else None,
    }


def shared_photos(first: Iterable[Pair], second: Iterable[Pair]) -> list[str]:
    """Source photos, or files, that both have."""
    sides = [{name for pair in side for name in (photos_of(pair.image) or [pair.image])} for side in (first, second)]
    return sorted(sides[0] & sides[1])


def _told(split: Split, path: Path) -> str:
    every = len(split.train) + len(split.validation)
    unknown = every - split.by_photo
    shared = len(shared_photos(split.train, split.validation))
    by_name = f"{shared} by the names of {split.by_photo} of {every} images"
    by_content = f"{split.copies} by the contents of {split.compared}"
    told = [by_name if split.by_photo else "", by_content if split.compared else ""]
    known = ", ".join(filter(None, told)) or "unknown"
    rest = "" if split.compared else f" (contents of more than {MOST_COMPARED:,} images are not compared)"
    rest += f"; whether the {unknown} other names share a photo beyond copies is unknown" if unknown else ""
    return (
        f"--val-fraction: {len(split.train)} images to train on, {len(split.validation)} held out to choose the "
        f"checkpoint (photos in both parts: {known}{rest}); {path}"
    )


def _together(pairs: Sequence[Pair]) -> tuple[list[list[Pair]], dict[str, Signature | None]]:
    """Images in groups that share no photo, and what they were recognised by."""
    files = sorted({pair.image for pair in pairs})
    signatures = dict(zip(files, _signatures(tuple(files)), strict=True)) if len(files) <= MOST_COMPARED else {}
    names = [photos_of(pair.image) or [f"file:{pair.image}"] for pair in pairs]
    links = [*same_label(names), *alike([signatures.get(pair.image) for pair in pairs])]
    return [[pairs[position] for position in group] for group in linked(len(pairs), links)], signatures


@lru_cache(maxsize=2)  # the check before a run and the run itself split the same set
def _signatures(files: tuple[str, ...]) -> list[Signature | None]:
    return signatures_of_files([Path(file) for file in files])


def _copies(train: Sequence[Pair], validation: Sequence[Pair], signatures: Mapping[str, Signature | None]) -> int:
    """Images to train on that look like a held-out one: none, unless the grouping is wrong."""
    both = [*train, *validation]
    similar = alike([signatures.get(pair.image) for pair in both])
    return len({low for low, high in (sorted(pair) for pair in similar) if low < len(train) <= high})


def _draw(seed: int, group: Sequence[Pair]) -> bytes:
    """Draw a number for a group that depends on the seed and on the names of its files only."""
    names = sorted(Path(pair.image).name for pair in group)
    return hashlib.sha256(f"{seed}:{names[0]}:{len(names)}".encode()).digest()


def _json(path: Path, content: object) -> Path:
    write_text_atomically(path, json.dumps(content, indent=0))
    return path
