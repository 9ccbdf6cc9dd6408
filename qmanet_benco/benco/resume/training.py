"""Wraps the calls of a stock training, as :class:`~qmanet_benco.benco.seam.options.Options` ask.

The stock main loop calls, in this order, ``misc.load_model``; then for every epoch ``train_one_epoch``,
``misc.save_model`` (epoch 0, every 25th, the last), ``test_one_epoch`` for each test set, and appends to ``log.txt``.
:class:`Training` wraps these. A training that goes on from a checkpoint of its own folder whose epoch was not yet
tested and logged replays that end of the epoch without training, so that a log has a line for each epoch.
"""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qmanet_benco.benco.resume import random_states
from qmanet_benco.benco.resume.retention import Ledger, read_ledger
from qmanet_benco.benco.resume.schedule import batches_of_epoch
from qmanet_benco.benco.resume.steps import StepGuard
from qmanet_benco.benco.seam.checkpoints import mapped
from qmanet_benco.benco.seam.options import Options
from qmanet_benco.benco.seam.patches import Patches, Stock
from qmanet_benco.benco.seam.world import gathered, place

logger = logging.getLogger(__name__)

STATISTICS = "qmanet_train_stats"
"""Entry of a checkpoint: what ``train_one_epoch`` returned."""
RUN, NOTHING = "qmanet_run", "started_from_nothing"
"""Entry of a checkpoint: ``model``, ``flags`` of its constructor, and what of it started from nothing."""


class Batches:
    """The training's loader, cut after some batches; its length stays that of a whole epoch, as the schedule wants."""

    def __init__(self, loader: Any, limit: int | None, before: Callable[[dict[str, Any]], None]) -> None:
        self.loader, self.limit, self.before = loader, limit, before

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, batch in enumerate(self.loader):
            if self.limit is not None and number >= self.limit:
                return
            self.before(batch)
            yield batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


