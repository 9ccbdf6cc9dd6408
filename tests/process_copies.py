"""Processes that are copies of one that has imported the framework: importing costs more than most tests do."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest


def copies() -> ForkServerContext:
    """Give the context whose processes are such copies.

    Their server has run nothing: copies of the tests' own process could wait for locks of threads that they do not
    have.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qmanet_benco.benco.plugin"])
    return context


def run_in_copies(function: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """Call a function in each of several processes, with the rank before its arguments; a failure is raised here."""
    import torch

    copies()
    torch.multiprocessing.start_processes(function, arguments, count, start_method="forkserver")


def completed(
    command: Sequence[str], env: Mapping[str, str] | None = None, timeout: float = 300, **_: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command in a copy, as ``subprocess.run`` does in a new process with its output captured as text.

    Args:
        command: the interpreter, ``-m MODULE`` or ``-c CODE``, and arguments.
        env: variables; by default this process's.
        timeout: seconds.

    Raises:
        TimeoutExpired: it was ended after so long.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        arguments = (list(command[1:]), dict(os.environ if env is None else env), str(Path.cwd()), *map(str, streams))
        process = copies().Process(target=_command, args=arguments)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, process.exitcode, *(path.read_text() for path in streams))


def _command(words: list[str], environment: dict[str, str], folder: str, *streams: str) -> None:
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    execute(words)


def execute(words: Sequence[str]) -> None:
    """Do in this process what an interpreter does with ``-m MODULE`` or ``-c CODE`` and arguments."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    kind, what, *arguments = words
    sys.argv = [kind, *arguments]
    sys.path.insert(0, "")
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__"})


def members_are_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the members of groups that this process launches be copies; what launches and joins them stays."""
    from torch.distributed.launcher import api

    stock = api.elastic_launch
    copies()
    forkserver.ensure_running()  # now, not with the variables of a group

    def launch(configuration: Any, _executable: str) -> Callable[..., Any]:
        configuration.start_method = "forkserver"
        return lambda *words: stock(configuration, _member)(list(words), dict(os.environ))

    monkeypatch.setattr(api, "elastic_launch", launch)


def _member(words: list[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    os.environ.pop("QMANET_PARENT", None)  # it is another process that starts copies
    try:
        execute([word for word in words if word != "-u"])
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"a member ended with {end.code}") from end
