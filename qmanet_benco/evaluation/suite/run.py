"""Run a suite: every image of every model, set and attack is scored once, whatever interrupts it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qmanet_benco.benco import scoring
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import RequestError, told
from qmanet_benco.evaluation import attacks
from qmanet_benco.evaluation.attacks import NONE
from qmanet_benco.evaluation.suite.cell import Cell, ImagePrediction, calibration_for
from qmanet_benco.evaluation.suite.description import Outcome, write_description
from qmanet_benco.evaluation.suite.folder import check_folder, locked
from qmanet_benco.evaluation.suite.open_sets import Batch, OpenSet, open_sets, spread, usable
from qmanet_benco.evaluation.suite.previews import keep_inputs, keep_mask, keep_prediction
from qmanet_benco.evaluation.suite.processes import Processes
from qmanet_benco.evaluation.suite.records import Store, safe_name
from qmanet_benco.evaluation.suite.suite import PAD, ModelEntry, Suite
from qmanet_benco.model.calibration import Calibration

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_PARTS = 10.0
"""At most this much work is lost when a run is killed."""
Progress = Callable[[int, int], None]


def run_suite(
    suite: Suite,
    out: Path,
    *,
    processes: Processes | None = None,
    allow_pickle: bool = False,
    skip_missing: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Score a suite into a folder, or go on with one that was interrupted.

    Args:
        suite: what to score; see :func:`~qmanet_benco.evaluation.suite.suite_file.read_suite`.
        out: a new folder, or one of an earlier run. Records of other models, sets or versions are set aside there.
        processes: the group that shares the work; by default this process alone.
        allow_pickle: let checkpoints run code.
        skip_missing: leave out models and sets whose files are missing, and say so, instead of refusing.
        progress: called with the scored and all images of this process's share.

    Returns:
        What was done; a model that fails does not stop the others.

    Raises:
        RequestError: the suite cannot be run; nothing was written then.
    """
    processes = processes or Processes()
    with scoring.as_the_test_script(allow_pickle):
        models = [entry for entry in suite.models if usable(partial(check_model, entry), skip_missing)]
        if not models:
            raise RequestError("no model of the suite can be run", "at least one", "see the messages above")
        check_folder(out)
        with locked(out, processes):
            sets = open_sets(suite, out, processes, skip_missing)
            run = _Run(suite, out, models, sets, processes, allow_pickle, progress)
            return run.all_models()


def check_model(entry: ModelEntry) -> None:
    """Check what can be known of a model before it is built.

    Raises:
        RequestError: it is not registered, a flag is unknown, or its checkpoint is missing.
    """
    zoo.check_flags(entry.model, entry.flags)
    if entry.trained and not Path(entry.checkpoint).is_file():
        raise RequestError(
            f"{entry.name}: checkpoint {entry.checkpoint} is not a file",
            "a file, or random",
            f"give --checkpoint '{entry.name}=PATH', or --skip-missing",
        )


