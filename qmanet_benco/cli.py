"""The console script ``qmanet``: one thin command for each capability; each imports its room when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from qmanet_benco.errors import RequestError

app = typer.Typer(
    help="QMA-Net, image manipulation localization, as a plugin of IMDL-BenCo.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
benco_app = typer.Typer(help="Run the framework's own scripts, unmodified, with QMA-Net registered.", no_args_is_help=True)
data_app = typer.Typer(help="Prepare, check and generate data sets.", no_args_is_help=True)
weights_app = typer.Typer(help="List, fetch and convert pretrained weights.", no_args_is_help=True)
app.add_typer(benco_app, name="benco")
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")

_settings = {"debug": False}


@app.callback()
def _root(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    _settings["debug"] = debug


def main() -> None:
    """Run the command line: exit code 0 done, 1 some inputs failed, 2 the request was wrong."""
    try:
        app()
    except RequestError as error:
        if _settings["debug"]:
            raise
        sys.stderr.write(f"qmanet: error: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
