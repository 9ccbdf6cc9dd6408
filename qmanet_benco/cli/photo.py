"""The commands for photos: `predict`, `explain`, `export` and the web page `app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qmanet_benco.cli.options import AllowPickle, AsJson, Device, ImageSide, Precision, Weights, print_json
from qmanet_benco.errors import RequestError, printable
from qmanet_benco.model.weights.sources import DEMO


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Photos and folders of photos.")],
    weights: Annotated[
        str, typer.Option(help="A file (.onnx and .xml of `qmanet export` too), owner/name on the hub, or demo.")
    ] = DEMO,
    out: Annotated[Path, typer.Option(help="Folder for masks, heat maps, probabilities and records.")] = Path(
        "predictions"
    ),
    native: Annotated[
        bool | None,
        typer.Option(
            "--native/--square",
            help="At the photo's own resolution, in tiles, or resized to a square; by default as the weights say.",
            show_default=False,
        ),
    ] = None,
    image_size: ImageSide = 0,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Probability above which a pixel is called tampered; by default as the weights say, else 0.5."
        ),
    ] = None,
    device: Device = "",
    engine: Annotated[
        str, typer.Option(help="torch, openvino or onnx (both on the CPU); by default the file's own, else torch.")
    ] = "",
    threads: Annotated[int, typer.Option(help="Threads on the CPU; 0: the engine's default.")] = 0,
    precision: Precision = "fp32",
    allow_pickle: AllowPickle = False,
    as_json: AsJson = False,
) -> None:
    """Mark what was tampered with in photos.

    Each photo gets OUT/STEM.mask.png, .heatmap.png, .probability.png (16 bits) and .json.
    """
    from qmanet_benco.apps.engines.engines import load_localizer
    from qmanet_benco.apps.outputs import predict_all
    from qmanet_benco.apps.photo import photos_below
    from qmanet_benco.progress import shown

    if native and image_size:
        raise RequestError(f"--native and --image-size {image_size}", "one of the two")
    if weights == DEMO:
        typer.echo("this is the small demonstration model; its answer is no evidence of anything", err=True)
    photos = photos_below(images)
    model = load_localizer(
        weights, engine, device=device, threads=threads, precision=precision, allow_pickle=allow_pickle
    )
    records = []
    with shown("photos") as progress:
        for record in predict_all(
            model, photos, out, weights=weights, native=native, image_size=image_size, threshold=threshold
        ):
            records.append(record)
            progress(len(records), len(photos))
            if "error" in record:
                typer.echo(record["error"], err=True)
            elif "advice" in record:
                typer.echo(f"{printable(record['file'])}: {record['advice']}", err=True)
            if "error" not in record and not as_json:
                score = "" if record["score"] is None else f", score {record['score']:.2f}"
                said = f"{record['verdict']}{score}, {record['tampered_fraction']:.1%} of the pixels"
                typer.echo(f"{printable(record['file'])}: {said}, {printable(str(out / record['outputs'][0]))}")
    if as_json:
        print_json(records)
    raise typer.Exit(1 if any("error" in record for record in records) else 0)


def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photo.")],
    out: Annotated[Path, typer.Option(help="The figure to write: .png, .pdf or .svg.")],
    weights: Weights = DEMO,
    compare: Annotated[str, typer.Option(metavar="W2", help="A second model's weights, drawn beside.")] = "",
    mask: Annotated[
        Path | None, typer.Option(help="Mask whose pixels are explained; by default what the model calls tampered.")
    ] = None,
    without_interaction: Annotated[
        bool,
        typer.Option("--without-interaction", help="Explain it once more without the interaction of the branches."),
    ] = False,
    image_size: ImageSide = 0,
    device: Device = "",
    allow_pickle: AllowPickle = False,
) -> None:
    """Draw what an answer rests on.

    Grad-CAM of every stage and level, and what the tamper queries look at, as in the paper's Figures 1 and 6.
    """
    from qmanet_benco.apps.engines.engines import chosen_device
    from qmanet_benco.apps.explain.explain import check_target, labels, write_explanation
    from qmanet_benco.apps.predict import predict as answer
    from qmanet_benco.model.weights.builder import load_model

    where = chosen_device(device)
    sources = [weights, compare] if compare else [weights]
    check_target(out, [image, *([] if mask is None else [mask]), *map(Path, sources)])
    models = {
        label: load_model(source, where, allow_pickle) for label, source in zip(labels(sources), sources, strict=True)
    }
    explanations = write_explanation(
        image, out, models, mask=mask, interaction_off=without_interaction, image_size=image_size
    )
    for label, model in models.items():
        said = answer(model, image)
        score = f"; score {said.score:.2f}, {said.score_rule}" if said.calibration else ""
        typer.echo(f"{label}: {said.verdict}{score}", err=True)
    for name, each in explanations.items():
        typer.echo(f"{name}: {len(each.panels)} panels; Grad-CAM's target: {each.target}", err=True)
    typer.echo(out)


def export(
    weights: Annotated[str, typer.Option(help="A checkpoint of the trainer, .safetensors, owner/name, or demo.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    file_format: Annotated[
        str, typer.Option("--format", help="safetensors, onnx, or openvino (OUT.xml and OUT.bin).")
    ] = "safetensors",
    image_size: Annotated[int, typer.Option(help="Side that the weights were trained for; 0: the source's.")] = 0,
    half: Annotated[bool, typer.Option("--half", help="16-bit floats: half the size.")] = False,
) -> None:
    """Write a model as a file for others.

    The command loads or runs what it wrote, and states the largest difference from the source.
    """
    if file_format == "safetensors":
        from qmanet_benco.model.weights.release import export_safetensors

        difference = export_safetensors(weights, out, image_size=image_size, half=half)
    else:
        from qmanet_benco.apps.engines.export import export_graph

        if half:
            raise RequestError("--half", "--format safetensors", "the engines' files are in 32 bits")
        difference = export_graph(weights, out, file_format, image_size=image_size)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, largest difference of a probability {difference:.1e}")


def web_page(
    port: Annotated[int, typer.Option(help="Port of the page; 0: the first free one from 7860 on.")] = 7860,
    weights: Weights = DEMO,
    max_megapixels: Annotated[float, typer.Option(help="Largest photo that is taken, in millions of pixels.")] = 50,
    max_megabytes: Annotated[float, typer.Option(help="Largest file that is taken, in millions of bytes.")] = 64,
    device: Device = "",
    precision: Precision = "fp32",
    allow_pickle: AllowPickle = False,
) -> None:
    """Open a page for the browser of this computer.

    Drop a photo, see mask, noise view and explanation. Ctrl-C ends it.
    """
    from qmanet_benco.apps.web.limits import Limits
    from qmanet_benco.apps.web.server import run_page

    run_page(weights, port, Limits(max_megapixels, max_megabytes), device, precision, allow_pickle, say=typer.echo)
