"""Makes the architecture study's set from real pairs of CASIA v1 and forgeries of its photos.

``python runs/study/study_set.py CASIA OUT``. No part of the validation was seen in training (``study_split.py``).

Forgeries come from two generators: :mod:`qmanet_benco.data.forge.forgery` gives the region another history, and
:mod:`qmanet_benco.data.forge.cut_paste` works as an editor does, with outlines of real tampered regions of the same
split.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qmanet_benco.data.forge.photos import SMALLEST_SIDE, Photo
from qmanet_benco.data.forge.staging import Contents, staged, write_rows
from qmanet_benco.errors import RequestError
from qmanet_benco.pool import in_order
from qmanet_benco.progress import shown
from study_images import COLUMNS, CROPS, GENERATED, REAL, SPLITS, TRAIN, Plan, Task, write
from study_split import identities_of, real_pairs, validation_identities

EDITED = "val_edited"
"""In place of CASIA's two: runs/study.sh makes it from other photos."""

CONTENTS = Contents(
    ".begun-by-qmanet-data-study",
    SPLITS,
    ("manifest.csv", "test.json"),
    r"[^/]+\.(jpe?g|png|tiff?|bmp)",
)


@dataclass(frozen=True)
class StudySet:
    """ManiDataset folders: what is trained on, and by name what is scored."""

    train: Path
    scored: Mapping[str, Path]

    @property
    def generated(self) -> Path:
        """Forgeries of validation photos: of the region's history; with CASIA in turn with pasted ones."""
        return self.scored["generated"]

    @classmethod
    def below(cls, folder: Path) -> StudySet:
        """The folders of a set that was made into ``folder``.

        Of CASIA v1: generated forgeries, crops of the real pairs of the validation split at their own resolution, and
        these pairs whole, squeezed into the square. Of other photos: forgeries whose region has another history, and
        such as an editor makes.
        """
        names = {"generated": GENERATED, "real crops": CROPS, "real": REAL}
        if (folder / EDITED).is_dir():
            names = {"generated": GENERATED, "edited": EDITED}
        return cls(folder / TRAIN, {name: folder / split for name, split in names.items()})


def make_study_set(
    casia: Path,
    out: Path,
    *,
    size: int = 128,
    generated: int = 1200,
    pasted: int = 1200,
    validation: int = 160,
    copies: int = 4,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> StudySet:
    """Make the set; the same arguments give the same bytes, whatever the number of workers.

    Each real training pair gives ``copies`` images: by turns the whole image resized to the square, as the framework
    does it, and a crop at its own resolution around the tampered region, then both mirrored; from the fifth copy on,
    most of the image in place of the whole. Pasted forgeries are saved as JPEG at the photo's own size and then treated
    like the first four copies. Neither is compressed once more.

    Args:
        casia: folder with ``Tp``, ``Gt`` (masks, the image's stem) and ``Au`` (authentic photos), named as in CASIA v1.
        out: a new folder.
        size: side in pixels.
        generated: forgeries to train on whose region has another history.
        pasted: forgeries to train on that were cut and pasted.
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
    _check_numbers(size, (generated, pasted), validation, copies, seed, workers)
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
    outlines = {TRAIN: tuple(pair.mask for pair in seen), GENERATED: tuple(pair.mask for pair in unseen)}
    tasks = [Task(TRAIN, index) for index in range(generated)]
    tasks += [Task(TRAIN, index, pasted=True) for index in range(pasted)]
    tasks += [Task(TRAIN, copy, pair) for pair in seen for copy in range(copies)]
    tasks += [Task(GENERATED, index // 2, pasted=index % 2 == 1) for index in range(validation)]
    tasks += [Task(split, -1, pair) for split in (REAL, CROPS) for pair in unseen]
    with staged(out, CONTENTS, partial(_check, out)) as unfinished:
        rows = []
        with closing(
            in_order(partial(write, Plan(unfinished, by_split, outlines, size, seed)), tasks, workers)
        ) as written:
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


def _check_numbers(
    size: int, forgeries: tuple[int, int], validation: int, copies: int, seed: int, workers: int
) -> None:
    if size < SMALLEST_SIDE:
        raise RequestError(f"size {size}", f"{SMALLEST_SIDE} pixels or more", "QMA-Net takes no smaller images")
    if min(*forgeries, validation, copies, workers) < 1:
        got = f"{forgeries[0]} generated, {forgeries[1]} pasted and {validation} forgeries to validate on, {copies} "
        raise RequestError(f"{got}copies, {workers} workers", "1 or more of each")
    if seed < 0:
        raise RequestError(f"seed {seed}", "0 or more")


def _photos(casia: Path) -> list[Photo]:
    paths = [path for path in sorted((casia / "Au").glob("*")) if identities_of(path.name)]
    return [Photo(path.name, "", TRAIN, path=path) for path in paths]


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="The study's set; validation shares no photo with training.")
    options.add_argument("casia", type=Path, help="folder with Tp, Gt and Au, named as in CASIA v1")
    options.add_argument("out", type=Path, help="a new folder; train, val_generated, val_real, val_crops below it")
    numbers = {
        "size": (128, "side in pixels"),
        "generated": (1200, "forgeries to train on whose region has another history"),
        "pasted": (1200, "forgeries to train on that were cut and pasted"),
        "validation": (160, "forgeries to validate on, from other photos"),
        "copies": (4, "varied copies of each real training pair"),
        "seed": (0, "of the split and of everything that is drawn"),
        "workers": (1, "processes"),
    }
    for name, (default, about) in numbers.items():
        options.add_argument(f"--{name}", type=int, default=default, help=f"{about} (default: %(default)s)")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the set; 2 if the request was wrong."""
    given = vars(parser().parse_args(arguments))
    try:
        with shown("images") as progress:
            made = make_study_set(given.pop("casia"), given.pop("out"), **given, progress=progress)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{made.train}, {', '.join(map(str, made.scored.values()))}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
