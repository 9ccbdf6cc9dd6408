"""The commands `qmanet weights ...`: published weights are listed, fetched and converted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qmanet_benco.cli.options import AsJson, print_json

app = typer.Typer(help="List, fetch, convert and calibrate weights.", no_args_is_help=True)


@app.command("list")
def weights_list(as_json: AsJson = False) -> None:
    """List published weights.

    The files that `qmanet weights fetch` knows, their terms, and which are here; then where the baselines' files are
    published.
    """
    from qmanet_benco.benco.zoo.baselines import ROWS
    from qmanet_benco.model.weights.pretrained import published_status

    rows = published_status()
    others = [
        {"model": row.name, "flag": one.flag, "about": one.what, "where": one.where}
        for row in ROWS
        for one in row.weights
    ]
    if as_json:
        print_json([*rows, *others])
        return
    for row in rows:
        typer.echo(f"{row['name']:13s} {row['path'] or '(not fetched)'}\n{'':13s} {row['about']}; {row['terms']}")
    typer.echo("\nOther models' pretrained weights, and the flag of `qmanet benco train` that takes each:")
    for other in others:
        typer.echo(f"{other['model']:16s} --{other['flag']}\n{'':16s} {other['about']}\n{'':16s} {other['where']}")


@app.command("fetch")
def weights_fetch(name: Annotated[str, typer.Argument(help="A name of `qmanet weights list`.")]) -> None:
    """Fetch published weights.

    A file goes into the cache; its SHA-256 is checked.
    """
    from qmanet_benco.model.weights.pretrained import fetch_weights

    typer.echo(fetch_weights(name))


@app.command("convert")
def weights_convert(
    source: Annotated[Path, typer.Argument(help="A SegFormer encoder's weights in any of the four namings.")],
    target: Annotated[Path, typer.Argument(help="File to write: .safetensors or .pth.")],
    to: Annotated[str, typer.Option(help="official, smp, mmseg or huggingface.")] = "mmseg",
) -> None:
    """Rename a SegFormer encoder's weights.

    Four namings are known; the values stay as they are.
    """
    from qmanet_benco.model.weights.encoders import convert_file

    report = convert_file(source, target, to)
    typer.echo(f"{target}: {report.landed} tensors from {report.naming} to {to}; left out: {len(report.ignored)}")


@app.command("calibrate")
def weights_calibrate(
    weights: Annotated[str, typer.Argument(help="A checkpoint of the trainer, .safetensors, owner/name, or demo.")],
    target: Annotated[Path, typer.Argument(help="File to write: .safetensors.")],
    images: Annotated[
        Path,
        typer.Option(help='JSON list [["photo", "mask"], ["photo", "Negative"], ...] that nothing was trained on.'),
    ],
    native: Annotated[
        bool, typer.Option("--native/--square", help="For photos at their own resolution, or resized to a square.")
    ] = True,
    false_alarms: Annotated[float, typer.Option(help="Part of the authentic photos that may get a mask.")] = 0.1,
    half: Annotated[bool, typer.Option("--half", help="16-bit floats: half the size.")] = False,
    as_json: AsJson = False,
) -> None:
    """Calibrate a model on known photos.

    Chooses the mask's threshold and makes the score a probability; both are stored with the weights.
    """
    from qmanet_benco.apps.calibrate import calibrate, read_image_list
    from qmanet_benco.model.weights.builder import load_model
    from qmanet_benco.model.weights.release import export_safetensors
    from qmanet_benco.progress import shown

    pairs = read_image_list(images)
    with shown("photos") as progress:
        outcome = calibrate(load_model(weights), pairs, native=native, false_alarms=false_alarms, progress=progress)
    export_safetensors(weights, target, half=half, calibration=outcome.calibration)
    if as_json:
        print_json(outcome.summary())
        return
    for line in outcome.lines():
        typer.echo(line)
    typer.echo(target)
