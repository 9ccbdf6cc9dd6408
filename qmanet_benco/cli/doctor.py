"""The command `qmanet doctor` and its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from qmanet_benco.cli.options import AsJson, print_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from qmanet_benco.benco.launch.doctor import Diagnosis, Patch


def doctor(as_json: AsJson = False) -> None:
    """Check this installation.

    What is installed, what is corrected in the framework on this machine, and what is missing.
    """
    from qmanet_benco.benco.launch import doctor as room

    diagnosis = room.diagnose()
    if as_json:
        print_json(diagnosis.to_json())
    else:
        show(diagnosis)
    raise typer.Exit(0 if diagnosis.healthy else 1)


def show(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Print the machine, the patches, the weights and what is missing as tables, on stdout by default."""
    from rich.console import Console
    from rich.markup import escape

    from qmanet_benco.benco.launch.doctor import verdict

    console = console or Console()
    machine = _table("machine", "what", "found")
    machine.add_row("Python", diagnosis.python)
    for name, version in diagnosis.packages.items():
        machine.add_row(name, version or "not installed")
    machine.add_row("device", ", ".join(diagnosis.devices))
    machine.add_row("cores, memory", f"{diagnosis.cores}, {diagnosis.memory_gb} GB")
    machine.add_row("import cv2", diagnosis.opencv)
    patches = _table(
        "the framework's scripts as `qmanet benco` runs them",
        "correction",
        "here",
        "line of IMDLBenCo",
        "what it is for",
    )
    for patch in diagnosis.patches:
        patches.add_row(patch.name, "on" if patch.active else "off", f"{patch.stock}{_remark(patch)}", patch.why)
    weights = _table("published weights", "name", "file")
    for row in diagnosis.weights:
        weights.add_row(row["name"], row["path"] or "not fetched")
    missing = _table("missing", "what", "command that gets it")
    for entry in diagnosis.missing:
        missing.add_row(entry.what, escape(entry.command))
    causes = _table("differs from run to run on CUDA, with one seed", "operation", "where", "with --deterministic")
    for cause in diagnosis.nondeterministic:
        causes.add_row(cause.operation, cause.where, cause.with_switch)
    for table in (machine, patches, weights, causes, missing):
        if table.row_count:
            console.print(table)
    console.print(verdict(diagnosis), highlight=False, markup=False, soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    """Make a table that breaks long words rather than cutting them off: they are there to be copied."""
    from rich.table import Column, Table

    return Table(*(Column(column, overflow="fold") for column in columns), title=title)


def _remark(patch: Patch) -> str:
    return {True: "", False: " (not there: another release?)", None: " (framework not installed)"}[patch.found]
