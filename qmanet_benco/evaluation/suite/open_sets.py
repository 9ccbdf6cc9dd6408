"""The sets of a suite, found, checked and hashed before anything is scored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qmanet_benco.benco import scoring
from qmanet_benco.benco.seam.padding import warn_of_cropping
from qmanet_benco.benco.seam.pairs import Pair
from qmanet_benco.data.forge.demo import make_demo
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.suite import fingerprint
from qmanet_benco.evaluation.suite.processes import Processes
from qmanet_benco.evaluation.suite.records import safe_name
from qmanet_benco.evaluation.suite.suite import PAD, SetEntry, Suite

logger = logging.getLogger(__name__)

Batch = tuple[int, ...]


@dataclass(frozen=True)
class OpenSet:
    """A set that is ready to be scored."""

    entry: SetEntry
    path: Path
    pairs: tuple[Pair, ...]
    indices: tuple[int, ...]
    """Of the chosen images, in the framework's order."""
    digest: str

    def batches(self, size: int) -> list[Batch]:
        """The same whoever computes them: a record must not depend on the number of processes."""
        return [self.indices[start : start + size] for start in range(0, len(self.indices), size)]

    def stem(self, index: int) -> str:
        """The image's name in the records."""
        return Path(self.pairs[index].image).stem


def spread(items: Sequence[int], count: int) -> list[int]:
    """At most ``count`` items, evenly chosen, in their order; all for 0."""
    if not count or count >= len(items):
        return list(items)
    return [items[position * len(items) // count] for position in range(count)]


def usable(check: Callable[[], object], skip_missing: bool) -> bool:
    """Whether a check passes; without ``skip_missing`` its error goes on."""
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
    opened: list[OpenSet] = []

    def open_one(entry: SetEntry) -> None:
        path = Path(entry.path)
        if entry.generate:
            path = out / "sets" / safe_name(entry.name)
            if processes.rank == 0 and not path.is_dir():
                wanted = entry.generate
                make_demo(path, train_count=1, test_count=wanted.count, size=wanted.size, seed=wanted.seed)
            processes.wait()
            path = path / "test"
        pairs = tuple(scoring.pairs_of(path, f"set {entry.name}"))
        if suite.resize == PAD and processes.rank == 0:
            warn_of_cropping(pairs, suite.image_size, f"set {entry.name}", logger.warning)
        indices = tuple(spread(range(len(pairs)), entry.limit))
        digest = fingerprint.hash_pairs([pairs[index] for index in indices])
        opened.append(OpenSet(entry, path, pairs, indices, digest))

    for entry in suite.sets:
        usable(partial(open_one, entry), skip_missing)
    if not opened:
        raise RequestError("no set of the suite can be read", "at least one", "give --set NAME=PATH")
    return opened
