"""Start a suite: in this process, in a group that it starts, or in one that somebody else started."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qmanet_benco.benco.launch import elastic
from qmanet_benco.benco.seam.patches import environment
from qmanet_benco.benco.seam.world import await_group, world_of
from qmanet_benco.errors import RequestError
from qmanet_benco.memory import keep_freed_memory
from qmanet_benco.precision import known
from qmanet_benco.progress import shown

if TYPE_CHECKING:
    from qmanet_benco.evaluation.suite.run import Outcome
    from qmanet_benco.evaluation.suite.suite import ModelEntry, Suite


@dataclass(frozen=True)
class Order:
    """What the command line asked for."""

    suite: str
    out: str
    sets: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    image_size: int = 0
    """0: the suite's."""
    precision: str = ""
    """Empty: the suite's."""
    choose: str = ""
    """Which checkpoint of a training's folder: last or best."""
    skip_missing: bool = False
    allow_pickle: bool = False
    debug: bool = False
    plugins: tuple[str, ...] = ()
    """Modules and files that register models of the user's own, beside those that the suite names."""


def launch_suite(order: Order, nproc: str = "1") -> int:
    """Run a suite and say what came of it.

    Args:
        order: the suite, the folder, and what replaces the suite's own words.
        nproc: processes on this machine.

    Returns:
        0; 1 if a model failed and the others were scored.

    Raises:
        RequestError: the request was wrong.
    """
    group = elastic.Group(nproc)
    group.check()
    world = world_of(os.environ, launching=not group.is_single())
    if world is not None:
        await_group(os.environ, world)
    if world is not None or group.is_single():
        return _work(order, world)
    _read(order)  # a mistake in the file is told by this process
    return elastic.run_group(group, __spec__.name, json.dumps(asdict(order)), order.debug)


def _read(order: Order) -> Suite:
    from qmanet_benco.evaluation.suite.suite_file import read_suite, with_choices

    suite = with_choices(read_suite(order.suite), order.sets, order.checkpoints, order.models)
    size = order.image_size or suite.image_size
    models = tuple(_chosen(suite, order))
    chosen = {"plugins": (*suite.plugins, *order.plugins), "image_size": size, "models": models}
    if order.precision:
        chosen["precision"] = known(order.precision)
    return suite.model_copy(update=chosen)


def _chosen(suite: Suite, order: Order) -> Iterator[ModelEntry]:
    """Find the files of the models' checkpoints; with --skip-missing a folder without one is left out later."""
    from qmanet_benco.evaluation.suite.comparison import with_checkpoint

    for entry in suite.models:
        try:
            yield with_checkpoint(entry, order.choose)
        except RequestError:
            if not order.skip_missing:
                raise
            yield entry


def _work(order: Order, world: Mapping[str, str] | None) -> int:
    from qmanet_benco.benco.launch import session  # it imports torch

    suite = _read(order)
    try:
        with environment(dict(world or {})), session.prepared(order.debug, suite.plugins):
            from qmanet_benco.evaluation.suite.processes import joined
            from qmanet_benco.evaluation.suite.run import run_suite

            with joined(world) as processes, shown("images") as progress:
                outcome = run_suite(
                    suite,
                    Path(order.out),
                    processes=processes,
                    allow_pickle=order.allow_pickle,
                    skip_missing=order.skip_missing,
                    progress=progress if processes.rank == 0 else None,
                )
    except Exception as error:
        elastic.report(error)
        raise
    if processes.rank == 0:
        _tell(outcome, Path(order.out))
    return 1 if outcome.failures else 0


def _tell(outcome: Outcome, out: Path) -> None:
    for line in outcome.failures:
        sys.stderr.write(f"failed: {line}\n")
    sys.stdout.write(f"{out}: {outcome.scored} images scored, {outcome.kept} kept from an earlier run\n")
    sys.stdout.write(f"next: qmanet suite report {out}\n")
    sys.stdout.flush()


def main() -> int:
    """Be one process of a group; ``sys.argv[1]`` is its :class:`Order` as JSON."""
    elastic.end_with_parent()
    keep_freed_memory()
    fields = json.loads(sys.argv[1])
    order = Order(**fields | {name: tuple(fields[name]) for name in ("models", "plugins")})
    try:
        code = _work(order, world_of(os.environ))
    except RequestError:
        return 2
    except Exception:
        if order.debug:
            raise
        return 1
    return 0 if code == 1 and int(os.environ.get("RANK", "0")) else code
