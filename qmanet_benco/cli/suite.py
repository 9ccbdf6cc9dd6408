"""The commands `qmanet suite ...`: models are scored, and the scores become the paper's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qmanet_benco.cli.options import Plugins, debugging
from qmanet_benco.errors import RequestError

app = typer.Typer(help="Score models x sets x attacks, and make the paper's tables.", no_args_is_help=True)


@app.command("make")
def suite_make(
    trained: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of trainings, or folders above such.")
    ],
    out: Annotated[Path, typer.Option(help="The suite file to write.")],
    sets_file: Annotated[
        Path | None, typer.Option("--sets", help="JSON {name: path}, e.g. test.json of `qmanet data protocol-cat`.")
    ] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="NAME=PATH: one more set, or another path.")] = None,
    choose: Annotated[
        str, typer.Option(help="Which checkpoint of a training: last, or best on the sets of its log.")
    ] = "last",
    image_size: Annotated[int, typer.Option(help="Side in pixels; 0: the one trained at.")] = 0,
    attacks: Annotated[bool, typer.Option(help="Add the attacks of Tables 7 and 8.")] = True,
    plugins: Plugins = None,
) -> None:
    """Write the suite that compares what was trained.

    All trainings below the folders are compared. The command says which models and sets of the paper are left out,
    and what each needs.
    """
    from qmanet_benco.benco.launch.session import prepared
    from qmanet_benco.files import write_text_atomically, writing

    with prepared(False, tuple(plugins or ())):
        from qmanet_benco.evaluation.suite.comparison import as_yaml, make_suite, read_sets

        paths = {**(read_sets(sets_file) if sets_file else {}), **_named("--set", sets or [])}
        suite, left_out = make_suite(trained, paths, choose, image_size, attacks)
        if plugins:
            suite["plugins"] = list(plugins)
        with writing(out):
            write_text_atomically(out, as_yaml({**suite, "name": out.stem}))
    for line in left_out:
        typer.echo(f"left out: {line}", err=True)
    for entry in suite["models"]:
        typer.echo(f"{entry['name']}: {entry['checkpoint']} ({entry['selection']})")
    typer.echo(f"{out}: {len(suite['models'])} models x {len(suite['sets'])} sets")
    typer.echo(f"next: qmanet suite run {out} --out {out.with_suffix('')}")


@app.command("run")
def suite_run(
    context: typer.Context,
    suite: Annotated[str, typer.Argument(metavar="SUITE.yaml", help="A file; paper.yaml and demo.yaml ship.")],
    out: Annotated[Path, typer.Option(help="A new folder, or that of an interrupted run, which goes on.")],
    nproc: Annotated[str, typer.Option(help="Processes on this machine; auto: one for each GPU.")] = "1",
    sets: Annotated[list[str] | None, typer.Option("--set", help="NAME=PATH: another path, or one more set.")] = None,
    checkpoints: Annotated[
        list[str] | None, typer.Option("--checkpoint", help="NAME=PATH of a model's trained weights.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Only this model; may be given several times.")
    ] = None,
    image_size: Annotated[int, typer.Option(help="Side in pixels, in place of the suite's.")] = 0,
    precision: Annotated[
        str, typer.Option(help="fp32, or bf16 where the processor has it, in place of the suite's.", show_default=False)
    ] = "",
    choose: Annotated[
        str, typer.Option(help="Where a checkpoint is a training's folder: last, or best on the sets of its log.")
    ] = "last",
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out models and sets whose files are missing.")
    ] = False,
    plugins: Plugins = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Let checkpoints run code; only if you trust their source.")
    ] = False,
) -> None:
    """Score models x sets x attacks.

    Every image of each is scored once; a killed run goes on; exit code 1 if a model failed.
    """
    from qmanet_benco.evaluation.suite.launch import Order, launch_suite

    order = Order(
        suite,
        str(out),
        sets=_named("--set", sets or []),
        checkpoints=_named("--checkpoint", checkpoints or []),
        models=tuple(models or ()),
        image_size=image_size,
        precision=precision,
        choose=choose,
        skip_missing=skip_missing,
        allow_pickle=allow_pickle,
        debug=debugging(context),
        plugins=tuple(plugins or ()),
    )
    raise typer.Exit(launch_suite(order, nproc))


@app.command("report")
def suite_report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of `qmanet suite run`.")],
    formats: Annotated[str, typer.Option("--format", help="Comma list of md, latex, csv, html.")] = "md,latex,csv,html",
    measured_only: Annotated[
        bool, typer.Option("--measured-only", help="Without published numbers and rows that were not measured.")
    ] = False,
    gallery: Annotated[
        int, typer.Option(help="Images of each set in the HTML file; 0: as many as keep it below 20 MB.")
    ] = 0,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--image", help="Stem of an image for Figure 3; may be given several times. By default the hardest."
        ),
    ] = None,
    figure_models: Annotated[
        list[str] | None,
        typer.Option("--figure-model", help="A model of the figures; may be given several times."),
    ] = None,
    figure_sets: Annotated[
        list[str] | None, typer.Option("--figure-set", help="A set of the figures; may be given several times.")
    ] = None,
    figure_attacks: Annotated[
        list[str] | None,
        typer.Option("--figure-attack", help="An attack of Figure 4; may be given several times."),
    ] = None,
    figure_rows: Annotated[int, typer.Option(help="Images of each set in Figure 3, where none is named.")] = 4,
) -> None:
    """Make tables and figures of a run.

    The paper's, from the run's records, beside the published numbers: DIR/report.
    """
    from qmanet_benco.evaluation.report.figures import Shown
    from qmanet_benco.evaluation.report.report import make_report

    models, sets, attacks, stems = (tuple(each or ()) for each in (figure_models, figure_sets, figure_attacks, images))
    chosen = Shown(models, sets, attacks, stems, figure_rows)
    written = make_report(
        folder, tuple(formats.split(",")), only_measured=measured_only, gallery=gallery, chosen=chosen
    )
    for path in written:
        typer.echo(path)


def _named(option: str, words: list[str]) -> dict[str, str]:
    """Read ``["CASIAv1=prepared/casiav1"]`` as a dictionary."""
    for word in words:
        if not all(word.partition("=")):
            raise RequestError(f"{option} {word}", "NAME=PATH")
    return {word.partition("=")[0]: word.partition("=")[2] for word in words}