class _Run:
    """The loop over models, sets and attacks, with what it needs."""

    def __init__(
        self,
        suite: Suite,
        out: Path,
        models: Sequence[ModelEntry],
        sets: Sequence[OpenSet],
        processes: Processes,
        allow_pickle: bool,
        progress: Progress | None,
    ) -> None:
        self.suite, self.out, self.models, self.sets = suite, out, models, sets
        self.processes, self.allow_pickle, self.progress = processes, allow_pickle, progress
        self.outcome = Outcome()
        self.calibration: Calibration | None = None
        self.done = 0
        self.total = sum(len(images.indices) for images in sets) * len(models) * len(suite.attacks)

    def all_models(self) -> Outcome:
        self._describe()
        for entry in self.models:
            failure = ""
            try:
                self._one_model(entry)
            except Exception as error:  # whatever a model does, the others are still scored
                logger.debug("%s failed", entry.name, exc_info=True)
                failure = f"{entry.name}: {told(error)}"
            failure = self.processes.first(failure)
            if failure:
                self.outcome.failures.append(failure)
        self.outcome.scored = self.processes.total(self.outcome.scored)
        self._describe()
        return self.outcome

    def _one_model(self, entry: ModelEntry) -> None:
        """Score a model; it is built only where a cell is unfinished."""
        model: nn.Module | None = None
        for images, attack in product(self.sets, self.suite.attacks):
            cell = Cell(entry, images, attack)
            store = Store(self.out, cell.label, cell.fingerprint(self.suite, self.processes.device))
            if self.processes.first("done" if store.file.is_file() else "", all_agree=True):
                self._count_kept(len(images.indices))
            else:
                model = model or self._build(entry)
                self._complete(model, cell, store)
            self.outcome.cells.append({**cell.keys, "fingerprint": store.fingerprint, "images": len(images.indices)})

    def _build(self, entry: ModelEntry) -> nn.Module:
        model = zoo.build_model(entry.model, entry.flags, entry.seed, self.suite.image_size)
        self.calibration = None
        if entry.trained:
            scoring.load_weights(model, Path(entry.checkpoint), self.allow_pickle)
            self.calibration = calibration_for(Path(entry.checkpoint), self.suite)
        return model.to(self.processes.device).train(zoo.is_scored_training(entry.model))

    def _complete(self, model: nn.Module, cell: Cell, store: Store) -> None:
        """Score the batches that nobody has scored; the first process then writes the whole cell."""
        batches = cell.images.batches(self.suite.batch)
        begun = self.processes.share(store.begun() if self.processes.rank == 0 else {})
        missing = [number for number, indices in enumerate(batches) if len(begun.get(number, ())) != len(indices)]
        self._count_kept(len(cell.images.indices) - sum(len(batches[number]) for number in missing))
        mine = missing[self.processes.rank :: self.processes.size]
        error: Exception | None = None
        try:
            self._score(model, cell, store, {number: batches[number] for number in mine})
        except Exception as caught:
            error = caught
        failed = self.processes.first("" if error is None else told(error))
        if error is not None:
            raise error
        if failed:
            raise RuntimeError(f"another process failed: {failed}")
        if self.processes.rank == 0:
            rows = store.begun()
            store.finish([row for number in range(len(batches)) for row in rows[number]])
        self.processes.wait()

    def _score(self, model: nn.Module, cell: Cell, store: Store, batches: Mapping[int, Batch]) -> None:
        suite, name = self.suite, cell.model.model
        dataset = scoring.open_set(
            cell.images.path,
            suite.image_size,
            suite.resize == PAD,
            attacks.transform(cell.attack, suite.seed),
            zoo.post_function(name),
            zoo.edge_width(name),
        )
        pending: dict[int, list[dict[str, Any]]] = {}
        last = time.monotonic()
        loaded = scoring.batches_of(dataset, list(batches.values()), suite.workers)
        try:
            for (number, indices), batch in zip(batches.items(), loaded, strict=True):
                torch.manual_seed(suite.seed * 1_000_003 + number)  # a model that draws numbers draws the same again
                half = suite.precision == "amp"
                probability, scores = scoring.predict_batch(model, batch, self.processes.device, half)
                predictions = ImagePrediction.of_batch(batch, indices, probability, scores)
                pending[number] = [self._row(cell, prediction) for prediction in predictions]
                self.outcome.scored += len(indices)
                self._advance(len(indices))
                if time.monotonic() - last > SECONDS_BETWEEN_PARTS:
                    store.append(pending)
                    pending, last = {}, time.monotonic()
        finally:
            store.append(pending)  # also what was finished before an error

    def _row(self, cell: Cell, prediction: ImagePrediction) -> dict[str, Any]:
        """Make the row of an image, and keep its pictures where they are asked for."""
        stem = cell.images.stem(prediction.index)
        if not bool(torch.isfinite(prediction.probability).all()):
            raise RequestError(
                f"{cell.model.name} gives values that are not finite for {stem}", "probabilities in [0, 1]"
            )
        row = prediction.row(cell, self.calibration)
        name = cell.images.entry.name
        if self.suite.save_predictions:
            folder = self.out / "predictions" / self._folder_name(cell.model) / safe_name(name) / cell.attack_label
            keep_prediction(folder, stem, prediction.probability)
        if cell.attack == NONE and prediction.index in self._previewed(cell.images):
            pair, folder = cell.images.pairs[prediction.index], self.out / "previews"
            model = f"{cell.model.name}@{cell.model.seed}"
            keep_inputs(folder, name, pair)
            keep_mask(folder, model, name, pair, prediction.probability, prediction.valid)
        return row

    def _previewed(self, images: OpenSet) -> set[int]:
        return set(spread(images.indices, self.suite.previews)) if self.suite.previews else set()

    def _folder_name(self, entry: ModelEntry) -> str:
        several = sum(entry.name == other.name for other in self.models) > 1
        return safe_name(f"{entry.name}@{entry.seed}" if several else entry.name)

    def _count_kept(self, images: int) -> None:
        self.outcome.kept += images
        self._advance(images)

    def _advance(self, images: int) -> None:
        self.done += images
        if self.progress is not None:
            self.progress(self.done, self.total)

    def _describe(self) -> None:
        if self.processes.rank == 0:
            write_description(self.out, self.suite, self.models, self.sets, self.outcome)
