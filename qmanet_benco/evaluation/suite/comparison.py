"""Makes a suite from trainings, one model for each folder with checkpoints, and lists what of the paper it lacks."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from qmanet_benco.benco.resume.holdout import SPLIT
from qmanet_benco.benco.resume.retention import LEDGER, newest_of_training, read_ledger
from qmanet_benco.benco.resume.training import RUN
from qmanet_benco.benco.seam.checkpoints import epochs_in, mapped
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.data.sets import SETS, set_title
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.attacks import ATTACKS
from qmanet_benco.evaluation.suite.suite import ModelEntry

OWN = "QMANet"
LAST, BEST = "last", "best"
PAPER_ATTACKS = [{name: list(kind.paper_levels)} for name, kind in ATTACKS.items() if kind.paper_levels]
"""Section 4.3; Tables 7 and 8."""
VARIANTS = {
    "paper": "QMA-Net",
    "cp": "CP (w/o DFCM)",
    "sl": "SL (only Q4,R4,N4)",
    "ss": "SS (only Stage 4)",
    "cd": "CD (conv decoder)",
    "mlp": "MLP (MLP decoder)",
    "q4": "4 queries",
    "q8": "8 queries",
    "q32": "32 queries",
}
"""Rows of Tables 1, 2 and 9 by QMA-Net's variant."""
ONLY_TRAINING = ("initial_weights", "noiseprint_cache", "checkpointing", "backbone_weights", "noiseprint_weights")
"""QMA-Net's flags that a checkpoint answers, or that change no mask."""
DEEPEST = 3


@dataclass(frozen=True)
class ChosenCheckpoint:
    """One checkpoint of a training's folder."""

    path: Path
    words: str
    """Which one it is, e.g. ``best on a held-out part, epoch 87``."""


def choose_checkpoint(folder: Path, choose: str = LAST) -> ChosenCheckpoint:
    """Return the checkpoint of a training that is to be compared.

    Args:
        folder: of the training.
        choose: ``last``, or ``best`` by the mean F1 on the sets of the training's log, which are a held-out part of the
            training set after ``--val-fraction``, and otherwise the test sets.

    Raises:
        RequestError: there is none, or the best was not stored.
    """
    if choose not in (LAST, BEST):
        raise RequestError(f"--choose {choose}", f"{LAST} or {BEST}")
    if choose == LAST:
        path = newest_of_training(folder)
        if path is None:
            raise RequestError(f"{folder} has no undamaged checkpoint", "checkpoint-N.pth", "train first")
        return ChosenCheckpoint(path, f"last, epoch {path.stem.rpartition('-')[2]}")
    ledger, stored = read_ledger(folder, 10**9), epochs_in(folder)
    if ledger.best is None or ledger.best not in stored:
        got = f"epoch {ledger.best} has no checkpoint" if ledger.best is not None else f"{LEDGER} names no best epoch"
        raise RequestError(
            f"{folder}: {got}", "the checkpoint of the best epoch", "train with --keep 1, or choose last"
        )
    where = "a held-out part" if (folder / SPLIT).is_file() else "the test sets"
    return ChosenCheckpoint(stored[ledger.best], f"best on {where}, epoch {ledger.best}")


def with_checkpoint(entry: ModelEntry, choose: str) -> ModelEntry:
    """Put a file in place of a checkpoint that may be a training's folder, and say which it is."""
    path = Path(entry.checkpoint)
    if not entry.trained or not path.is_dir():
        return entry
    chosen = choose_checkpoint(path, choose or LAST)
    return entry.model_copy(update={"checkpoint": str(chosen.path), "selection": chosen.words})


