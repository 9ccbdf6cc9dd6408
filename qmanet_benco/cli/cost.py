"""The command `qmanet cost` and its table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qmanet_benco.cli.options import AsJson, Plugins, print_json

if TYPE_CHECKING:
    from qmanet_benco.evaluation.cost import Cost


def cost(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A registered model; may be given several times. By default all of Table 10.",
        ),
    ] = None,
    variants: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="NAME", help="A variant of QMA-Net; may be given several times."),
    ] = None,
    plugins: Plugins = None,
    out: Annotated[Path | None, typer.Option(help="A folder for cost.csv and cost.tex.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what models cost.

    Table 10: parameters, multiply-adds, FLOPs, latency and peak memory on this machine's CPU, published beside.
    """
    from dataclasses import asdict

    from qmanet_benco.evaluation import cost as room

    rows, failures = room.measure_all(room.subjects(models or (), variants or (), tuple(plugins or ())))
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        show(rows)
    if out is not None:
        from qmanet_benco.evaluation.report.costs import write_costs

        for path in write_costs(rows, out):
            typer.echo(path, err=as_json)
    for line in failures:
        typer.echo(f"failed: {line}", err=True)
    raise typer.Exit(1 if failures else 0)


def show(rows: Iterable[Cost]) -> None:
    """Print Table 10 on stdout, with what is not counted and the known faults below it."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from qmanet_benco.evaluation.cost import NOT_COUNTED

    titles = (
        "model",
        "side",
        "params M",
        "MACs G",
        "FLOPs G (2 x)",
        "latency s",
        "peak MiB",
        "published M",
        "published G",
        "MACs to published",
    )
    table = Table(*titles, title=f"Batch 1, CPU, {torch.get_num_threads()} threads")
    notes = []
    for row in rows:
        numbers = (row.params_m, row.macs_g, row.flops_g, row.latency_s, row.peak_mib)
        published = (row.published_params_m, row.published_flops_g)
        shown = ["" if number is None else f"{number:.1f}" for number in (*numbers, *published)]
        shown.append("" if row.published_flops_g is None else f"{row.macs_g / row.published_flops_g - 1:+.1%}")
        table.add_row(f"{row.model} {row.variant}".strip(), str(row.image_size), *shown)
        notes += [f"{row.model}: {row.note}"] if row.note else []
    console = Console()
    if not console.is_terminal:  # nothing is cut in a pipe or a log
        console = Console(width=200)
    console.print(table)
    console.print(f"Not counted: {'; '.join(NOT_COUNTED)}. The published column is the paper's Table 10.")
    for note in notes:
        console.print(note)
