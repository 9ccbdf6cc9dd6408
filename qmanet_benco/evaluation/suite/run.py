"""Run a suite: every image of every model, set and attack is scored once, whatever interrupts it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qmanet_benco.benco import scoring
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation import attacks
from qmanet_benco.evaluation.attacks import NONE, Attack
from qmanet_benco.evaluation.metrics import image_metrics
from qmanet_benco.evaluation.suite import fingerprint
from qmanet_benco.evaluation.suite.description import Outcome, write_description
from qmanet_benco.evaluation.suite.folder import check_folder, locked
from qmanet_benco.evaluation.suite.open_sets import Batch, OpenSet, open_sets, spread, usable
from qmanet_benco.evaluation.suite.previews import keep_inputs, keep_mask, keep_prediction
from qmanet_benco.evaluation.suite.processes import Processes
from qmanet_benco.evaluation.suite.records import Store, safe_name
from qmanet_benco.evaluation.suite.suite import PAD, RANDOM, ModelEntry, Suite

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
    if entry.checkpoint not in (RANDOM, "") and not Path(entry.checkpoint).is_file():
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
        self.device = processes.device
        self.done = 0
        self.names = [entry.name for entry in models]
        images = sum(len(opened.indices) for opened in sets)
        self.total = images * len(models) * len(suite.attacks)

    def all_models(self) -> Outcome:
        self._describe()
        for entry in self.models:
            failure = ""
            try:
                self._one_model(entry)
            except Exception as error:  # whatever a model does, the others are still scored
                logger.debug("%s failed", entry.name, exc_info=True)
                failure = f"{entry.name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            failure = self.processes.first(failure)
            if failure:
                self.outcome.failures.append(failure)
        self.outcome.scored = self.processes.total(self.outcome.scored)
        self._describe()
        return self.outcome

    def _one_model(self, entry: ModelEntry) -> None:
        """Score a model; it is built only where a cell is unfinished."""
        model: nn.Module | None = None
        for opened in self.sets:
            for attack in self.suite.attacks:
                store = Store(self.out, self._label(entry, opened, attack), self._fingerprint(entry, opened, attack))
                complete = self.processes.first("done" if store.file.is_file() else "", all_agree=True)
                if not complete:
                    model = model or self._build(entry)
                    self._cell(model, entry, opened, attack, store)
                else:
                    self.outcome.kept += len(opened.indices)
                    self._advance(len(opened.indices))
                self._note(entry, opened, attack, store)

    def _build(self, entry: ModelEntry) -> nn.Module:
        model = zoo.build_model(entry.model, entry.flags, entry.seed, self.suite.image_size)
        if entry.checkpoint not in (RANDOM, ""):
            scoring.load_weights(model, Path(entry.checkpoint), self.allow_pickle)
        return model.to(self.device).eval()

    def _cell(self, model: nn.Module, entry: ModelEntry, opened: OpenSet, attack: Attack, store: Store) -> None:
        """Score the batches that nobody has scored; the first process then writes the whole cell."""
        batches = opened.batches(self.suite.batch)
        begun = self.processes.share(store.begun() if self.processes.rank == 0 else {})
        missing = [number for number in range(len(batches)) if len(begun.get(number, ())) != len(batches[number])]
        self.outcome.kept += len(opened.indices) - sum(len(batches[number]) for number in missing)
        mine = missing[self.processes.rank :: self.processes.size]
        self._advance(len(opened.indices) - sum(len(batches[number]) for number in missing))
        error: Exception | None = None
        try:
            self._score(model, entry, opened, attack, store, {number: batches[number] for number in mine})
        except Exception as caught:
            error = caught
        failed = self.processes.first("" if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        if failed:
            raise RuntimeError(f"another process failed: {failed}")
        if self.processes.rank == 0:
            rows = store.begun()
            store.finish([row for number in range(len(batches)) for row in rows[number]])
        self.processes.wait()

    def _score(
        self,
        model: nn.Module,
        entry: ModelEntry,
        opened: OpenSet,
        attack: Attack,
        store: Store,
        batches: Mapping[int, Batch],
    ) -> None:
        suite = self.suite
        transform = attacks.transform(attack, suite.seed)
        post = zoo.post_function(entry.model)
        width = zoo.edge_width(entry.model)
        dataset = scoring.open_set(opened.path, suite.image_size, suite.resize == PAD, transform, post, width)
        pending: dict[int, list[dict[str, Any]]] = {}
        last = time.monotonic()
        loaded = scoring.batches_of(dataset, list(batches.values()), suite.workers)
        try:
            for (number, indices), batch in zip(batches.items(), loaded, strict=True):
                torch.manual_seed(suite.seed * 1_000_003 + number)  # a model that draws numbers draws the same again
                probability, score = scoring.predict_batch(model, batch, self.device, suite.precision == "amp")
                rows = []
                for place, index in enumerate(indices):
                    own = None if score is None else float(score[place])
                    rows.append(self._row(entry, opened, attack, index, batch, place, probability[place, 0], own))
                pending[number] = rows
                self.outcome.scored += len(indices)
                self._advance(len(indices))
                if time.monotonic() - last > SECONDS_BETWEEN_PARTS:
                    store.append(pending)
                    pending, last = {}, time.monotonic()
        finally:
            store.append(pending)  # also what was finished before an error

    def _row(
        self,
        entry: ModelEntry,
        opened: OpenSet,
        attack: Attack,
        index: int,
        batch: Mapping[str, Any],
        place: int,
        probability: torch.Tensor,
        score: float | None,
    ) -> dict[str, Any]:
        stem = opened.stem(index)
        valid = batch["shape_mask"][place, 0] if "shape_mask" in batch else None
        if not bool(torch.isfinite(probability).all()):
            raise RequestError(f"{entry.name} gives values that are not finite for {stem}", "probabilities in [0, 1]")
        row = image_metrics(probability, batch["mask"][place, 0], valid)
        self._keep(entry, opened, attack, index, probability, valid)
        height, width = (int(side) for side in batch["origin_shape"][place])
        inside = probability if valid is None else probability * valid
        return {
            "model": entry.name,
            "seed": entry.seed,
            "set": opened.entry.name,
            "attack": attack.name,
            "level": attack.level,
            "image": stem,
            **row,
            "authentic": bool(row["authentic"]),
            "score": float(inside.max()) if score is None else score,
            "height": height,
            "width": width,
        }

    def _keep(
        self,
        entry: ModelEntry,
        opened: OpenSet,
        attack: Attack,
        index: int,
        probability: torch.Tensor,
        valid: torch.Tensor | None,
    ) -> None:
        """Predictions where they are asked for, and small pictures for the report."""
        if self.suite.save_predictions:
            cell = f"{attack.name}-{attack.level:g}"
            folder = self.out / "predictions" / self._model_folder(entry) / safe_name(opened.entry.name) / cell
            keep_prediction(folder, opened.stem(index), probability)
        if attack == NONE and index in self._previewed(opened):
            pair, folder = opened.pairs[index], self.out / "previews"
            keep_inputs(folder, opened.entry.name, pair)
            keep_mask(folder, f"{entry.name}@{entry.seed}", opened.entry.name, pair, probability, valid)

    def _previewed(self, opened: OpenSet) -> set[int]:
        return set(spread(opened.indices, self.suite.previews)) if self.suite.previews else set()

    def _model_folder(self, entry: ModelEntry) -> str:
        several = self.names.count(entry.name) > 1
        return safe_name(f"{entry.name}@{entry.seed}" if several else entry.name)

    def _label(self, entry: ModelEntry, opened: OpenSet, attack: Attack) -> str:
        return f"{entry.name}@{entry.seed} {opened.entry.name} {attack.name}-{attack.level:g}"

    def _fingerprint(self, entry: ModelEntry, opened: OpenSet, attack: Attack) -> str:
        suite = self.suite
        trained = entry.checkpoint not in (RANDOM, "")
        return fingerprint.fingerprint(
            {
                "model": entry.model,
                "source": zoo.source_hash(entry.model),
                "flags": fingerprint.hash_flags(entry.flags),
                "weights": fingerprint.hash_file(Path(entry.checkpoint)) if trained else f"random {entry.seed}",
                "names": (entry.name, entry.seed, opened.entry.name),
                "set": opened.digest,
                "attack": (attack.name, attack.level, 0 if attack == NONE else suite.seed),
                "settings": (suite.image_size, suite.resize, suite.batch, suite.precision, suite.seed),
                "kept": suite.save_predictions,
                "device": self.device.type,
                "code": fingerprint.code_version(),
                "libraries": fingerprint.environment(),
            }
        )

    def _advance(self, images: int) -> None:
        self.done += images
        if self.progress is not None:
            self.progress(self.done, self.total)

    def _note(self, entry: ModelEntry, opened: OpenSet, attack: Attack, store: Store) -> None:
        described = {"model": entry.name, "seed": entry.seed, "set": opened.entry.name}
        described |= {"attack": attack.name, "level": attack.level}
        self.outcome.cells.append({**described, "fingerprint": store.fingerprint, "images": len(opened.indices)})

    def _describe(self) -> None:
        if self.processes.rank == 0:
            write_description(self.out, self.suite, self.models, self.sets, self.outcome)
