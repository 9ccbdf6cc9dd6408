"""The gallery of the HTML report: small pictures of some images, as many as the page's size allows."""

from __future__ import annotations

from collections.abc import Iterable
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
    folders = first_seeds(run)
    items: list[dict[str, Any]] = []
    size = 0
    for name, stem in wanted:
        inputs = {kind: preview(root, kind, name, stem) for kind in ("photo", "truth")}
        masks = {model: preview(root, "mask", name, stem, folder) for model, folder in folders.items()}
        paths = [*inputs.values(), *masks.values()]
        size += sum(path.stat().st_size for path in paths if path.is_file()) * 4 // 3 + _SPREAD_BYTES
        if size > MOST_BYTES and items and not per_set:
            break
        item = {"set": name, "name": stem, "mean": kept[name][stem]}
        item |= {kind: _file_uri(path) for kind, path in inputs.items()}
        shown = [_mask(run, model, name, stem, path) for model, path in masks.items() if path.is_file()]
        items.append({**item, "masks": shown, "disagreement": _disagreement(masks.values())})
    return Gallery(items, total)


_SPREAD_BYTES = 30_000
"""About what the picture of the models' disagreement takes."""


def _mask(run: ScoredRun, model: str, name: str, stem: str, path: Path) -> dict[str, Any]:
    f1 = run.image_f1.get((model, name, stem))
    return {"model": model, "f1": None if f1 is None else float(f1), "image": _file_uri(path)}


def _disagreement(paths: Iterable[Path]) -> str:
    """Compute the standard deviation of the models' probabilities, white where it is the largest possible (0.5)."""
    pictures = [picture for picture in map(picture_in, paths) if picture is not None]
    if len(pictures) < 2 or len({picture.shape for picture in pictures}) > 1:
        return ""
    spread = np.stack([picture.astype(np.float32) / 255 for picture in pictures]).std(axis=0) / 0.5
    return uri(encoded((spread.clip(0, 1) * 255).astype(np.uint8), "PNG"), "png")


def _file_uri(path: Path) -> str:
    return uri(path.read_bytes(), path.suffix.lstrip(".").replace("jpg", "jpeg")) if path.is_file() else ""
