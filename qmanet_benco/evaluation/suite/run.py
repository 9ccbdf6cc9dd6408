"""Run a suite: every image of every model, set and attack is scored once, whatever interrupts it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from qmanet_benco.benco import scoring
from qmanet_benco.benco.shared_samples import Preparation, SharedSamples
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation import attacks
from qmanet_benco.evaluation.suite.cell import Cell, Contender, ImagePrediction, calibration_for, failure_of
from qmanet_benco.evaluation.suite.description import Outcome, check_folder, write_description
from qmanet_benco.evaluation.suite.open_sets import Batch, OpenSet, open_sets, usable
from qmanet_benco.evaluation.suite.previews import Pictures
from qmanet_benco.evaluation.suite.processes import Processes, locked
from qmanet_benco.evaluation.suite.records import Store
from qmanet_benco.evaluation.suite.suite import PAD, ModelEntry, Suite
from qmanet_benco.memory import free_bytes
from qmanet_benco.precision import BF16, FP32
from qmanet_benco.precision import usable as usable_precision

SECONDS_BETWEEN_PARTS = 10.0
"""At most this much work is lost when a run is killed."""
PART_FOR_WEIGHTS = 0.25
"""Part of the free memory that the weights of the models that are scored together may take."""
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
        if suite.precision == BF16:
            everywhere = set(processes.gather(usable_precision(BF16, processes.device))) == {BF16}
            suite = suite.model_copy(update={"precision": BF16 if everywhere else FP32})
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
    """The loop over sets and attacks, whose images all models look at together, with what it needs."""

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
        self.pictures = Pictures(out, suite, models)
        self.preparations: dict[str, Preparation] = {}
        self.finished: dict[tuple[int, int, int], dict[str, Any]] = {}
        self.done = 0
        self.total = sum(len(images.indices) for images in sets) * len(models) * len(suite.attacks)

    def all_models(self) -> Outcome:
        self._describe()
        for together in self._groups():
            for place in product(range(len(self.sets)), range(len(self.suite.attacks))):
                self._score_cells([each for each in together if not each.failure and place in each.stores], place)
        self.outcome.cells = [self.finished[place] for place in sorted(self.finished)]
        self.outcome.scored = self.processes.total(self.outcome.scored)
        self._describe()
        return self.outcome

    def _groups(self) -> Iterator[list[Contender]]:
        """Build the models with unfinished cells, as many at a time as a part of the free memory holds.

        A model that fails does not stop the others.
        """
        device = self.processes.device
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_bytes()
        room = self.processes.share(free) * PART_FOR_WEIGHTS / self.processes.size
        group: list[Contender] = []
        for entry in self.models:
            contender, failure = None, ""
            try:
                stores = self._unfinished(entry)
                contender = self._built(entry, stores) if stores else None
            except Exception as error:
                failure = failure_of(entry, error)
            failure = self.processes.first(failure)
            if failure:
                self.outcome.failures.append(failure)
            elif contender is not None:
                group.append(contender)
            if sum(each.bytes for each in group) > room:
                yield group
                group.clear()  # the list is the caller's too: none of its models is kept
        yield group

    def _unfinished(self, entry: ModelEntry) -> dict[tuple[int, int], tuple[Cell, Store]]:
        stores = {}
        for place in product(range(len(self.sets)), range(len(self.suite.attacks))):
            cell = Cell(entry, self.sets[place[0]], self.suite.attacks[place[1]])
            store = Store(self.out, cell.label, cell.fingerprint(self.suite, self.processes.device))
            if self.processes.first("done" if store.file.is_file() else "", all_agree=True):
                self._count_kept(len(cell.images.indices))
                self._note_finished(cell, store, place)
            else:
                stores[place] = (cell, store)
        return stores

    def _built(self, entry: ModelEntry, stores: Mapping[tuple[int, int], tuple[Cell, Store]]) -> Contender:
        model = zoo.build_model(entry.model, entry.flags, entry.seed, self.suite.image_size)
        calibration = None
        if entry.trained:
            scoring.load_weights(model, Path(entry.checkpoint), self.allow_pickle)
            calibration = calibration_for(Path(entry.checkpoint), self.suite)
        model = model.to(self.processes.device).train(zoo.row_of(entry.model).is_scored_training)
        return Contender(entry, stores, model, calibration)

    def _score_cells(self, together: Sequence[Contender], place: tuple[int, int]) -> None:
        """Score the batches that nobody has scored; the first process then writes the whole cells."""
        if not together:
            return
        images = self.sets[place[0]]
        batches = images.batches(self.suite.batch)
        missing: list[set[int]] = []
        for contender in together:
            begun = self.processes.share(contender.stores[place][1].begun() if self.processes.rank == 0 else {})
            lacking = [number for number, indices in enumerate(batches) if len(begun.get(number, ())) != len(indices)]
            self._count_kept(len(images.indices) - sum(len(batches[number]) for number in lacking))
            missing.append(set(lacking))
        mine = sorted(set().union(*missing))[self.processes.rank :: self.processes.size]
        try:
            self._score(together, missing, place, {number: batches[number] for number in mine})
        except Exception as error:  # nothing could be loaded any more
            for contender in together:
                contender.fail(error)
        for contender in together:
            contender.failure = self.processes.first(contender.failure)
            if not contender.failure:
                self._finish(contender, place, len(batches))
            if contender.failure:
                self.outcome.failures.append(contender.failure)
        self.processes.wait()

    def _finish(self, contender: Contender, place: tuple[int, int], batches: int) -> None:
        """Write a cell whose batches are all scored."""
        cell, store = contender.stores[place]
        try:
            if self.processes.rank == 0:
                rows = store.begun()
                store.finish([row for number in range(batches) for row in rows[number]])
        except Exception as error:
            contender.fail(error)
        contender.failure = self.processes.first(contender.failure)
        if not contender.failure:
            self._note_finished(cell, store, place)

    def _score(
        self,
        together: Sequence[Contender],
        missing: Sequence[set[int]],
        place: tuple[int, int],
        batches: Mapping[int, Batch],
    ) -> None:
        suite, images, attack = self.suite, self.sets[place[0]], self.suite.attacks[place[1]]
        wanted = [self._preparation(contender.entry) for contender in together]
        preparations = list(dict.fromkeys(wanted))
        samples = SharedSamples(
            images.path,
            suite.image_size,
            suite.resize == PAD,
            attacks.transform(attack, suite.seed),
            preparations,
        )
        last = time.monotonic()
        try:
            loaded = samples.batches(list(batches.values()), suite.workers)
            for (number, indices), prepared in zip(batches.items(), loaded, strict=True):
                for contender, preparation, lacking in zip(together, wanted, missing, strict=True):
                    if number in lacking and not contender.failure:
                        batch = prepared[preparations.index(preparation)]
                        self._score_batch(contender, contender.stores[place][0], number, indices, batch)
                if all(contender.failure for contender in together):
                    break
                if time.monotonic() - last > SECONDS_BETWEEN_PARTS:
                    self._append(together, place)
                    last = time.monotonic()
        finally:
            self._append(together, place)  # also what was finished before an error

    def _score_batch(
        self, contender: Contender, cell: Cell, number: int, indices: Batch, batch: dict[str, Any] | Exception
    ) -> None:
        try:
            if isinstance(batch, Exception):
                raise batch
            torch.manual_seed(self.suite.seed * 1_000_003 + number)  # a model that draws numbers draws the same again
            precision = self.suite.precision
            probability, scores = scoring.predict_batch(contender.model, batch, self.processes.device, precision)
            predictions = ImagePrediction.of_batch(batch, indices, probability, scores)
            contender.pending[number] = [self._row(contender, cell, prediction) for prediction in predictions]
        except Exception as error:  # whatever a model does, the others are still scored
            contender.fail(error)
            return
        self.outcome.scored += len(indices)
        self._advance(len(indices))

    @staticmethod
    def _append(together: Sequence[Contender], place: tuple[int, int]) -> None:
        for contender in together:
            contender.stores[place][1].append(contender.pending)
            contender.pending = {}

    def _preparation(self, entry: ModelEntry) -> Preparation:
        """Return what a model wants of a sample, the same object for all models of a class."""
        name = zoo.registered_name(entry.model)
        if name not in self.preparations:
            self.preparations[name] = Preparation(zoo.row_of(name).edge_width, zoo.post_function(name))
        return self.preparations[name]

    def _row(self, contender: Contender, cell: Cell, prediction: ImagePrediction) -> dict[str, Any]:
        """Make the row of an image, and keep its pictures where they are asked for."""
        stem = cell.images.stem(prediction.index)
        if not bool(torch.isfinite(prediction.probability).all()):
            raise RequestError(
                f"{cell.model.name} gives values that are not finite for {stem}", "probabilities in [0, 1]"
            )
        row = prediction.row(cell, contender.calibration)
        self.pictures.keep(cell, prediction)
        return row

    def _note_finished(self, cell: Cell, store: Store, place: tuple[int, int]) -> None:
        described = {**cell.keys, "fingerprint": store.fingerprint, "images": len(cell.images.indices)}
        self.finished[self.models.index(cell.model), place[0], place[1]] = described

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
