"""The gallery of the HTML report: small pictures of some images, as many as the page's size allows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from qmanet_benco.benco.seam.pairs import spread
from qmanet_benco.evaluation.report.figures import first_seeds, kept_images, picture_in
from qmanet_benco.evaluation.report.render import uri
from qmanet_benco.evaluation.report.run import ScoredRun
from qmanet_benco.evaluation.suite.records import preview
from qmanet_benco.images import encoded

MOST_BYTES = 14_000_000
"""Largest size of all pictures as Base64: with tables and figures the page stays below 20 MB."""


@dataclass(frozen=True)
class Gallery:
    """Pictures of the chosen images."""

    items: list[dict[str, Any]]
    kept: int
    """Images whose pictures lie in the run's folder."""


def gallery_of(run: ScoredRun, root: Path, per_set: int = 0) -> Gallery:
    """Photo, truth, masks with their F1, and how much the models disagree.

    Args:
        run: the records.
        root: the run's folder, whose previews are shown.
        per_set: images of each set, evenly chosen from the hardest to the easiest; 0: as many of all sets as
            :data:`MOST_BYTES` allow.
    """
    kept = {name: kept_images(run, root, name) for name in run.sets()}
    total = sum(map(len, kept.values()))
    order = {name: spread(list(means)) for name, means in kept.items()}
    rounds = zip_longest(*([(name, stem) for stem in stems] for name, stems in order.items()))
    wanted = [place for one_of_each in rounds for place in one_of_each if place is not None]
    if per_set:
        wanted = [(name, stem) for name, stems in order.items() for stem in stems[:per_set]]
    items: list[dict[str, Any]] = []
    size = 0
    for name, stem in wanted:
        paths = _paths(run, root, name, stem)
        size += sum(path.stat().st_size for path in paths if path.is_file()) * 4 // 3 + _SPREAD_BYTES
        if size > MOST_BYTES and items and not per_set:
            break
        items.append(_item(run, root, name, stem, kept[name][stem]))
    return Gallery(items, total)


_SPREAD_BYTES = 30_000
"""About what the picture of the models' disagreement takes."""


def _paths(run: ScoredRun, root: Path, name: str, stem: str) -> list[Path]:
    masks = [preview(root, "mask", name, stem, folder) for folder in first_seeds(run).values()]
    return [preview(root, "photo", name, stem), preview(root, "truth", name, stem), *masks]


def _item(run: ScoredRun, root: Path, name: str, stem: str, mean: float) -> dict[str, Any]:
    masks = []
    for model, folder in first_seeds(run).items():
        path = preview(root, "mask", name, stem, folder)
        if path.is_file():
            f1 = run.image_f1.get((model, name, stem))
            masks.append({"model": model, "f1": None if f1 is None else float(f1), "image": _file_uri(path)})
    return {
        "set": name,
        "name": stem,
        "mean": mean,
        "photo": _file_uri(preview(root, "photo", name, stem)),
        "truth": _file_uri(preview(root, "truth", name, stem)),
        "masks": masks,
        "disagreement": _disagreement(run, root, name, stem),
    }


def _disagreement(run: ScoredRun, root: Path, name: str, stem: str) -> str:
    """Compute the standard deviation of the models' probabilities, white where it is the largest possible (0.5)."""
    masks = []
    for path in _paths(run, root, name, stem)[2:]:
        picture = picture_in(path)
        if picture is not None:
            masks.append(picture.astype(np.float32) / 255)
    if len(masks) < 2 or len({mask.shape for mask in masks}) > 1:
        return ""
    spread = np.stack(masks).std(axis=0) / 0.5
    return uri(encoded((spread.clip(0, 1) * 255).astype(np.uint8), "PNG"), "png")


def _file_uri(path: Path) -> str:
    return uri(path.read_bytes(), path.suffix.lstrip(".").replace("jpg", "jpeg")) if path.is_file() else ""
