"""The console script ``qmanet``: one thin command for each capability; each imports its room when it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from qmanet_benco.errors import RequestError, printable
from qmanet_benco.memory import keep_freed_memory

app = typer.Typer(
    help="QMA-Net, image manipulation localization, as a plugin of IMDL-BenCo.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
benco_app = typer.Typer(help="Run the framework's own scripts, unmodified, with QMA-Net.", no_args_is_help=True)
data_app = typer.Typer(help="Prepare, check and generate data sets.", no_args_is_help=True)
weights_app = typer.Typer(help="List, fetch and convert pretrained weights.", no_args_is_help=True)
suite_app = typer.Typer(help="Score models x sets x attacks, and make the paper's tables.", no_args_is_help=True)
app.add_typer(benco_app, name="benco")
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")
app.add_typer(suite_app, name="suite")

_settings = {"debug": False}


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    _settings["debug"] = debug
    if context.invoked_subcommand != "app":  # a page that waits most of the time gives memory back
        keep_freed_memory()


@app.command()
def quickstart(
    out: Annotated[Path, typer.Argument(help="A new folder; everything goes below it.")] = Path("quickstart"),
    train_count: Annotated[int, typer.Option(help="Forgeries to train on.")] = 960,
    test_count: Annotated[int, typer.Option(help="Forgeries to test on, from other photos.")] = 60,
    epochs: Annotated[int, typer.Option(help="Passes over the training forgeries.")] = 7,
    seed: Annotated[int, typer.Option(help="Of the generator and of the trainer.")] = 0,
) -> None:
    """Demo forgeries, training, test, attacks, a table and a picture: some minutes on a laptop's CPU."""
    from rich.console import Console
    from rich.table import Table

    from qmanet_benco.quickstart import run_quickstart

    summary = run_quickstart(out, train_count=train_count, test_count=test_count, epochs=epochs, seed=seed)
    table = Table("forgeries from photos that were not trained on", "pixel-F1", title="QMA-Net, miniature, 128 x 128")
    table.add_row("all-tampered mask (the floor)", f"{summary.floor:.3f}")
    table.add_row("best mask that is the same for all", f"{summary.constant:.3f}")
    table.add_row("QMA-Net", f"{summary.f1:.3f}", style="bold")
    for attack, f1 in summary.attacks.items():
        table.add_row(f"QMA-Net after {attack}", f"{f1:.3f}")
    Console().print(table)
    typer.echo(f"{summary.seconds / 60:.1f} minutes; picture (photo, truth, prediction): {summary.picture}")


@data_app.command("demo")
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
        Path | None, typer.Option(help="Folder of further ones, for training forgeries only.")
    ] = None,
    largest_crop: Annotated[
        float,
        typer.Option(help="Largest side of the crops of photos that forgeries are made from, in sizes; 1 or more."),
    ] = 2.2,
    pasted: Annotated[
        float, typer.Option(help="Part of the forgeries that are cut and pasted as in an editor, from 0 to 1.")
    ] = 0.0,
    edited: Annotated[
        float,
        typer.Option(help="Part of the images with regions that have the outline of things, from 0 to 1."),
    ] = 0.0,
    authentic: Annotated[
        float, typer.Option(help="Part of the images that are authentic and go into Au, from 0 to 1.")
    ] = 0.0,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Make forgeries from authentic photos: splice, copy-move, removal; tests share no photo with training."""
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
            pasted=pasted,
            edited=edited,
            authentic=authentic,
            workers=workers,
            knobs=ForgeryKnobs(crop_scale=(1.0, largest_crop)),
            progress=progress,
        )
    typer.echo(f"{made.train}: {train_count} forgeries; {made.test}: {test_count} from other photos")


@data_app.command("study")
def data_study(
    casia: Annotated[Path, typer.Argument(help="Folder with Tp, Gt and Au, named as in CASIA v1.")],
    out: Annotated[
        Path, typer.Argument(help="A new folder: OUT/train, OUT/val_generated, OUT/val_real, OUT/val_crops.")
    ],
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 128,
    generated: Annotated[int, typer.Option(help="Forgeries to train on whose region has another history.")] = 1200,
    pasted: Annotated[int, typer.Option(help="Forgeries to train on that were cut and pasted.")] = 1200,
    validation: Annotated[int, typer.Option(help="Forgeries to validate on, from other photos.")] = 160,
    copies: Annotated[int, typer.Option(help="Varied copies of each real training pair.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the split and of everything that is drawn.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """The architecture study's set: real pairs and forgeries of their photos; validation shares no photo."""
    from qmanet_benco.data.study_set import make_study_set
    from qmanet_benco.progress import shown

    with shown("images") as progress:
        made = make_study_set(
            casia,
            out,
            size=size,
            generated=generated,
            pasted=pasted,
            validation=validation,
            copies=copies,
            seed=seed,
            workers=workers,
            progress=progress,
        )
    typer.echo(f"{made.train}, {made.generated}, {made.real}, {made.crops}")