def make_suite(
    roots: Sequence[Path], sets: Mapping[str, str], choose: str = LAST, image_size: int = 0, attacks: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Return a suite of everything that was trained below some folders, as `qmanet suite run` reads it.

    Args:
        roots: folders of trainings, or folders above them; the folders' names do not matter where a checkpoint says
            what it is of.
        sets: path of each set by name.
        choose: see :func:`choose_checkpoint`.
        image_size: side in pixels; 0: the one that all were trained at.
        attacks: also the attacks of Tables 7 and 8.

    Returns:
        The suite, and one line for each model and set of the paper that is not in it, with what it needs.

    Raises:
        RequestError: nothing was trained there, no set is there, or the trainings' image sizes differ.
    """
    models: list[dict[str, Any]] = []
    left_out: list[str] = []
    sides: Counter[int] = Counter()
    for folder in (folder for root in roots for folder in trainings(root)):
        try:
            entry, side = _entry(folder, choose)
        except RequestError as error:
            left_out.append(str(error))
            continue
        models.append(entry)
        sides[side] += 1
    if not models:
        reasons = f" ({'; '.join(left_out)})" if left_out else ""
        where = ", ".join(map(str, roots))
        raise RequestError(f"no checkpoint below {where}{reasons}", "folders with checkpoint-N.pth", "train first")
    if not image_size and len(sides) > 1:
        sizes = ", ".join(str(side) for side in sorted(sides))
        raise RequestError(f"trainings at {sizes} pixels", "one image size", "choose one with --image-size")
    _name_apart(models)
    listed = []
    for name, path in sets.items():
        if Path(path).exists():
            listed.append({"name": set_title(name), "path": str(Path(path).resolve())})
        else:
            left_out.append(f"set {name}: {path} is not there")
    if not listed:
        raise RequestError("no set to compare on", "a JSON file {name: path}", "`qmanet data protocol-cat` writes one")
    suite: dict[str, Any] = {
        "name": "comparison",
        "image_size": image_size or next(iter(sides)),
        "batch": 4,
        "models": models,
    }
    suite |= {"sets": listed, "attacks": PAPER_ATTACKS if attacks else []}
    return suite, [*left_out, *_absent_models(models), *_absent_sets(listed)]


def as_yaml(suite: Mapping[str, Any]) -> str:
    """Return a suite's text as `qmanet suite run` reads it."""
    return yaml.safe_dump(dict(suite), sort_keys=False, allow_unicode=True, width=120)


def read_sets(path: Path) -> dict[str, str]:
    """Return ``{name: path}`` from a JSON file.

    Raises:
        RequestError: it cannot be read, or is something else.
    """
    try:
        paths = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(paths, dict) or not all(isinstance(value, str) for value in paths.values()):
            raise TypeError("it is no {name: path}")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RequestError(f"{path} cannot be read ({error})", "a JSON file {name: path}") from error
    return paths


def trainings(root: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """List the folders with checkpoints, the root itself or at most three levels below it, by their names."""
    if not root.is_dir():
        return
    if epochs_in(root):
        yield root
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if depth:
            yield from trainings(folder, depth - 1)


def _entry(folder: Path, choose: str) -> tuple[dict[str, Any], int]:
    """Return a model of the suite, and the side that it was trained at."""
    chosen = choose_checkpoint(folder, choose)
    content = mapped(chosen.path)
    run, args = content.get(RUN) or {}, content.get("args")
    model = str(run.get("model") or getattr(args, "model", "") or folder.name)
    try:
        model = zoo.registered_name(model)
    except RequestError as error:
        raise RequestError(f"{folder}: {error}", "", "name the module that registers it with --plugin") from error
    flags = _flags(model, run.get("flags") or {})
    entry: dict[str, Any] = {"name": _name(model, flags), "model": model, "flags": flags}
    entry |= {"checkpoint": str(chosen.path.resolve()), "selection": chosen.words}
    entry |= {"seed": int(getattr(args, "seed", 0) or 0)}
    return entry, int(getattr(args, "image_size", 512) or 512)


def _flags(model: str, trained: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of a training that a checkpoint does not answer: those that make the network another one."""
    row = zoo.BASELINES.get(model)
    answered = {*ONLY_TRAINING} if model == OWN else set()
    if row is not None:
        answered = {*row.fresh, *row.training, *row.size_flags, *(one.flag for one in row.weights)}
    defaults = {name: one.default for name, one in inspect.signature(zoo.model_class(model)).parameters.items()}
    kept = {
        name: value
        for name, value in trained.items()
        if name in defaults and name not in answered and value != defaults[name]
    }
    return {**kept, "backbone_weights": "checkpoint"} if model == OWN else kept


def _name(model: str, flags: Mapping[str, Any]) -> str:
    if model == OWN:
        variant = str(flags.get("variant", "paper"))
        changed = [f"{name}={value}" for name, value in flags.items() if name not in ("variant", "backbone_weights")]
        words = [*([] if variant in VARIANTS else [variant]), *changed]
        return VARIANTS.get(variant, "QMA-Net") + (f" ({', '.join(words)})" if words else "")
    row = zoo.BASELINES.get(model)
    if row is None:
        return model
    return row.row or (f"{zoo.BASELINES[row.corrects].row} (corrected)" if row.corrects else model)


def _name_apart(entries: Sequence[dict[str, Any]]) -> None:
    """Two trainings of one model with one seed get their folders' names."""
    count = Counter((entry["name"], entry["seed"]) for entry in entries)
    for entry in entries:
        if count[entry["name"], entry["seed"]] > 1:
            entry["name"] += f" [{Path(entry['checkpoint']).parent.name}]"


def _absent_models(models: Sequence[Mapping[str, Any]]) -> list[str]:
    there = {entry["name"] for entry in models}
    lines = [
        f"{row.row}: MODEL={row.name} runs/demo_train_baseline.sh"
        for row in zoo.BASELINES.values()
        if row.row and row.row not in there
    ]
    for variant, name in VARIANTS.items():
        if name not in there:
            lines.append(f"{name}: VARIANT={variant} runs/demo_train_qmanet.sh")
    return lines


def _absent_sets(listed: Sequence[Mapping[str, Any]]) -> list[str]:
    there = {entry["name"].partition(" (")[0] for entry in listed}
    return [
        f"{row.title}: qmanet data prepare {row.name} --raw ARCHIVE --out FOLDER; to be had at {row.source}"
        for row in SETS.values()
        if row.role == "test" and row.title not in there
    ]
