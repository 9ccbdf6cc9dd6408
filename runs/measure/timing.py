"""Times works that take turns: seconds, ratios within each round, the machine they ran on, and the table.

What else the machine does hits all works of a round alike, so a ratio holds where seconds do not.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """One line of the table."""

    part: str
    name: str
    median: float
    low: float
    """Lower quartile over the rounds; of fewer than four, the lowest."""
    high: float
    target: float | None = None
    """What is aimed at: at most this, or at least where the name says so."""


@dataclass
class Bench:
    """What was measured."""

    machine: dict[str, Any]
    rounds: int = 0
    ratios: list[Ratio] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """Median seconds of what the ratios are made of."""
    skipped: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What a reader needs to place the figures."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def interleaved(works: Mapping[str, Work], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each work in each round; all works take turns, after one turn that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            wait(device)
            start = time.perf_counter()
            work()
            wait(device)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(
    part: str, name: str, over: Sequence[float], under: Sequence[float], target: float | None = None, scale: float = 1.0
) -> Ratio:
    """Round by round, ``scale * over / under``; median and quartiles, of fewer than four rounds the extremes."""
    values = sorted(scale * a / b for a, b in zip(over, under, strict=True))
    quarter = len(values) // 4
    return Ratio(part, name, statistics.median(values), values[quarter], values[-1 - quarter], target)


def single(part: str, name: str, value: float, target: float | None) -> Ratio:
    """A ratio that needs no rounds: of bytes."""
    return Ratio(part, name, value, value, value, target)


def remember(result: Bench, what: str, seconds: Mapping[str, Sequence[float]]) -> None:
    result.seconds |= {f"{what}: {name}": statistics.median(values) for name, values in seconds.items()}


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def show(result: Bench) -> None:
    """Print the table on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "part",
        "ratio",
        "median",
        "quartiles" if result.rounds >= 4 else "extremes",
        "aim",
        title="; ".join(f"{key} {value}" for key, value in result.machine.items()),
    )
    for row in result.ratios:
        aim = "" if row.target is None else f"{row.target:g}"
        table.add_row(row.part, row.name, f"{row.median:.2f}", f"{row.low:.2f} to {row.high:.2f}", aim)
    console = Console()
    console.print(table)
    for name, seconds in result.seconds.items():
        console.print(f"{name}: {seconds:.3f} s")
    for line in result.skipped:
        console.print(f"skipped: {line}")
