"""The commands `qmanet data ...`: sets are made, prepared and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qmanet_benco.cli.options import AsJson, Workers, print_json
from qmanet_benco.errors import RequestError

if TYPE_CHECKING:
    from qmanet_benco.data.check.check import SetReport
    from qmanet_benco.data.prepare.writer import PrepareOptions

app = typer.Typer(help="Prepare, check and generate data sets.", no_args_is_help=True)

LOG_WIDTH = 160
"""Characters of the table in a log, where rich would assume 80 and cut the paths."""
SHOWN = 20
"""Findings of one set that are written out; JSON has them all."""


@app.command("demo")
def data_demo(
    out: Annotated[Path, typer.Argument(help="A new folder: OUT/train, OUT/test, OUT/test.json, OUT/manifest.csv.")],
    train_count: Annotated[int, typer.Option(help="Forgeries to train on.")] = 480,
    test_count: Annotated[int, typer.Option(help="Forgeries to test on, from other photos.")] = 60,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of authentic photos; by default those that the dependencies ship.")
    ] = None,
    train_photos: Annotated[
        Path | None, typer.Option(help="Folder of more photos, for training forgeries only.")
    ] = None,
    test_photos: Annotated[
        Path | None,
        typer.Option(help="Folder of photos for test forgeries only; those of --photos are then for training only."),
    ] = None,
    largest_crop: Annotated[
        float,
        typer.Option(help="A forgery is made from crops with a side of 1 to so many times --size."),
    ] = 2.2,
    pasted: Annotated[
        float, typer.Option(help="Part of the forgeries that are cut and pasted as in a photo editor, from 0 to 1.")
    ] = 0.0,
    edited: Annotated[
        float,
        typer.Option(help="Part of the images whose regions follow the outline of a thing, from 0 to 1."),
    ] = 0.0,
    authentic: Annotated[
        float, typer.Option(help="Part of the images that are authentic and go into Au, from 0 to 1.")
    ] = 0.0,
    twins: Annotated[
        bool,
        typer.Option(
            "--twins", help="Beside each edited forgery the same picture without the forgery, saved alike, in Au."
        ),
    ] = False,
    workers: Workers = 1,
) -> None:
    """Make forgeries from authentic photos.

    Splices, copy-moves and removals with exact masks. Training and test share no photo.
    """
    from qmanet_benco.data.forge.demo import make_demo
    from qmanet_benco.data.forge.forgery import ForgeryKnobs
    from qmanet_benco.progress import shown

    with shown("forgeries") as progress:
        made = make_demo(
            out,
            train_count=train_count,
            test_count=test_count,
            size=size,
            seed=seed,
            photos=photos,
            train_photos=train_photos,
            test_photos=test_photos,
            pasted=pasted,
            edited=edited,
            authentic=authentic,
            twins=twins,
            workers=workers,
            knobs=ForgeryKnobs(crop_scale=(1.0, largest_crop)),
            progress=progress,
        )
    typer.echo(f"{made.train}: {train_count} forgeries; {made.test}: {test_count} from other photos")


@app.command("prepare")
def data_prepare(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SET",
            help="casiav1, casiav2, columbia, coverage, nist16, imd2020, fantasticreality, tampcoco, cocoglide, "
            "autosplice; or all: every folder of --raw that is named after one.",
        ),
    ],
    raw: Annotated[Path, typer.Option(help="Folder of the unpacked archive; only read.")],
    out: Annotated[Path, typer.Option(help="A new folder, or one that the same command began.")],
    authentic: Annotated[bool, typer.Option("--authentic", help="The authentic images too, as Negative.")] = False,
    long_side: Annotated[
        int | None, typer.Option(help="Scale larger images down; the field uses 1024 (NIST16).")
    ] = None,
    resampler: Annotated[str, typer.Option(help="lanczos, bicubic, hamming, bilinear, box or nearest.")] = "lanczos",
    jpeg_level: Annotated[int, typer.Option(help="AutoSplice: 100, 90 or 75.")] = 100,
    workers: Workers = 1,
) -> None:
    """Put a data set into the framework's format.

    One of the ten sets, or all, as OUT/Tp, OUT/Gt, OUT/manifest.csv and OUT/left_out.csv.
    """
    from qmanet_benco.data.prepare.prepare import raw_folders
    from qmanet_benco.data.prepare.writer import PrepareOptions
    from qmanet_benco.data.sets import SETS

    options = PrepareOptions(authentic, long_side, resampler, jpeg_level)
    if name.casefold() != "all":
        raise typer.Exit(1 if _prepare_one(name, raw, out, options, workers) else 0)
    folders = raw_folders(raw)
    made = [_prepare_one(one, folder, out / one, options, workers, others=True) for one, folder in folders.items()]
    for one, row in SETS.items():
        if one not in folders:
            typer.echo(f"left out: {row.title}: no folder {raw / one}; to be had at {row.source}", err=True)
    raise typer.Exit(1 if any(made) else 0)


def _prepare_one(
    name: str, raw: Path, out: Path, options: PrepareOptions, workers: int, *, others: bool = False
) -> bool:
    """Prepare a set and say what came of it: True if something failed. With ``others`` an error ends only this one."""
    from qmanet_benco.data.prepare.prepare import prepare
    from qmanet_benco.progress import shown

    try:
        with shown("images") as progress:
            made = prepare(name, raw, out, options, workers=workers, progress=progress)
    except RequestError as error:
        if not others:
            raise
        typer.echo(f"failed: {name}: {error}", err=True)
        return True
    also = f", {made.authentic} authentic" if made.authentic else ""
    typer.echo(f"{made.out}: {made.tampered} pairs{also}; left out: {made.left_out} (left_out.csv says why)")
    for path in made.lists:
        typer.echo(path)
    typer.echo(f"SHA-256 of the set: {made.digest}")
    if made.failed:
        typer.echo(f"{made.failed} of the left-out files should have been usable", err=True)
    return bool(made.failed)


@app.command("check")
def data_check(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Prepared folders or JSON lists.")],
    name: Annotated[str | None, typer.Option("--set", help="Compare with this set of Tables 3 and 4.")] = None,
    workers: Annotated[int, typer.Option(help="Images at a time.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Check prepared data sets.

    Pairing, sizes, mask values, counts against the paper, files that two sets share. Exit code 1 on a failure.
    """
    from qmanet_benco.data.check.check import check, to_json
    from qmanet_benco.progress import shown

    with shown("images") as progress:
        reports = check(paths, name, workers=workers, progress=progress)
    if as_json:
        print_json(to_json(reports))
    else:
        _show_reports(reports)
    raise typer.Exit(1 if any(report.failed for report in reports) else 0)


