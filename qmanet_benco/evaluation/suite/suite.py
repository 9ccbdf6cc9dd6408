"""Declares what a suite is: models x sets x attacks, and how images are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qmanet_benco.evaluation.attacks import Attack

RANDOM = "random"
RESIZE, PAD = "resize", "pad"


@dataclass(frozen=True)
class ModelEntry:
    """One model of a suite."""

    name: str
    """In records and reports."""
    model: str
    """In the framework's registry."""
    flags: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = RANDOM
    """A file, ``"random"`` (seeded), or a published name."""
    seed: int = 0
    """Of a random start; of the training that made the checkpoint, where several are compared."""
    row: str | None = None
    """Row of the paper's tables, where it is not the name."""
    footnotes: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True)
class SetEntry:
    """One data set of a suite."""

    name: str
    path: str = ""
    """A ManiDataset folder or a JSON list; empty where the set is generated."""
    limit: int = 0
    """Evenly chosen images; 0: all."""
    generate: Mapping[str, int] = field(default_factory=dict)
    """``count``, ``size`` and ``seed`` of demo forgeries that the run makes itself."""
    line: int = 0


@dataclass(frozen=True)
class Suite:
    """What a suite file asks for."""

    name: str
    models: tuple[ModelEntry, ...]
    sets: tuple[SetEntry, ...]
    attacks: tuple[Attack, ...]
    """``none`` is the first."""
    image_size: int = 512
    resize: str = RESIZE
    batch: int = 1
    workers: int = 0
    precision: str = "fp32"
    seed: int = 0
    save_predictions: bool = False
    previews: int = 24
    """Images of each set that are kept small for the report's gallery."""
    plugins: tuple[str, ...] = ()
    """Modules and files that register models of the user's own."""
    source: str = ""
