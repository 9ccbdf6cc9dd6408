"""The console script ``qmanet``: puts the commands together and turns wrong requests into exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from qmanet_benco import __version__
from qmanet_benco.cli import benco, cost, data, doctor, photo, quickstart, suite, weights
from qmanet_benco.cli.options import Settings
from qmanet_benco.errors import RequestError, missing_module
from qmanet_benco.memory import keep_freed_memory

PAGE = "app"
"""The one command that waits most of the time, and so gives memory back."""

app = typer.Typer(
    help="QMA-Net marks the forged pixels of photos, and is a plugin of IMDL-BenCo.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(quickstart.quickstart)
app.command()(photo.predict)
app.command()(photo.explain)
app.command()(photo.export)
app.command(PAGE)(photo.web_page)
app.command()(cost.cost)
app.command()(doctor.doctor)
app.command("noise-cache")(benco.noise_cache)
app.add_typer(benco.app, name="benco")
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.add_typer(suite.app, name="suite")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"qmanet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has answered
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    context.ensure_object(Settings).debug = debug
    if context.invoked_subcommand != PAGE:
        keep_freed_memory()


def main() -> None:
    """Run the command line: exit code 0 done, 1 some inputs failed, 2 the request was wrong."""
    settings = Settings()
    try:
        app(obj=settings)
    except RequestError as error:
        if settings.debug:
            raise
        _refuse(error)
    except OSError as error:
        if settings.debug or error.filename is None:
            raise
        _refuse(RequestError(f"{error.filename}: {error.strerror}", "a path that you may use"))
    except ModuleNotFoundError as error:
        if settings.debug or (error.name or "").startswith("qmanet_benco"):
            raise
        _refuse(missing_module(error))


def _refuse(error: RequestError) -> None:
    sys.stderr.write(f"qmanet: error: {error}\n")
    raise SystemExit(2) from None


if __name__ == "__main__":
    main()
