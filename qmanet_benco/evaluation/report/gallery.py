"""The HTML report: one file without links to anything else, with tables, curves and a gallery that can be sorted."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.report import render
from qmanet_benco.evaluation.report.figures import first_seeds, kept_images, picture_in, preview
from qmanet_benco.evaluation.report.tables import Run, Table


def html_report(run: Run, root: Path, tables: Sequence[Table], figures: Sequence[tuple[str, bytes]]) -> str:
    """The whole report as one file.

    Args:
        run: the records.
        root: the run's folder, whose previews go into the gallery.
        tables: in their order.
        figures: title and PNG of each.

    Returns:
        HTML that refers to nothing outside itself; names of models, sets and images are inert text.
    """
    pages = Environment(
        loader=PackageLoader("qmanet_benco.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    pages.globals |= {
        "note_number": render.note_number,
        "footnotes": render.footnotes,
        "cell_title": render.cell_title,
        "cell_words": lambda cell: Markup(render.cell_words(cell, "<b>{}</b>", "<u>{}</u>", "±")),  # numbers alone
    }
    return pages.get_template("report.html").render(
        suite=run.suite,
        settings=_settings(run),
        tables=tables,
        figures=[(title, _uri(png, "png")) for title, png in figures],
        metrics=METRICS,
        items=gallery_items(run, root),
    )


def gallery_items(run: Run, root: Path) -> list[dict[str, Any]]:
    """Every image whose small pictures were kept: photo, truth, masks with their F1, and how much they disagree."""
    rows = run.records[run.records["attack"] == "none"]
    scores = rows.groupby(["row", "set", "image"])["f1"].mean().to_dict()
    items = []
    for name in run.sets():
        for stem, mean in kept_images(run, root, name).items():
            masks = []
            for model, folder in first_seeds(run).items():
                path = preview(root, "mask", name, stem, folder)
                if path.is_file():
                    masks.append({"model": model, "f1": scores.get((model, name, stem)), "image": _file_uri(path)})
            items.append(
                {
                    "set": name,
                    "name": stem,
                    "mean": mean,
                    "photo": _file_uri(preview(root, "photo", name, stem)),
                    "truth": _file_uri(preview(root, "truth", name, stem)),
                    "masks": masks,
                    "disagreement": _disagreement(run, root, name, stem),
                }
            )
    return items


def _disagreement(run: Run, root: Path, name: str, stem: str) -> str:
    """The standard deviation of the models' probabilities, white where it is the largest possible (0.5)."""
    paths = [preview(root, "mask", name, stem, folder) for folder in first_seeds(run).values()]
    masks = []
    for path in paths:
        picture = picture_in(path)
        if picture is not None:
            masks.append(picture.astype(np.float32) / 255)
    if len(masks) < 2 or len({mask.shape for mask in masks}) > 1:
        return ""
    spread = np.stack(masks).std(axis=0) / 0.5
    stream = io.BytesIO()
    Image.fromarray((spread.clip(0, 1) * 255).astype(np.uint8)).save(stream, "PNG")
    return _uri(stream.getvalue(), "png")


def _settings(run: Run) -> list[str]:
    suite = run.suite
    words = [f"{suite['image_size']} x {suite['image_size']} ({suite['resize']})", suite["precision"]]
    words += [f"seed {suite['seed']}", f"batch {suite['batch']}"]
    words += [f"{name} {version}" for name, version in suite["environment"].items()]
    words += [f"{entry['name']}: {entry['images']} images" for entry in suite["sets"]]
    words += [f"FAILED {line}" for line in suite.get("failures", ())]
    return [str(word) for word in words]


def _file_uri(path: Path) -> str:
    return _uri(path.read_bytes(), path.suffix.lstrip(".").replace("jpg", "jpeg")) if path.is_file() else ""


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