@app.command("protocol-cat")
def data_protocol_cat(
    root: Annotated[Path, typer.Option(help="Folder of prepared sets.")],
    out: Annotated[Path, typer.Option(help="Folder for train.json and test.json.")],
) -> None:
    """Write the paper's lists.

    Its training list (seven entries) and test list, from prepared sets; says which sets are missing.
    """
    from qmanet_benco.data.protocol import write_protocol

    made = write_protocol(root, out)
    typer.echo(f"{made.train}: {made.entries} of 7 entries\n{made.test}: {made.tests} of 6 sets")
    for what, command in made.missing.items():
        typer.echo(f"missing: {what}: {command}", err=True)
    raise typer.Exit(1 if made.missing else 0)


def _show_reports(reports: Sequence[SetReport]) -> None:
    """Print one line for each set, then what is wrong with it or worth knowing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from qmanet_benco.data.check.check import FAILURE

    console = Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=LOG_WIDTH)
    table = Table("path", "set", "tampered", "paper", "authentic", "smallest", "largest", "failures", "notes")
    for report in reports:
        failures = sum(finding.level == FAILURE for finding in report.findings)
        table.add_row(
            escape(report.path),
            report.set or "-",
            str(report.tampered),
            "-" if report.expected is None else str(report.expected),
            str(report.authentic),
            _size(report.smallest),
            _size(report.largest),
            str(failures),
            str(len(report.findings) - failures),
        )
    console.print(table)
    for report in reports:
        worst_first = sorted(report.findings, key=lambda finding: finding.level != FAILURE)
        for finding in worst_first[:SHOWN]:
            line = f"{finding.level}: {finding.file or report.path}: {finding.what}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if len(worst_first) > SHOWN:
            console.print(f"{report.path}: {len(worst_first) - SHOWN} more (--json has all)", markup=False)


def _size(size: tuple[int, int] | None) -> str:
    return "-" if size is None else f"{size[0]} x {size[1]}"
