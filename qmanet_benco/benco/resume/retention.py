"""Keeps the newest checkpoints of a training and the best, and lists them in ``checkpoints.json`` beside them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from qmanet_benco.benco.seam.checkpoints import epochs_in, newest_checkpoint
from qmanet_benco.files import write_text_atomically, writing
from qmanet_benco.model.weights.files import sum_path

LEDGER = "checkpoints.json"
"""``{"best": epoch or null, "metrics": {"epoch": metric}, "written": [epochs]}`` of one training."""


@dataclass
class Ledger:
    """The checkpoints that one training has written, and the validation metric of each epoch."""

    folder: Path
    written: set[int] = field(default_factory=set)
    metrics: dict[int, float] = field(default_factory=dict)

    @property
    def best(self) -> int | None:
        """The epoch of the largest metric, the first of several; None before the first validation."""
        known = {epoch: value for epoch, value in sorted(self.metrics.items()) if value == value}
        return max(known, key=lambda epoch: known[epoch]) if known else None

    def prune(self, keep: int) -> list[int]:
        """Remove this training's checkpoints except the newest ``keep`` and the best. Files of others stay.

        Returns:
            The epochs whose checkpoints were removed.
        """
        present = epochs_in(self.folder)
        own = sorted(self.written & present.keys())
        stay = {*own[-keep:], self.best} if keep else set(own)
        gone = [epoch for epoch in own if epoch not in stay]
        self.store()  # first, since the best must be known before the others are gone
        for epoch in gone:
            sum_path(present[epoch]).unlink(missing_ok=True)
            present[epoch].unlink(missing_ok=True)
        return gone

    def store(self) -> None:
        """Write the ledger.

        Raises:
            RequestError: the folder cannot be written to.
        """
        content = {
            "best": self.best,
            "metrics": {str(epoch): value for epoch, value in sorted(self.metrics.items())},
            "written": sorted(self.written),
        }
        text = json.dumps(content, indent=1) + "\n"
        path = self.folder / LEDGER
        with writing(path, "earlier checkpoints are as they were"):
            write_text_atomically(path, text)


def read_ledger(folder: Path, until: int) -> Ledger:
    """Read the ledger of a training that goes on from epoch ``until``: what came later is forgotten.

    A file that is absent or damaged counts as empty, apart from the checkpoints up to ``until``.
    """
    try:
        content = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
        written = {int(epoch) for epoch in content["written"]}
        metrics = {int(epoch): float(value) for epoch, value in content["metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        written, metrics = set(epochs_in(folder)), {}
    return Ledger(
        folder,
        {epoch for epoch in written if epoch <= until},
        {epoch: value for epoch, value in metrics.items() if epoch <= until},
    )


def newest_of_training(folder: Path, since: float = 0.0) -> Path | None:
    """Find the newest undamaged checkpoint of the training whose ``checkpoints.json`` is in the folder.

    Without that file every ``checkpoint-N.pth`` counts. What was written before ``since`` never does.
    """
    if not folder.is_dir():
        return None
    known = (folder / LEDGER).is_file()
    written = read_ledger(folder, sys.maxsize).written if known else None
    return newest_checkpoint(folder, since, written)
