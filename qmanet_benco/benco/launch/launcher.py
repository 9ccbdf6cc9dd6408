"""Run a stock script of the framework, unmodified, with QMA-Net registered: in this process, or in several.

One process is a group of one, since the scripts score and log every image only in a group. More processes are started
by torch.distributed's elastic agent, each of which calls :func:`main`. Under a torchrun or an srun that the user
started, this process is just one of theirs.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from dataclasses import asdict, replace

from qmanet_benco.benco.launch.elastic import Group, asked_before, end_with_parent, run_group
from qmanet_benco.benco.launch.plan import Run
from qmanet_benco.benco.seam.flags import SCRIPTS, check_model, parser_of, show
from qmanet_benco.benco.seam.patches import environment
from qmanet_benco.benco.seam.world import await_group, world_of, world_of_one
from qmanet_benco.errors import RequestError
from qmanet_benco.memory import keep_freed_memory

logger = logging.getLogger(__name__)

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it."""


def launch(run: Run, group: Group | None = None) -> int:
    """Run a stock script.

    Args:
        run: the script and its flags.
        group: the processes to start; by default one.

    Returns:
        The exit code: 0, or 128 plus the signal that ended it. A crash raises the script's exception if it ran in
        this process; otherwise its traceback has been shown and the code is 1.

    Raises:
        RequestError: the request was wrong, here or in another process.
    """
    if run.script not in SCRIPTS:
        raise RequestError(f"script {run.script!r}", f"one of {', '.join(SCRIPTS)}")
    group = group or Group()
    group.check()
    several = not group.is_single()
    if several and run.script == "test_complexity":
        raise RequestError("test_complexity in several processes", "one process", "leave --nproc and --nnodes out")
    world = world_of(os.environ, launching=several)
    try:
        if world is not None:
            if several or group.max_restarts:
                logger.warning("the processes belong to a group that was started before: its launcher decides on them")
            await_group(os.environ, world)
            return _as_member(replace(run, processes=int(world["WORLD_SIZE"])), world)
        if several or group.max_restarts:
            return _start(replace(run, processes=group.size()), group)
        return _work(run, world_of_one())
    except KeyboardInterrupt:
        return INTERRUPTED


def show_flags(run: Run, model: str) -> None:
    """Print the help of a script and a model on stdout.

    Raises:
        RequestError: the model is unknown.
    """
    from qmanet_benco.benco.launch import session

    with session.prepared(run.debug, run.plugins, run.file):
        from qmanet_benco.benco.launch.stock_script import Plan

        with Plan.of(run).corrected():
            parse = parser_of(run.source)
            check_model(["--model", model])
            show(parse, model)


def _work(run: Run, world: dict[str, str], only_check: bool = False) -> int:
    """Check the inputs, then run the script in this process."""
    from qmanet_benco.benco.launch import session

    with environment(world), session.prepared(run.debug, run.plugins, run.file):
        from qmanet_benco.benco.launch.stock_script import run_script

        return run_script(run, only_check)


def _as_member(run: Run, world: dict[str, str]) -> int:
    """Run as one process of a group that somebody else started; one on each machine says what is wrong."""
    try:
        return _work(run, world)
    except RequestError:
        if world["LOCAL_RANK"] == "0" or run.debug:
            raise
        return 2


def _start(run: Run, group: Group) -> int:
    """Check here, then start the processes."""
    with contextlib.redirect_stdout(io.StringIO()):  # the processes say the same again
        _work(run, world_of_one(), only_check=True)
    description = json.dumps(asdict(replace(run, checked=True)))
    return run_group(group, __spec__.name, description, run.debug)


def main() -> int:
    """Be one process of a group that :func:`launch` started; ``sys.argv[1]`` is its :class:`Run` as JSON.

    Every error is reported to the parent process by then, so nothing is printed here.
    """
    end_with_parent()
    keep_freed_memory()
    fields = json.loads(sys.argv[1])
    run = Run(**fields | {name: tuple(fields[name]) for name in ("flags", "without", "plugins")})
    if asked_before():
        return 2
    try:
        return _work(run, {})
    except RequestError:
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        if run.debug:
            raise
        return 1
