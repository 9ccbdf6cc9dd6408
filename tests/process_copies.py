"""Processes that are copies of one that has imported the framework: importing costs more than most tests do."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
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
