"""Watches memory and open files of one process over thousands of steps, and of another over predictions.

``python tests/resilience/soak.py --steps 3000 --out DIR`` prints a table.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import qmanet_benco
from qmanet_benco.errors import RequestError
from small_training import BATCH_SIZE, IMAGE_SIZE, flags_of, make_images

IMAGES = 200
EVERY = 20
"""Steps or predictions between two looks."""
WARM_UP = 0.2
"""Share of the run that is not judged: caches and arenas fill."""
BOUND = 0.03


@dataclass
class Watch:
    """Resident memory and open files of this process over its work."""

    memory: list[float] = field(default_factory=list)
    """MiB."""
    files: list[int] = field(default_factory=list)
    _count: int = 0

    def look(self) -> None:
        """To be called after each piece of work; looks at every :data:`EVERY`-th."""
        self._count += 1
        if self._count % EVERY == 0:
            self.memory.append(resident_mib())
            self.files.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208 - names only

    def figures(self, what: str) -> Figures:
        """Compare the fifth after warm-up with the last fifth.

        Raises:
            RequestError: too little work for a judgement.
        """
        part = int(len(self.memory) * WARM_UP)
        if not part:
            raise RequestError(f"{self._count} {what}", f"{int(EVERY / WARM_UP)} or more")
        early, late = median(self.memory[part : 2 * part]), median(self.memory[-part:])
        files = (round(median(self.files[part : 2 * part])), round(median(self.files[-part:])))
        return Figures(what, self._count, round(early, 1), round(late, 1), round(late / early - 1, 4), *files)


@dataclass(frozen=True)
class Figures:
    """What one kind of work did to the process."""

    what: str
    count: int
    early_mib: float
    late_mib: float
    growth: float
    early_files: int
    late_files: int

    @property
    def flat(self) -> bool:
        """Memory within the bound, no more open files."""
        return self.growth <= BOUND and self.late_files <= self.early_files


def resident_mib() -> float:
    """Resident memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def train(steps: int, folder: Path) -> Figures:
    """Train the miniature for so many steps of the optimiser."""
    from IMDLBenCo.training_scripts.utils import misc

    from qmanet_benco.benco.launch.launcher import Run, launch
    from qmanet_benco.benco.seam.patches import Patches

    make_images(folder / "data" / "train", IMAGES, seed=0)
    make_images(folder / "data" / "test", 4, seed=1)
    watch = Watch()
    more = ("--max-steps", str(steps), "--keep", "1", "--num_workers", "0", "--test_period", "10")
    with Patches() as patches:
        patches.set(misc.MetricLogger, "update", _watched(misc.MetricLogger.update, watch))
        code = launch(Run("train", flags_of(folder / "data", folder / "run", *more)))
    if code:
        raise RequestError(f"the training ended with code {code}", "0")
    return watch.figures("training steps")


def _watched(stock: Callable[..., None], watch: Watch) -> Callable[..., None]:
    """``MetricLogger.update``, which the trainer calls with ``lr`` once in a step."""

    def update(self: Any, _n: int = 1, **values: Any) -> None:
        stock(self, _n=_n, **values)
        if "lr" in values:
            watch.look()

    return update


def predict(count: int, folder: Path) -> Figures:
    """Predict photos with the miniature that ships."""
    photos = sorted((make_images(folder / "photos", 20, seed=2) / "Tp").iterdir())
    model = qmanet_benco.load_model("demo")
    watch = Watch()
    for number in range(count):
        qmanet_benco.predict(model, photos[number % len(photos)], image_size=IMAGE_SIZE)
        watch.look()
    return watch.figures("predictions")


def soak(steps: int, out: Path) -> list[Figures]:
    """Both kinds of work, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        return [pool.apply(work, (steps, out / work.__name__)) for work in (train, predict)]


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="Memory and open files over a long run.")
    options.add_argument("--steps", type=int, default=3000)
    options.add_argument("--out", type=Path, required=True)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if something grew."""
    from rich.console import Console
    from rich.table import Table

    given = parser().parse_args(arguments)
    rows = soak(given.steps, given.out)
    table = Table("work", "count", "MiB after warm-up", "MiB at the end", "growth", "files", "files at the end")
    for row in rows:
        shown = asdict(row) | {"growth": f"{row.growth:+.2%}"}
        table.add_row(*(str(value) for value in shown.values()))
    console = Console()
    console.print(table)
    console.print(f"{IMAGE_SIZE} x {IMAGE_SIZE} pixels, batches of {BATCH_SIZE}; bound {BOUND:.0%}")
    return 0 if all(row.flat for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
