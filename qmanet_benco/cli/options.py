"""Options that several commands share, whether errors keep their traceback, and JSON on stdout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import typer

AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Let a .pth file run code; only if you trust its source.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N; by default a GPU where there is one.")]
ImageSide = Annotated[int, typer.Option(help="Side of the square that a photo is resized to; 0: the weights' own.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="MODULE_OR_FILE",
        help="A file that registers models of your own; may be given several times.",
    ),
]
Precision = Annotated[
    str, typer.Option(help="fp32, or bf16 where the processor has it: all but the noise view in bfloat16.")
]
Weights = Annotated[str, typer.Option(help="A file, owner/name on the hub, or demo.")]
Workers = Annotated[int, typer.Option(help="Processes that share the work.")]


@dataclass
class Settings:
    """The options of `qmanet` itself, as the context's object."""

    debug: bool = False


def debugging(context: typer.Context) -> bool:
    """Tell whether an error of this command keeps its traceback."""
    return context.ensure_object(Settings).debug


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2))
