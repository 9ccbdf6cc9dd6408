"""Kills a command that says it resumes, again and again, and compares its files byte for byte.

``python tests/resilience/kill_commands.py --kills 5 --out DIR`` does it for `qmanet data prepare` and for
`qmanet suite run`, on sets that it makes up, and prints a table.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from qmanet_benco.errors import RequestError
from small_training import make_images

SECONDS = 900.0
SUITE = """\
image_size: 64
seed: 0
models:
  - {{name: floor, model: AllTampered}}
  - {{name: miniature, model: QMANet, flags: {{variant: miniature, noise_sources: "srm,bayar"}}, checkpoint: random}}
sets:
  - {{name: made-up, path: {images}}}
attacks:
  - {{jpeg: [50, 90]}}
  - {{blur: [3]}}
"""


@dataclass(frozen=True)
class Subject:
    """A command and the files by which it is judged."""

    name: str
    arguments: tuple[str, ...]
    """Arguments of ``qmanet``, without the folder to write to."""
    patterns: tuple[str, ...]
    begun: str
    """A pattern of files that are there once the command is at its work."""


@dataclass(frozen=True)
class Found:
    """What killing a command did."""

    name: str
    kills: int
    files: int
    lost: list[str]
    """Files that are missing, surplus, or not equal byte for byte."""


def subjects(out: Path, pairs: int = 2000) -> tuple[Subject, Subject]:
    """The two commands, with their inputs made below ``out``: an archive of so many pairs for the first."""
    raw = _make_archive(out / "raw", pairs)
    suite = out / "suite.yaml"
    suite.write_text(SUITE.format(images=make_images(out / "images", 12, seed=3)), encoding="utf-8")
    return (
        Subject("data prepare", ("data", "prepare", "coverage", "--raw", str(raw)), ("**/*",), "**/*.png"),
        Subject("suite run", ("suite", "run", str(suite)), ("records/*.parquet",), "records/**/*.parquet"),
    )


def experiment(subject: Subject, out: Path, kills: int, seed: int = 0) -> Found:
    """Run a command once to its end, then as often as it is to be killed and once more.

    Args:
        subject: the command.
        out: a new folder for both runs.
        kills: at most; a run that ends before its kill is the last one.
        seed: of the moments.

    Raises:
        RequestError: the command failed without having been killed.
    """
    draw = random.Random(seed)
    whole, killed = out / "whole", out / "killed"
    start = time.monotonic()
    begun = _finish(subject, whole)
    working = max(0.1, time.monotonic() - start - begun)
    done = 0
    while done < kills and _killed(subject, killed, draw.uniform(0.0, 1.5 * working / kills)):
        done += 1
    _finish(subject, killed)
    return Found(subject.name, done, len(_files(whole, subject)), _differing(whole, killed, subject))


def _command(subject: Subject, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "qmanet_benco", *subject.arguments, "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(subject: Subject, folder: Path) -> float:
    """Let it run; gives the seconds until it was at its work."""
    start = time.monotonic()
    process = _command(subject, folder)
    begun = _wait_for_work(process, subject, folder) - start
    _, error = process.communicate(timeout=SECONDS)
    if process.returncode not in (0, 1):  # 1: one of the made-up files is left out
        raise RequestError(f"{subject.name} ended with {process.returncode} ({error[-300:].decode()})", "0")
    return begun


def _killed(subject: Subject, folder: Path, pause: float) -> bool:
    process = _command(subject, folder)
    _wait_for_work(process, subject, folder, sum(1 for _ in folder.glob(subject.begun)))
    try:
        process.wait(timeout=pause)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    process.communicate()
    return False


def _wait_for_work(process: subprocess.Popen[bytes], subject: Subject, folder: Path, before: int = 0) -> float:
    """Until a file has come that was not there, or the process has ended."""
    end = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < end:
        if sum(1 for _ in folder.glob(subject.begun)) > before:
            break
        time.sleep(0.02)
    return time.monotonic()


def _files(folder: Path, subject: Subject) -> dict[str, Path]:
    found = (path for pattern in subject.patterns for path in folder.glob(pattern))
    return {str(path.relative_to(folder)): path for path in found if path.is_file()}


def _differing(whole: Path, killed: Path, subject: Subject) -> list[str]:
    first, second = _files(whole, subject), _files(killed, subject)
    surplus = sorted(first.keys() ^ second.keys())
    return surplus + [
        name for name in first.keys() & second.keys() if first[name].read_bytes() != second[name].read_bytes()
    ]


def _make_archive(raw: Path, count: int) -> Path:
    """An archive in Coverage's layout."""
    generator = np.random.default_rng(0)
    for name in ("image", "mask"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    for index in range(1, count + 1):
        pixels = generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        mask[10:40, 20:50] = 255
        for name in (f"image/{index}.tif", f"image/{index}t.tif"):
            Image.fromarray(pixels).save(raw / name)
        for kind in ("forged", "copy", "paste"):
            Image.fromarray(mask).save(raw / "mask" / f"{index}{kind}.tif")
    return raw


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="Commands that are killed and go on.")
    options.add_argument("--kills", type=int, default=5, help="of each command")
    options.add_argument("--out", type=Path, required=True)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a file was lost."""
    from rich.console import Console
    from rich.table import Table

    given = parser().parse_args(arguments)
    table = Table("command", "kills", "files compared", "lost")
    results = [
        experiment(subject, given.out / subject.name.replace(" ", "-"), given.kills) for subject in subjects(given.out)
    ]
    for found in results:
        table.add_row(found.name, str(found.kills), str(found.files), str(len(found.lost)))
    console = Console()
    console.print(table)
    for found in results:
        for name in found.lost:
            console.print(f"lost: {found.name}: {name}")
    return 1 if any(found.lost for found in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
