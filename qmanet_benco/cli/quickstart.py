"""The command `qmanet quickstart` and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    out: Annotated[Path, typer.Argument(help="A new folder; everything goes below it.")] = Path("quickstart"),
    train_count: Annotated[int, typer.Option(help="Forgeries to train on.")] = 240,
    test_count: Annotated[int, typer.Option(help="Forgeries to test on, from other photos.")] = 60,
    epochs: Annotated[int, typer.Option(help="Passes over the training forgeries.")] = 7,
    seed: Annotated[int, typer.Option(help="Seed of the generator and of the trainer.")] = 0,
) -> None:
    """Try everything once, at a small size.

    Demo forgeries, further training of the model that ships, test, attacks, a table and a picture: minutes on a CPU.
    """
    from rich.console import Console
    from rich.table import Table

    from qmanet_benco.quickstart import run_quickstart

    summary = run_quickstart(out, train_count=train_count, test_count=test_count, epochs=epochs, seed=seed)
    table = Table(
        "forgeries from photos that were not trained on",
        "pixel-F1",
        title="the model that ships, trained further, 256 x 256",
    )
    table.add_row("a mask that marks every pixel", f"{summary.all_tampered:.3f}")
    table.add_row("the best mask that is the same for all", f"{summary.constant:.3f}")
    table.add_row("QMA-Net", f"{summary.f1:.3f}", style="bold")
    for attack, f1 in summary.attacks.items():
        table.add_row(f"QMA-Net after {attack}", f"{f1:.3f}")
    Console().print(table)
    typer.echo(f"{summary.seconds / 60:.1f} minutes; picture (photo, truth, prediction): {summary.picture}")
