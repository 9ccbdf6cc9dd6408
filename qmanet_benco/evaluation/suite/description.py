"""Writes ``suite.json``, which says what the records of a folder belong to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qmanet_benco.benco.resume.training import NOTHING, RUN
from qmanet_benco.benco.seam.checkpoints import mapped
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.suite import fingerprint
from qmanet_benco.evaluation.suite.open_sets import OpenSet
from qmanet_benco.evaluation.suite.suite import ModelEntry, Suite
from qmanet_benco.files import write_text_atomically


@dataclass
class Outcome:
    """What a run did."""

    cells: list[dict[str, Any]] = field(default_factory=list)
    scored: int = 0
    """Images scored now, by all processes."""
    kept: int = 0
    """Images whose records were there."""
    failures: list[str] = field(default_factory=list)
    """One line for each model that could not be scored."""


def notes(entry: ModelEntry) -> list[str]:
    """Return what a table says under a model's row: of its code, of its training, and what the suite's author adds."""
    trained: list[str] = []
    if entry.trained and Path(entry.checkpoint).suffix == ".pth":
        content = mapped(Path(entry.checkpoint))
        run = content.get(RUN) if isinstance(content, dict) else None
        trained = [str(line) for line in run.get(NOTHING, ())] if isinstance(run, dict) else []
    selection = [f"checkpoint: {entry.selection}"] if entry.selection else []
    return [*zoo.row_of(entry.model).footnotes, *trained, *selection, *entry.footnotes]


def check_folder(out: Path) -> None:
    """Check that a run may write here.

    Raises:
        RequestError: it is a file, or it holds something that no run put there.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file", "a folder")
    if out.is_dir() and not (out / "suite.json").is_file():
        strangers = [path.name for path in out.iterdir() if path.name not in (".lock", "sets")]
        if strangers:
            raise RequestError(f"{out} holds {strangers[0]}", "a new folder, or that of an earlier run", "name another")


def write_description(
    out: Path, suite: Suite, models: Sequence[ModelEntry], sets: Sequence[OpenSet], outcome: Outcome
) -> None:
    """Write ``out/suite.json``; a reader never meets half of it."""
    described = {
        **{key: getattr(suite, key) for key in ("name", "image_size", "resize", "batch", "precision", "seed")},
        "models": [
            {
                **entry.model_dump(),
                "footnotes": notes(entry),
                "image_score_note": zoo.image_score_note(entry.model, entry.flags),
            }
            for entry in models
        ],
        "sets": [{"name": each.entry.name, "path": str(each.path), "images": len(each.indices)} for each in sets],
        "attacks": [asdict(attack) for attack in suite.attacks],
        "environment": fingerprint.environment(),
        "cells": outcome.cells,
        "failures": outcome.failures,
    }
    write_text_atomically(out / "suite.json", json.dumps(described, indent=2))
