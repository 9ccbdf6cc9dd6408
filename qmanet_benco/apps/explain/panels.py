"""Explanations as a figure in the manner of the paper's Figures 1 and 6."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from qmanet_benco.apps.photo import Pixels, read_photo
from qmanet_benco.apps.predict import Plane
from qmanet_benco.errors import RequestError
from qmanet_benco.images import fitting

ROWS = {
    "RGB": "RGB (GAE)",
    "noise": "noise (LAE)",
    "fused": "fused",
    "queries on RGB": "queries on RGB",
    "queries on noise": "queries on noise",
}
"""Kinds of panels in the order of the figure, and what stands beside them."""
CELL = 1.5
"""Inches that the longer side of a panel takes."""
LONGEST = 384
"""Pixels that the longer side of a panel has in the figure."""
HEAT = "jet"
"""Colour map, as in the paper: the redder, the more a place contributes."""
VEIL = 0.5
"""Opacity of the heat over the photo, in [0, 1]."""


@dataclass(frozen=True)
class Explanation:
    """What :func:`~qmanet_benco.apps.explain.explain.explain` shows."""

    panels: dict[str, Plane]
    """Maps by name, H x W in [0, 1] at the resized image's size; ``explain`` lists the names. All but ``probability``
    are scaled each to its own smallest and largest value: they show where, not how much."""
    target: str
    """The pixels whose logits were added up, in words."""


def draw(explanations: Mapping[str, Explanation], photo: Pixels, mask: NDArray[Any] | None) -> Figure:
    """Panels of one or more models as one figure: a row for each kind, a column for each stage, models side by side.

    Args:
        explanations: by the name that stands above each model's columns.
        photo: H x W x 3 in uint8, RGB.
        mask: the true mask, H x W, shown below the photo; None where it is not known.

    Returns:
        A figure that no window shows; ``figure.savefig`` writes it.

    Raises:
        RequestError: there is nothing to draw, or the photo or the mask has another form.
    """
    if not explanations:
        raise RequestError("no explanation to draw", "at least one")
    pixels = _small(read_photo(photo))
    lead = _lead(explanations, pixels, mask)
    present = [name.rsplit(" ", 1)[0] for each in explanations.values() for name in each.panels]
    kinds = [kind for kind in ROWS if kind in present]
    rows, columns = max(len(kinds), len(lead)), 1 + 4 * len(explanations)
    height, width = (CELL * length / max(pixels.shape) for length in pixels.shape[:2])
    notes = [f"Grad-CAM's target{_of(name, explanations)}: {e.target}" for name, e in explanations.items()]
    size = columns * (width + 0.1) + 0.9, rows * (height + 0.25) + 0.5 + 0.15 * (len(notes) + 1)
    figure = Figure(figsize=size, layout="constrained")
    parts = figure.subfigures(1, 1 + len(explanations), squeeze=False, width_ratios=[1.1] + [4] * len(explanations))[0]
    axes = _axes(parts[0], rows, 1, " ")
    for axis, (title, picture) in zip(axes[:, 0], lead, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=7)
    for part, (name, each) in zip(parts[1:], explanations.items(), strict=True):
        _draw_model(_axes(part, rows, 4, name), each, kinds, pixels)
    scale = "the redder, the more; each panel on its own scale. Queries: attention, the mean of heads and queries"
    figure.supxlabel("\n".join([*notes, scale]), fontsize=7)
    return figure


def overlay(pixels: Pixels, panel: Plane) -> Pixels:
    """Draw the photo H x W x 3 under the heat of a panel of any size, H x W x 3."""
    plane = cv2.resize(panel, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_LINEAR)
    heat = colormaps[HEAT](plane)[..., :3] * 255
    return np.asarray(((1 - VEIL) * pixels + VEIL * heat).clip(0, 255), np.uint8)


def binary(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Turn a mask of H x W in bool, 0/1 or 0..255 into H x W in bool.

    Raises:
        RequestError: it has another shape.
    """
    values = np.asarray(mask)
    if values.ndim != 2 or not values.size:
        raise RequestError(f"a mask of shape {values.shape}", "H x W, bool, 0/1 or 0..255")
    return values > 0 if values.max() <= 1 else values > 127


def _draw_model(axes: Any, explanation: Explanation, kinds: list[str], pixels: Pixels) -> None:
    """Four columns, a model's stages."""
    for row, kind in enumerate(kinds):
        for column in range(4):
            axis, panel = axes[row, column], explanation.panels.get(f"{kind} {column + 1}")
            empty = panel is not None and not panel.any()
            axis.set_title(f"{ROWS[kind]} {column + 1}{': nothing positive' if empty else ''}", fontsize=7)
            if panel is None:
                axis.text(0.5, 0.5, "none", ha="center", va="center", fontsize=7, color="gray")
            else:
                axis.imshow(overlay(pixels, panel))


def _lead(
    explanations: Mapping[str, Explanation], pixels: Pixels, mask: NDArray[Any] | None
) -> list[tuple[str, NDArray[Any]]]:
    """Photo, truth and predictions, as in Figure 6, with their titles."""
    shape = pixels.shape[1], pixels.shape[0]
    lead: list[tuple[str, NDArray[Any]]] = [("photo", pixels)]
    if mask is not None:
        lead.append(("mask", cv2.resize(binary(mask).astype(np.float32), shape, interpolation=cv2.INTER_AREA)))
    for name, each in explanations.items():
        plane = cv2.resize(each.panels["probability"], shape, interpolation=cv2.INTER_LINEAR)
        lead.append((textwrap.fill(f"prediction{_of(name, explanations)}", 28), plane))
    return lead


def _of(name: str, explanations: Mapping[str, Explanation]) -> str:
    return f" of {name}" if len(explanations) > 1 else ""


def _axes(part: SubFigure, rows: int, columns: int, title: str) -> Any:
    part.suptitle(title, fontsize=9)
    axes = part.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.set_frame_on(False)
    return axes


def _small(pixels: Pixels) -> Pixels:
    """Shrink to at most :data:`LONGEST` pixels a side."""
    size = fitting((pixels.shape[1], pixels.shape[0]), LONGEST)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
