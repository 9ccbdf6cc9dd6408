"""Measures where a suite's time goes, and what sharing its images saves.

``python runs/measure/suite_time.py [MODEL...] [--rounds N] [--images N]``. Demo forgeries of 512 x 512 pixels, as they
are and under two attacks, are scored by all models together and by each in a run of its own that loads its images
itself. The two ways take turns. Building the models is left out: it happens once for however many images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from qmanet_benco.benco import scoring
from qmanet_benco.benco.launch import session
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.attacks import NONE, Attack
from qmanet_benco.evaluation.suite import run
from qmanet_benco.evaluation.suite.suite import Generated, ModelEntry, SetEntry, Suite
from qmanet_benco.memory import keep_freed_memory
from timing import Bench, describe_machine, ratio, show

MODELS = ("AllTampered", "QMANet", "Mesorch")
FLAGS: dict[str, dict[str, Any]] = {"QMANet": {"variant": "miniature", "noise_sources": "srm,bayar"}}
ATTACKS = (NONE, Attack("jpeg", 50.0), Attack("blur", 11.0))
NETWORK, WHOLE = "network", "whole"


@contextmanager
def measured(seconds: dict[str, float]) -> Iterator[None]:
    """Add up what the networks and what all of the scoring take within the block."""
    places: tuple[tuple[Any, str, str], ...] = (
        (scoring, "predict_batch", NETWORK),
        (run._Run, "_score_cells", WHOLE),
    )
    former = [getattr(owner, name) for owner, name, _ in places]
    try:
        for (owner, name, key), work in zip(places, former, strict=True):
            setattr(owner, name, _timed(work, key, seconds))
        yield
    finally:
        for (owner, name, _), work in zip(places, former, strict=True):
            setattr(owner, name, work)


def _timed(work: Callable[..., Any], key: str, seconds: dict[str, float]) -> Callable[..., Any]:
    @wraps(work)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*args, **kwargs)
        finally:
            seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - start

    return timed


def suite_of(models: Sequence[str], count: int, size: int, workers: int | None) -> Suite:
    """A suite of random models on demo forgeries."""
    entries = tuple(ModelEntry(name=name, model=name, flags=FLAGS.get(name, {})) for name in models)
    generated = SetEntry(name="demo", generate=Generated(count=count, size=size))
    suite = Suite(models=entries, sets=(generated,), image_size=size, workers=workers, previews=0)
    return suite.model_copy(update={"attacks": ATTACKS})


def bench(models: Sequence[str], rounds: int = 3, count: int = 4, size: int = 512) -> Bench:
    """Measure.

    Args:
        models: of the framework's registry.
        rounds: each has a run of all models together, and one of each model by itself.
        count: images.
        size: their side in pixels.

    Raises:
        RequestError: a model is unknown or fails, or a number is out of range.
    """
    if rounds < 1 or count < 1:
        raise RequestError(f"{rounds} rounds, {count} images", "1 or more of both")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result = Bench(describe_machine(device), rounds)
    together: list[dict[str, float]] = []
    alone: list[dict[str, dict[str, float]]] = []
    for _ in range(rounds):
        together.append(_seconds(suite_of(models, count, size, None)))
        alone.append({name: _seconds(suite_of([name], count, size, 0)) for name in models})
    networks, wholes = ([each[key] for each in together] for key in (NETWORK, WHOLE))
    apart = [sum(each[WHOLE] for each in turn.values()) for turn in alone]
    result.ratios.append(ratio("suite", f"the networks' part of the time, {len(models)} models", networks, wholes))
    for name in models:
        one, whole = ([turn[name][key] for turn in alone] for key in (NETWORK, WHOLE))
        result.ratios.append(ratio("suite", f"the network's part of the time, {name} alone", one, whole))
    result.ratios.append(ratio("suite", "each model alone / together, all of the time", apart, wholes))
    around = [sum(each[WHOLE] - each[NETWORK] for each in turn.values()) for turn in alone]
    shared = [whole - network for whole, network in zip(wholes, networks, strict=True)]
    result.ratios.append(ratio("suite", "each model alone / together, what is not the networks'", around, shared))
    return result


def _seconds(suite: Suite) -> dict[str, float]:
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, measured(seconds):
        outcome = run.run_suite(suite, Path(folder) / "run")
    if outcome.failures:
        raise RequestError(outcome.failures[0], "models that can be scored")
    return seconds


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="Where a suite's time goes, and what sharing the images saves.")
    options.add_argument("models", nargs="*", default=list(MODELS), help="of the registry (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=3, help="interleaved runs (default: %(default)s)")
    options.add_argument("--images", type=int, default=4, help="demo forgeries (default: %(default)s)")
    options.add_argument("--image-size", type=int, default=512, help="their side in pixels (default: %(default)s)")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 2 if the request was wrong."""
    given = parser().parse_args(arguments)
    keep_freed_memory()
    try:
        with session.prepared(False):
            result = bench(given.models, given.rounds, given.images, given.image_size)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    show(result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
