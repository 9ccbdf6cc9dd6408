"""Opens the sets of a suite: they are checked and hashed before anything is scored."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qmanet_benco.benco import scoring
from qmanet_benco.benco.seam.lists import read_set
from qmanet_benco.benco.seam.padding import warn_of_cropping
from qmanet_benco.benco.seam.pairs import NEGATIVE, Pair
from qmanet_benco.data.forge.demo import make_demo
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.suite import fingerprint
from qmanet_benco.evaluation.suite.processes import Processes
from qmanet_benco.evaluation.suite.records import safe_name
from qmanet_benco.evaluation.suite.suite import PAD, SetEntry, Suite
from qmanet_benco.files import write_text_atomically
from qmanet_benco.folders import files_in

logger = logging.getLogger(__name__)

Batch = tuple[int, ...]


@dataclass(frozen=True)
class OpenSet:
    """A set that is ready to be scored."""

    entry: SetEntry
    path: Path
    pairs: tuple[Pair, ...]
    indices: tuple[int, ...]
    """Places of the chosen images in the framework's order."""
    digest: str

    def batches(self, size: int) -> list[Batch]:
        """List the batches, the same whoever computes them: a record must not depend on the number of processes."""
        return [self.indices[start : start + size] for start in range(0, len(self.indices), size)]

    def stem(self, index: int) -> str:
        """Return the image's name in the records."""
        return Path(self.pairs[index].image).stem


def spread(items: Sequence[int], count: int) -> list[int]:
    """Return at most ``count`` items, evenly chosen, in their order; all for 0."""
    if not count or count >= len(items):
        return list(items)
    return [items[position * len(items) // count] for position in range(count)]


def usable(check: Callable[[], object], skip_missing: bool) -> bool:
    """Tell whether a check passes; without ``skip_missing`` its error goes on."""
    try:
        check()
    except RequestError as error:
        if not skip_missing:
            raise
        logger.warning("left out: %s", error)
        return False
    return True


def open_sets(suite: Suite, out: Path, processes: Processes, skip_missing: bool) -> list[OpenSet]:
    """Check and hash the sets of a suite; those that it generates are made below ``out/sets``.

    Raises:
        RequestError: a set cannot be used (with ``skip_missing``: none can).
    """
    usable_sets: list[OpenSet] = []

    def open_one(entry: SetEntry) -> None:
        path = Path(entry.path)
        if entry.generate:
            path = out / "sets" / safe_name(entry.name)
            if processes.rank == 0 and not path.is_dir():
                wanted = entry.generate
                part = wanted.authentic / 100
                make_demo(
                    path,
                    train_count=1,
                    test_count=wanted.count,
                    size=wanted.size,
                    seed=wanted.seed,
                    edited=float(part > 0),
                    authentic=part,
                )
            processes.wait()
            path = path / "test_list.json" if entry.generate.authentic else path / "test"
        if entry.authentic:
            listed = out / "sets" / f"{safe_name(entry.name)}.json"
            if processes.rank == 0:
                _write_list(path, Path(entry.authentic), listed, f"set {entry.name}")
            processes.wait()
            path = listed
        pairs = tuple(scoring.pairs_of(path, f"set {entry.name}"))
        if suite.resize == PAD and processes.rank == 0:
            warn_of_cropping(pairs, suite.image_size, f"set {entry.name}", logger.warning)
        indices = tuple(spread(range(len(pairs)), entry.limit))
        digest = fingerprint.hash_pairs([pairs[index] for index in indices])
        usable_sets.append(OpenSet(entry, path, pairs, indices, digest))

    for entry in suite.sets:
        usable(partial(open_one, entry), skip_missing)
    if not usable_sets:
        raise RequestError("no set of the suite can be read", "at least one", "give --set NAME=PATH")
    return usable_sets


def _write_list(path: Path, authentic: Path, target: Path, origin: str) -> None:
    """Write a set and the authentic photos of a folder as one list for the framework's JsonDataset.

    Raises:
        RequestError: the set cannot be read, or the folder holds no photo.
    """
    photos = files_in(authentic).images() if authentic.is_dir() else []
    if not photos:
        raise RequestError(f"{origin}: authentic {authentic} holds no photo", "a folder of authentic photos")
    pairs = [*read_set(path, origin), *(Pair(str(photo), NEGATIVE) for photo in photos)]
    listed = [[str(Path(name).absolute()) if name != NEGATIVE else name for name in pair] for pair in pairs]
    write_text_atomically(target, json.dumps(listed))