@data_app.command("prepare")
def data_prepare(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SET",
            help="casiav1, casiav2, columbia, coverage, nist16, imd2020, fantasticreality, tampcoco, cocoglide, "
            "autosplice.",
        ),
    ],
    raw: Annotated[Path, typer.Option(help="Folder of the unpacked archive; only read.")],
    out: Annotated[Path, typer.Option(help="A new folder, or one that the same command began.")],
    authentic: Annotated[bool, typer.Option("--authentic", help="Also the authentic images, as Negative.")] = False,
    long_side: Annotated[
        int | None, typer.Option(help="Scale larger images down; the field uses 1024 (NIST16).")
    ] = None,
    resampler: Annotated[str, typer.Option(help="lanczos, bicubic, hamming, bilinear, box or nearest.")] = "lanczos",
    jpeg_level: Annotated[int, typer.Option(help="AutoSplice: 100, 90 or 75.")] = 100,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Put one of the ten sets into the framework's format: OUT/Tp, OUT/Gt, OUT/manifest.csv, OUT/left_out.csv."""
    from qmanet_benco.data.prepare.prepare import prepare
    from qmanet_benco.data.prepare.writer import PrepareOptions
    from qmanet_benco.progress import shown

    options = PrepareOptions(authentic, long_side, resampler, jpeg_level)
    with shown("images") as progress:
        made = prepare(name, raw, out, options, workers=workers, progress=progress)
    also = f", {made.authentic} authentic" if made.authentic else ""
    typer.echo(f"{made.out}: {made.tampered} pairs{also}; left out: {made.left_out} (left_out.csv says why)")
    for path in made.lists:
        typer.echo(path)
    if made.failed:
        typer.echo(f"{made.failed} of the left-out files should have been usable", err=True)
    raise typer.Exit(1 if made.failed else 0)


