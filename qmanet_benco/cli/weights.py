"""The commands `qmanet weights ...`: published weights are listed, fetched and converted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qmanet_benco.cli.options import AsJson, print_json

app = typer.Typer(help="List, fetch and convert pretrained weights.", no_args_is_help=True)


@app.command("list")
def weights_list(as_json: AsJson = False) -> None:
    """The published files that `qmanet weights fetch` knows, their terms, and which are here."""
    from qmanet_benco.model.weights.pretrained import published_status

    rows = published_status()
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['name']:13s} {row['path'] or '(not fetched)'}\n{'':13s} {row['about']}; {row['terms']}")


@app.command("fetch")
def weights_fetch(name: Annotated[str, typer.Argument(help="A name of `qmanet weights list`.")]) -> None:
    """Fetch a published file into the cache and check its SHA-256."""
    from qmanet_benco.model.weights.pretrained import fetch_weights

    typer.echo(fetch_weights(name))


@app.command("convert")
def weights_convert(
    source: Annotated[Path, typer.Argument(help="A SegFormer encoder's weights in any of the four namings.")],
    target: Annotated[Path, typer.Argument(help="File to write: .safetensors or .pth.")],
    to: Annotated[str, typer.Option(help="official, smp, mmseg or huggingface.")] = "mmseg",
) -> None:
    """Write a SegFormer encoder's weights under another naming."""
    from qmanet_benco.model.weights.naming import convert_file

    report = convert_file(source, target, to)
    typer.echo(f"{target}: {report.landed} tensors from {report.naming} to {to}; left out: {len(report.ignored)}")
