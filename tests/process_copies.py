"""Processes that are copies of one that has imported the framework: importing costs more than most tests do."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext
from typing import Any


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
