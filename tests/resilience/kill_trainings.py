"""Kills trainings at random moments, lets them go on, and compares them with one that was never killed.

``python tests/resilience/kill_trainings.py --kills 20 --out DIR`` prints a table. Every second kill waits for a
checkpoint that is being written. The signal is SIGKILL, which no process can see coming.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from qmanet_benco.benco.resume.retention import LEDGER
from qmanet_benco.benco.seam.checkpoints import epochs_in, mapped
from qmanet_benco.errors import RequestError
from small_training import flags_of, make_images, train

IMAGES = 12
KEEP = 2
SECONDS = 600.0
"""For one training; a longer one has stuck."""
_LOG = "output.log"
_PRELOADED = ["qmanet_benco.benco.plugin", "torch.utils.tensorboard", "qmanet_benco.benco.corrections.table"]


@dataclass(frozen=True)
class Kill:
    """One SIGKILL."""

    training: int
    moment: str
    seconds: float
    """After the start of the process."""
    newest: int
    """Epoch of the newest checkpoint then; -1: none yet."""
    part_left: bool
    """A partly written checkpoint was left behind."""


@dataclass(frozen=True)
class Outcome:
    """What the experiment found."""

    kills: list[Kill]
    trainings: int
    differences: list[str]
    """What is not, bit for bit, as in the training that was never killed."""

    @property
    def lost(self) -> int:
        """Trainings that differ."""
        return len({line.partition(":")[0] for line in self.differences})


def experiment(out: Path, kills: int, epochs: int = 6, seed: int = 0) -> Outcome:
    """Kill and resume until there were so many kills, then let the last training end.

    Args:
        out: a new folder.
        kills: how many in all.
        epochs: of each training.
        seed: of the moments.

    Raises:
        RequestError: the folder is in use, or a training failed without having been killed.
    """
    if out.exists() and any(out.iterdir()):
        raise RequestError(f"{out} is not empty", "a new folder")
    make_images(out / "data" / "train", IMAGES, seed=0)
    make_images(out / "data" / "test", 3, seed=1)
    draw = random.Random(seed)
    _server_started()
    start = time.monotonic()
    _run(out, "reference", epochs)
    duration = time.monotonic() - start
    done: list[Kill] = []
    differences: list[str] = []
    trainings = 0
    while trainings == 0 or len(done) < kills:
        name = f"training-{trainings}"
        while _run_killed(out, name, epochs, trainings, done, kills, draw, duration):
            pass
        differences += [f"{name}: {line}" for line in compared(out / "reference", out / name)]
        trainings += 1
    return Outcome(done, trainings, differences)


def _run_killed(
    out: Path, name: str, epochs: int, training: int, done: list[Kill], kills: int, draw: random.Random, duration: float
) -> bool:
    """Start or resume a training and kill it; False if it came to its end."""
    if len(done) >= kills:
        _run(out, name, epochs)
        return False
    stale = _parts(out / name)  # of an earlier kill
    process = _started(out, name, epochs)
    begin = time.monotonic()
    in_write = len(done) % 2 == 1
    deadline = begin + SECONDS if in_write else begin + draw.uniform(0.0, duration)
    pause = draw.uniform(0.0, 0.03)
    while process.is_alive() and time.monotonic() < deadline:
        if in_write and _parts(out / name) - stale:
            time.sleep(pause)
            break
        time.sleep(0.001 if in_write else 0.01)
    if not process.is_alive():
        _finished(process, out / name)
        return False
    _kill(process)
    done.append(
        Kill(
            training,
            "in a write" if in_write else "random",
            round(time.monotonic() - begin, 2),
            max(epochs_in(out / name), default=-1),
            bool(_parts(out / name)),
        )
    )
    return True


def compared(reference: Path, other: Path) -> list[str]:
    """What differs between two finished trainings: last checkpoint, validation metrics, epochs in the log."""
    from qmanet_benco.benco.resume.training import logged_epochs

    names = sorted(path.name for path in reference.glob("checkpoint-*.pth"))
    found = sorted(path.name for path in other.glob("checkpoint-*.pth"))
    lines = [] if names == found else [f"checkpoints {found}, expected {names}"]
    for name in sorted({*names} & {*found}):
        first, second = (mapped(folder / name) for folder in (reference, other))
        for content in (first, second):
            content.pop("args")  # holds the paths
        lines += [f"{name} {place}" for place in different(first, second)]
    if (reference / LEDGER).read_text() != (other / LEDGER).read_text():
        lines.append(LEDGER)
    if logged_epochs(reference) != logged_epochs(other):
        lines.append("epochs in log.txt")
    return lines


def different(first: Any, second: Any, place: str = "") -> list[str]:
    """Places at which two nested contents of checkpoints are not equal to the last bit."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return [line for key in first for line in different(first[key], second[key], f"{place}/{key}")]
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [line for number, (a, b) in pairs for line in different(a, b, f"{place}/{number}")]
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return [] if first.dtype == second.dtype and torch.equal(first, second) else [place]
    return [] if type(first) is type(second) and first == second else [place]


def _parts(folder: Path) -> set[tuple[str, int]]:
    """Partly written checkpoints: names, and when they were changed last."""
    found = set()
    for path in folder.glob(".checkpoint-*.part"):
        with contextlib.suppress(FileNotFoundError):  # moved into place meanwhile
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def _context() -> Any:
    """Copies of a process that has imported the framework start in a second."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _server_started() -> None:
    """Wait until that process is there: the duration of a training is measured without it."""
    process = _context().Process(target=os.getpid)
    process.start()
    process.join(SECONDS)


def _started(out: Path, name: str, epochs: int) -> Any:
    (out / name).mkdir(exist_ok=True)
    more = ("--epochs", str(epochs), "--keep", str(KEEP), "--resume", "auto")
    process = _context().Process(target=train, args=(flags_of(out / "data", out / name, *more), out / name / _LOG))
    process.start()
    return process


def _run(out: Path, name: str, epochs: int) -> None:
    process = _started(out, name, epochs)
    process.join(SECONDS)
    _finished(process, out / name)


def _finished(process: Any, folder: Path) -> None:
    process.join(10)
    if process.exitcode != 0:
        if process.is_alive():
            _kill(process)
        raise RequestError(f"the training in {folder} ended with code {process.exitcode}", "0", f"see {folder / _LOG}")


def _kill(process: Any) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has not made its own group yet
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="Trainings that are killed and go on.")
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, required=True)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a training was lost."""
    from rich.console import Console
    from rich.table import Table

    given = parser().parse_args(arguments)
    outcome = experiment(given.out, given.kills, given.epochs, given.seed)
    table = Table("kill", "training", "moment", "s after start", "newest epoch", "partial file left")
    for number, kill in enumerate(outcome.kills, start=1):
        table.add_row(str(number), *(str(value) for value in asdict(kill).values()))
    console = Console()
    console.print(table)
    console.print(f"cases: {outcome.trainings} trainings, faults: {len(outcome.kills)} kills, lost: {outcome.lost}")
    for line in outcome.differences:
        console.print(f"different: {line}")
    return 1 if outcome.lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