@dataclass
class Training:
    """The state of one training between the stock script's calls."""

    options: Options
    ledger: Ledger | None = None
    """Of the process that writes files, where it writes any."""
    replayed: dict[int, dict[str, float]] = field(default_factory=dict)
    """Statistics of an epoch that is trained and saved, but not tested and logged."""
    saved: set[int] = field(default_factory=set)
    metrics: list[float] = field(default_factory=list)
    """Metrics of the present epoch, one for each test set."""
    statistics: dict[str, float] = field(default_factory=dict)
    guard: StepGuard | None = None
    run: dict[str, Any] = field(default_factory=dict)
    """What :data:`RUN` will be."""

    def load_model(self, stock: Stock, args: Namespace, *positional: Any, **named: Any) -> None:
        """Stand in for ``misc.load_model``: goes on with the random states of the checkpoint."""
        stock(args, *positional, **named)
        folder = Path(args.output_dir) if args.output_dir else None
        own = bool(args.resume) and folder is not None and Path(args.resume).absolute().parent == folder.absolute()
        if self.guard is not None:
            self.guard.folder = folder
        if folder is not None and place()[0] == 0:
            self.ledger = read_ledger(folder, args.start_epoch - 1) if own else Ledger(folder)
            self.ledger.store()
            end_last_line(folder / "log.txt")
        if args.resume and not args.resume.startswith("https"):
            self._go_on(args, own)

    def _go_on(self, args: Namespace, own: bool) -> None:
        content = mapped(Path(args.resume))
        self.run |= {key: value for key, value in content.get(RUN, {}).items() if key == NOTHING}
        states = content.get(random_states.STATES)
        if not states or "epoch" not in content:
            logger.warning("%s has no random states: training goes on, but not as if it had never stopped", args.resume)
            return
        rank, size = place()
        if rank < len(states):
            random_states.put_back(states[rank])
        if len(states) != size:
            logger.warning(
                "%s was written by %d processes, these are %d: training goes on, but not as if it had never stopped",
                args.resume,
                len(states),
                size,
            )
        epoch = int(content["epoch"])
        if own and epoch < args.epochs and epoch not in logged_epochs(Path(args.output_dir)):
            self.replayed[epoch] = dict(content.get(STATISTICS, {}))
            self.saved.add(epoch)
            args.start_epoch = epoch

    def train_one_epoch(
        self,
        stock: Stock,
        model: Any,
        data_loader: Any,
        optimizer: Any,
        device: Any,
        epoch: int,
        loss_scaler: Any,
        **named: Any,
    ) -> dict[str, float]:
        """Stand in for ``trainer.train_one_epoch``: then a checkpoint, if each epoch gets one."""
        if epoch in self.replayed:
            return self.replayed.pop(epoch)
        args = named["args"]
        data_loader.dataset.qmanet_position = (args.seed, epoch)  # the loader's workers get a copy in each epoch
        limit = batches_of_epoch(self.options.max_steps, len(data_loader), args.accum_iter, epoch)
        self.metrics.clear()
        batches = Batches(data_loader, limit, partial(self._before_batch, model))
        if self.guard is not None:
            self.guard.start_epoch()
        self.statistics = stock(model, batches, optimizer, device, epoch, loss_scaler, **named)
        if self.guard is not None:
            self.guard.end_epoch()
        if self.options.keep and args.output_dir:
            from IMDLBenCo.training_scripts.utils import misc

            misc.save_model(args, epoch, model, model.module, optimizer, loss_scaler)
        return self.statistics

    def _before_batch(self, model: Any, batch: dict[str, Any]) -> None:
        if self.guard is not None:
            self.guard.before_batch(model, batch)

    def save_model(self, stock: Stock, *positional: Any, **named: Any) -> None:
        """Stand in for ``misc.save_model``: adds random states, once for each epoch, and removes the surplus."""
        epoch = named["epoch"] if "epoch" in named else positional[1]
        if epoch in self.saved:
            return
        states = gathered(random_states.taken())
        with self._with_entries({random_states.STATES: states, STATISTICS: self.statistics, RUN: self.run}):
            stock(*positional, **named)
        self.saved.add(epoch)
        if self.ledger is not None:
            self.ledger.written.add(epoch)
            self.ledger.prune(self.options.keep)

    @staticmethod
    def _with_entries(entries: dict[str, Any]) -> Patches:
        """Make a context in which ``misc.save_on_master`` stores these beside what it is given."""
        from IMDLBenCo.training_scripts.utils import misc

        patches = Patches()
        patches.wrap(misc, "save_on_master", lambda stock, content, path: stock({**content, **entries}, path))
        return patches

    def test_one_epoch(self, stock: Stock, model: Any, *positional: Any, **named: Any) -> dict[str, float]:
        """Stand in for ``tester.test_one_epoch``: draws nothing that training would have drawn; notes the metric."""
        with random_states.unchanged():
            statistics = stock(model, *positional, **named)
        names = [evaluator.name for evaluator in named["evaluator_list"]]
        self.metrics.append(float(np.mean([statistics[name] for name in names])))
        if self.ledger is not None:
            self.ledger.metrics[named["epoch"]] = float(np.mean(self.metrics))
            self.ledger.store()  # a kill before the next checkpoint must not forget which epoch is the best
        return dict(statistics)

    def end(self) -> None:
        """Remove what is surplus now that the last epoch was tested on every set.

        Earlier epochs were pruned with the next checkpoint: while one of several sets is still to be tested, the mean
        over the others could take the best checkpoint for a surplus one.
        """
        if self.ledger is not None:
            self.ledger.prune(self.options.keep)


def logged_epochs(folder: Path) -> list[int]:
    """Read the epochs of the lines of ``log.txt``, in their order; a line that a kill cut short does not count."""
    try:
        lines = (folder / "log.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    epochs = []
    for line in lines:
        try:
            epochs.append(int(json.loads(line)["epoch"]))
        except (ValueError, KeyError, TypeError):
            continue
    return epochs


def end_last_line(path: Path) -> None:
    """Take a line that a kill or a full disk cut short out of a log, so that the next one is not appended to it."""
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        with path.open("rb+") as stream:
            stream.truncate(whole)