@data_app.command("check")
def data_check(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Prepared folders or JSON lists.")],
    name: Annotated[str | None, typer.Option("--set", help="Compare with this set of Tables 3 and 4.")] = None,
    workers: Annotated[int, typer.Option(help="Images at a time.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Pairing, sizes, mask values, counts against the paper, files that two sets share; exit code 1 on a failure."""
    from qmanet_benco.data.check.check import check, to_json
    from qmanet_benco.data.check.report import show_reports
    from qmanet_benco.progress import shown

    with shown("images") as progress:
        reports = check(paths, name, workers=workers, progress=progress)
    if as_json:
        typer.echo(json.dumps(to_json(reports), indent=2))
    else:
        show_reports(reports)
    raise typer.Exit(1 if any(report.failed for report in reports) else 0)


@data_app.command("protocol-cat")
def data_protocol_cat(
    root: Annotated[Path, typer.Option(help="Folder of prepared sets.")],
    out: Annotated[Path, typer.Option(help="Folder for train.json and test.json.")],
) -> None:
    """The paper's training list (seven entries) and test list, from prepared sets; says which sets are missing."""
    from qmanet_benco.data.protocol import write_protocol

    made = write_protocol(root, out)
    typer.echo(f"{made.train}: {made.entries} of 7 entries\n{made.test}: {made.tests} of 6 sets")
    for what, command in made.missing.items():
        typer.echo(f"missing: {what}: {command}", err=True)
    raise typer.Exit(1 if made.missing else 0)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Photos and folders of photos.")],
    weights: Annotated[
        str, typer.Option(help="A file (.onnx and .xml of `qmanet export` too), owner/name on the hub, or demo.")
    ] = "demo",
    out: Annotated[Path, typer.Option(help="Folder for masks, heat maps, probabilities and records.")] = Path(
        "predictions"
    ),
    native: Annotated[bool, typer.Option("--native", help="At the photo's own resolution, in tiles.")] = False,
    image_size: Annotated[int, typer.Option(help="Side to resize to; 0: the one of the weights.")] = 0,
    threshold: Annotated[float, typer.Option(help="Probability above which a pixel is called tampered.")] = 0.5,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N; by default a GPU where there is one.")] = "",
    engine: Annotated[
        str, typer.Option(help="torch, openvino or onnx (both on the CPU); by default the file's own, else torch.")
    ] = "",
    threads: Annotated[int, typer.Option(help="On the CPU; 0: the engine's default.")] = 0,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Let a .pth file run code.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Find what was tampered with: OUT/STEM.mask.png, .heatmap.png, .probability.png (16 bits) and .json."""
    from qmanet_benco.apps.engines.engines import load_localizer
    from qmanet_benco.apps.outputs import predict_all
    from qmanet_benco.apps.photo import photos_below
    from qmanet_benco.model.weights.builder import DEMO
    from qmanet_benco.progress import shown

    if native and image_size:
        raise RequestError(f"--native and --image-size {image_size}", "one of the two")
    if weights == DEMO:
        typer.echo("the demonstration model: small, trained on generated forgeries; no evidence of anything", err=True)
    photos = photos_below(images)
    model = load_localizer(weights, engine, device=device, threads=threads, allow_pickle=allow_pickle)
    records = []
    with shown("photos") as progress:
        for record in predict_all(
            model, photos, out, weights=weights, native=native, image_size=image_size, threshold=threshold
        ):
            records.append(record)
            progress(len(records), len(photos))
            if "error" in record:
                typer.echo(record["error"], err=True)
            elif not as_json:
                said = f"score {record['score']:.3f}, {record['tampered_fraction']:.1%} tampered"
                typer.echo(f"{printable(record['file'])}: {said}, {printable(str(out / record['outputs'][0]))}")
    if as_json:
        typer.echo(json.dumps(records, indent=2))
    raise typer.Exit(1 if any("error" in record for record in records) else 0)


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photo.")],
    out: Annotated[Path, typer.Option(help="The figure to write: .png, .pdf or .svg.")],
    weights: Annotated[str, typer.Option(help="A file, owner/name on the hub, or demo.")] = "demo",
    compare: Annotated[str, typer.Option(metavar="W2", help="A second model's weights, drawn beside.")] = "",
    mask: Annotated[
        Path | None, typer.Option(help="Mask whose pixels are explained; by default what the model calls tampered.")
    ] = None,
    without_interaction: Annotated[
        bool, typer.Option("--without-interaction", help="Also with the interaction of the two branches switched off.")
    ] = False,
    image_size: Annotated[int, typer.Option(help="Side to resize to; 0: the one of the weights.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N; by default a GPU where there is one.")] = "",
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Let a .pth file run code.")] = False,
) -> None:
    """Grad-CAM of every stage and level, and what the tamper queries look at, as in the paper's Figures 1 and 6."""
    from qmanet_benco.apps.engines.engines import chosen_device
    from qmanet_benco.apps.explain.explain import check_target, labels, write_explanation
    from qmanet_benco.model.weights.builder import load_model

    where = chosen_device(device)
    sources = [weights, compare] if compare else [weights]
    check_target(out, [image, *([] if mask is None else [mask]), *map(Path, sources)])
    models = {
        label: load_model(source, where, allow_pickle) for label, source in zip(labels(sources), sources, strict=True)
    }
    found = write_explanation(image, out, models, mask=mask, interaction_off=without_interaction, image_size=image_size)
    for name, each in found.items():
        typer.echo(f"{name}: {len(each.panels)} panels; Grad-CAM's target: {each.target}", err=True)
    typer.echo(out)


@app.command()
def export(
    weights: Annotated[str, typer.Option(help="A checkpoint of the trainer, .safetensors, owner/name, or demo.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    file_format: Annotated[
        str, typer.Option("--format", help="safetensors, onnx, or openvino (OUT.xml and OUT.bin).")
    ] = "safetensors",
    image_size: Annotated[int, typer.Option(help="Side that the weights were trained for, stored with them.")] = 0,
    half: Annotated[bool, typer.Option("--half", help="16-bit floats: half the size.")] = False,
) -> None:
    """Write a model for others, run or load what was written, and state the largest difference."""
    if file_format == "safetensors":
        from qmanet_benco.model.weights.release import export_safetensors

        difference = export_safetensors(weights, out, image_size=image_size, half=half)
    else:
        from qmanet_benco.apps.engines.export import export_graph

        if half:
            raise RequestError("--half", "--format safetensors", "the engines' files are in 32 bits")
        difference = export_graph(weights, out, file_format, image_size=image_size)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, largest difference of a probability {difference:.1e}")


@app.command("app")
def web_page(
    host: Annotated[str, typer.Option(help="Address to serve at; any but this machine's own needs --public.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0: any free one.")] = 7860,
    public: Annotated[bool, typer.Option("--public", help="Let other machines in.")] = False,
    weights: Annotated[str, typer.Option(help="A file, owner/name on the hub, or demo.")] = "demo",
    max_megapixels: Annotated[float, typer.Option(help="Of one photo.")] = 50,
    max_megabytes: Annotated[float, typer.Option(help="Of one upload.")] = 64,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N; by default a GPU where there is one.")] = "",
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Let a .pth file run code.")] = False,
) -> None:
    """A local web page: drop a photo, see mask, noise view and explanation. Ctrl-C ends it."""
    from qmanet_benco.apps.web.limits import Limits
    from qmanet_benco.apps.web.server import Address, run_page

    address, limits = Address(host, port, public), Limits(max_megapixels, max_megabytes)
    if not address.is_local:
        typer.echo("warning: other machines can reach this page; it asks for no password", err=True)
    run_page(weights, address, limits, device, allow_pickle, say=typer.echo)


@app.command()
def cost(
    models: Annotated[
        list[str] | None, typer.Option("--model", help="A registered model; repeat. By default all of Table 10.")
    ] = None,
    variants: Annotated[list[str] | None, typer.Option("--variant", help="Of QMA-Net; repeat.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Table 10: parameters, multiply-adds, FLOPs, latency and peak memory on this machine's CPU, published beside."""
    from dataclasses import asdict

    from qmanet_benco.evaluation import cost as room

    rows, failures = room.measure_all(room.subjects(models or (), variants or ()))
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        room.show(rows)
    for line in failures:
        typer.echo(f"failed: {line}", err=True)
    raise typer.Exit(1 if failures else 0)


@app.command()
def bench(
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
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Speed of inference and training beside TruFor and Mesorch, as ratios of interleaved runs on this machine."""
    from functools import partial

    from qmanet_benco.apps.engines.engines import build_engine
    from qmanet_benco.benco import scoring
    from qmanet_benco.benco.launch import session
    from qmanet_benco.evaluation import speed, turns

    with session.prepared(_settings["debug"]), scoring.as_the_test_script():
        result = speed.bench(
            [part.strip() for part in parts.split(",") if part.strip()],
            rounds=rounds,
            image_size=image_size,
            device=device,
            engines={name: partial(build_engine, engine=name) for name in ("openvino", "onnx")},
            say=lambda part: typer.echo(f"measuring: {part}", err=True),
        )
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2))
    else:
        turns.show(result)


@suite_app.command("run")
def suite_run(
    suite: Annotated[str, typer.Argument(metavar="SUITE.yaml", help="A file; paper.yaml and demo.yaml ship.")],
    out: Annotated[Path, typer.Option(help="A new folder, or that of an interrupted run, which goes on.")],
    nproc: Annotated[str, typer.Option(help="Processes on this machine; auto: one for each GPU.")] = "1",
    sets: Annotated[list[str] | None, typer.Option("--set", help="NAME=PATH: another path, or one more set.")] = None,
    checkpoints: Annotated[
        list[str] | None, typer.Option("--checkpoint", help="NAME=PATH of a model's trained weights.")
    ] = None,
    models: Annotated[list[str] | None, typer.Option("--model", help="Only this model; repeat for several.")] = None,
    image_size: Annotated[int, typer.Option(help="Instead of the suite's.")] = 0,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out models and sets whose files are missing.")
    ] = False,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Let checkpoints run code.")] = False,
) -> None:
    """Score every image of models x sets x attacks once; a killed run continues; exit code 1 if a model failed."""
    from qmanet_benco.evaluation.suite.launch import Order, launch_suite

    order = Order(
        suite,
        str(out),
        sets=_named("--set", sets or []),
        checkpoints=_named("--checkpoint", checkpoints or []),
        models=tuple(models or ()),
        image_size=image_size,
        skip_missing=skip_missing,
        allow_pickle=allow_pickle,
        debug=_settings["debug"],
    )
    raise typer.Exit(launch_suite(order, nproc))


@suite_app.command("report")
def suite_report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of `qmanet suite run`.")],
    formats: Annotated[str, typer.Option("--format", help="Comma list of md, latex, csv, html.")] = "md,latex,csv,html",
    images: Annotated[
        list[str] | None, typer.Option("--image", help="Stem for Figure 3; repeat. By default the hardest images.")
    ] = None,
) -> None:
    """The paper's tables and figures from a run's records, beside the published numbers: DIR/report."""
    from qmanet_benco.evaluation.report.report import make_report

    for path in make_report(folder, tuple(formats.split(",")), tuple(images or ())):
        typer.echo(path)


def _named(option: str, words: list[str]) -> dict[str, str]:
    """``["CASIAv1=prepared/casiav1"]`` as a dictionary."""
    for word in words:
        if not all(word.partition("=")):
            raise RequestError(f"{option} {word}", "NAME=PATH")
    return {word.partition("=")[0]: word.partition("=")[2] for word in words}


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """What is installed, what is corrected in the framework on this machine, and what is missing."""
    from qmanet_benco.benco.launch import doctor as room

    diagnosis = room.diagnose()
    if as_json:
        typer.echo(json.dumps(diagnosis.to_json(), indent=2))
    else:
        from rich.console import Console

        room.show(diagnosis, Console())
    raise typer.Exit(0 if diagnosis.healthy else 1)


@weights_app.command("list")
def weights_list(as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """The published files that `qmanet weights fetch` knows, their terms, and which are here."""
    from qmanet_benco.model.weights.pretrained import published_status

    rows = published_status()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['name']:13s} {row['path'] or '(not fetched)'}\n{'':13s} {row['about']}; {row['terms']}")


@weights_app.command("fetch")
def weights_fetch(name: Annotated[str, typer.Argument(help="A name of `qmanet weights list`.")]) -> None:
    """Fetch a published file into the cache and check its SHA-256."""
    from qmanet_benco.model.weights.pretrained import fetch_weights

    typer.echo(fetch_weights(name))


@weights_app.command("convert")
def weights_convert(
    source: Annotated[Path, typer.Argument(help="A SegFormer encoder's weights in any of the four namings.")],
    target: Annotated[Path, typer.Argument(help="File to write: .safetensors or .pth.")],
    to: Annotated[str, typer.Option(help="official, smp, mmseg or huggingface.")] = "mmseg",
) -> None:
    """Write a SegFormer encoder's weights under another naming."""
    from qmanet_benco.model.weights.naming import convert_file

    report = convert_file(source, target, to)
    typer.echo(f"{target}: {report.landed} tensors from {report.naming} to {to}; left out: {len(report.ignored)}")


@app.command("noise-map")
def noise_map(
    photos: Annotated[
        list[Path] | None, typer.Argument(metavar="[PHOTO]...", help="By default ten that the dependencies ship.")
    ] = None,
    weights: Annotated[str, typer.Option(help="NoisePrint++: a file, or a name of `qmanet weights list`.")] = (
        "noiseprint++"
    ),
    image_size: Annotated[int, typer.Option(help="Photos are resized to this side.")] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """What the framework's input does to TruFor's noise map, photo by photo."""
    from dataclasses import asdict

    from qmanet_benco.evaluation import noise_map as room

    rows = room.compare(weights, photos or (), image_size)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        room.show(rows)


@app.command("noise-cache")
def noise_cache(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="ManiDataset folders or JSON lists.")],
    cache: Annotated[Path, typer.Option(help="The folder of --noiseprint_cache.")],
    weights: Annotated[str, typer.Option(help="NoisePrint++: a file, or a name of `qmanet weights list`.")] = (
        "noiseprint++"
    ),
    image_size: Annotated[int, typer.Option(help="Side of the network's input in pixels.")] = 512,
    padding: Annotated[bool, typer.Option("--padding", help="Pad to it instead of resizing.")] = False,
    share: Annotated[str, typer.Option(help="I/N: only the I-th of N parts, for several processes.")] = "0/1",
) -> None:
    """Compute the NoisePrint++ residuals of whole sets, for trainings without augmentation and for tests."""
    from qmanet_benco.benco.residuals import keep_residuals
    from qmanet_benco.progress import shown

    part, _, parts = share.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise RequestError(f"--share {share}", "I/N with I from 0 to N - 1, such as 0/2")
    for path in data:
        with shown("residuals") as progress:
            computed = keep_residuals(
                path,
                cache,
                weights=weights,
                image_size=image_size,
                padding=padding,
                share=(int(part), int(parts)),
                progress=progress,
            )
        typer.echo(f"{path}: {computed} residuals computed")


_BENCO_SCRIPTS = {
    "train": "Train a model; pixel-F1 on the test data every few epochs.",
    "test": "Pixel-F1 of every checkpoint in a folder on every set of a JSON file.",
    "test_robust": "Pixel-F1 of a checkpoint on one set under blur, noise and JPEG compression.",
    "test_complexity": "Parameters and multiply-adds.",
    "test_save_images": "A checkpoint's predicted masks as PNG files at the images' sizes.",
}


def _add_benco_command(script: str, about: str) -> None:
    """One command for each stock script; the options are ours, everything else goes to the script."""

    def command(
        context: typer.Context,
        nproc: Annotated[str, typer.Option(help="Processes on this machine; auto or gpu: one on each GPU.")] = "1",
        nnodes: Annotated[int, typer.Option(help="Machines; start the same command on each.")] = 1,
        rdzv: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where several machines meet.")] = "",
        max_restarts: Annotated[
            int, typer.Option(help="Restart crashed processes; training goes on from its newest checkpoint.")
        ] = 0,
        levels: Annotated[str, typer.Option(help='For test_robust: attacks, e.g. "blur=3,7 noise=3,11 jpeg=90".')] = "",
        stock: Annotated[bool, typer.Option("--stock", help="Leave the framework's defects as they are.")] = False,
        without: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="Leave one correction out (names: `qmanet doctor`).")
        ] = None,
        allow_pickle: Annotated[
            bool, typer.Option("--allow-pickle", help="Let checkpoints run code; only if you trust their source.")
        ] = False,
        show_help: Annotated[bool, typer.Option("--help", "-h", help="With --model NAME also all flags.")] = False,
    ) -> None:
        from qmanet_benco.benco.seam.flags import model_name
        from qmanet_benco.benco.seam.options import help_text

        model = model_name(context.args)
        if show_help:
            typer.echo(context.get_help())
            if script == "train":
                typer.echo(f"\n{help_text()}")
            if not model:
                typer.echo(f"\nFlags of the script and of a model: qmanet benco {script} --model QMANet --help")
                return
        from qmanet_benco.benco.launch.elastic import Group
        from qmanet_benco.benco.launch.launcher import Run, launch, show_flags

        flags, left_out = tuple(context.args), tuple(without or ())
        run = Run(script, flags, stock, left_out, allow_pickle, levels, _settings["debug"])
        if show_help:
            show_flags(run, model)
            return
        raise typer.Exit(launch(run, Group(nproc, nnodes, rdzv, max_restarts)))

    benco_app.command(
        script,
        help=f"{about} FLAGS are the stock script's and the model's own; without CUDA the CPU is used.",
        options_metavar="[OPTIONS] [FLAGS]",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        add_help_option=False,
    )(command)


for _script, _about in _BENCO_SCRIPTS.items():
    _add_benco_command(_script, _about)


def main() -> None:
    """Run the command line: exit code 0 done, 1 some inputs failed, 2 the request was wrong."""
    try:
        app()
    except RequestError as error:
        if _settings["debug"]:
            raise
        sys.stderr.write(f"qmanet: error: {error}\n")
        raise SystemExit(2) from None
    except PermissionError as error:
        if _settings["debug"]:
            raise
        sys.stderr.write(
            f"qmanet: error: {RequestError(f'{error.filename}: {error.strerror}', 'a path that you may use')}\n"
        )
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
