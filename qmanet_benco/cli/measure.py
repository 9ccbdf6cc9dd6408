"""The commands `qmanet bench` and `qmanet noise-map`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qmanet_benco.cli.options import AsJson, debugging, print_json


def bench(
    context: typer.Context,
    parts: Annotated[
        str,
        typer.Option(help="Comma list of inference, training, checkpointing, growth, cache, loading, import."),
    ] = "inference,training,checkpointing,growth,cache,loading,import",
    rounds: Annotated[
        int,
        typer.Option(help="Interleaved runs; shown are median and quartiles, of fewer than four extremes."),
    ] = 5,
    image_size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 512,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Speed of inference and training beside TruFor and Mesorch, as ratios of interleaved runs on this machine."""
    from functools import partial

    from qmanet_benco.apps.engines.engines import build_engine
    from qmanet_benco.benco import scoring
    from qmanet_benco.benco.launch import session
    from qmanet_benco.evaluation import speed, turns

    with session.prepared(debugging(context)), scoring.as_the_test_script():
        result = speed.bench(
            [part.strip() for part in parts.split(",") if part.strip()],
            rounds=rounds,
            image_size=image_size,
            device=device,
            engines={name: partial(build_engine, engine=name) for name in ("openvino", "onnx")},
            say=lambda part: typer.echo(f"measuring: {part}", err=True),
        )
    if as_json:
        print_json(result.to_json())
    else:
        turns.show(result)


def noise_map(
    photos: Annotated[
        list[Path] | None, typer.Argument(metavar="[PHOTO]...", help="By default ten that the dependencies ship.")
    ] = None,
    weights: Annotated[str, typer.Option(help="NoisePrint++: a file, or a name of `qmanet weights list`.")] = (
        "noiseprint++"
    ),
    image_size: Annotated[int, typer.Option(help="Photos are resized to this side.")] = 512,
    as_json: AsJson = False,
) -> None:
    """What the framework's input does to TruFor's noise map, photo by photo."""
    from dataclasses import asdict

    from qmanet_benco.evaluation import noise_map as room

    rows = room.compare(weights, photos or (), image_size)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        room.show(rows)
