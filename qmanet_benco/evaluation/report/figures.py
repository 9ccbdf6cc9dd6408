"""Figures 3 and 4 from a run: a qualitative grid, and F1 against the level of each attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from qmanet_benco.evaluation.report.tables import Run, row_name
from qmanet_benco.evaluation.suite.records import safe_name
from qmanet_benco.images import UnusableFileError, load_whole, open_image

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", (0, (5, 1))),
    ("#56B4E9", "P", (0, (3, 1, 1, 1))),
    ("#000000", "X", (0, (1, 1))),
    ("#999999", "*", (0, (5, 5))),
)
"""Okabe and Ito's colours, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/); markers and
dashes tell them apart in grey."""
UNITS = {
    "jpeg": "JPEG quality",
    "blur": "blur, kernel side",
    "noise_variance": "noise, variance",
    "noise_std": "noise, standard deviation",
    "resize": "resized to percent",
    "recompression": "JPEG recompressions",
    "social": "social network, longest side",
}


def robustness_curves(run: Run) -> Figure | None:
    """Figure 4: mean F1 of each model against the level, one panel for each set and attack; None without attacks."""
    attacks = [name for name in UNITS if (run.records["attack"] == name).any()]
    if not attacks:
        return None
    per_line = max(2, int(max(6.4, 3.2 * len(attacks)) // 2.2))
    legend_lines = 1 + (len(run.models()) - 1) // per_line
    size = (max(6.4, 3.2 * len(attacks)), 2.6 * len(run.sets()) + 0.3 * legend_lines)
    figure, axes = plt.subplots(len(run.sets()), len(attacks), figsize=size, squeeze=False, sharey="row")
    for row, name in zip(axes, run.sets(), strict=True):
        for axis, attack in zip(row, attacks, strict=True):
            _curves(run, axis, name, attack)
        row[0].set_ylabel(f"{name}\npixel F1")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=min(per_line, len(labels)), frameon=False)
    figure.tight_layout(rect=(0, 0.3 * legend_lines / size[1], 1, 1))
    return figure


def _curves(run: Run, axis: Any, name: str, attack: str) -> None:
    rows = run.records[(run.records["attack"] == attack) & (run.records["set"] == name)]
    levels = sorted(rows["level"].unique(), reverse=attack in ("jpeg", "resize", "social"))
    for index, model in enumerate(run.models()):
        colour, marker, dashes = STYLES[index % len(STYLES)]
        cells = [run.mean(model, name, "f1"), *(run.mean(model, name, "f1", attack, level) for level in levels)]
        values = [np.nan if cell.value is None else cell.value for cell in cells]
        axis.plot(range(len(values)), values, color=colour, marker=marker, ls=dashes, ms=4, lw=1.4, label=model)
    axis.set_xticks(range(len(levels) + 1), ["none", *(f"{level:g}" for level in levels)])
    axis.set_xlabel(UNITS[attack])
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.3)


def qualitative_grid(run: Run, root: Path, images: Sequence[str] = (), rows: int = 4) -> Figure | None:
    """Figure 3: photo, truth and each model's mask.

    Args:
        run: the records.
        root: the run's folder, whose previews are drawn.
        images: stems to draw; by default the hardest of each set, by the mean F1 of all models.
        rows: images of each set, where none are named.

    Returns:
        The figure, or None where no previews were kept.
    """
    chosen = [(name, stem) for name in run.sets() for stem in _chosen(run, root, name, images, rows)]
    if not chosen:
        return None
    models = first_seeds(run)
    size = (1.5 * (2 + len(models)), 1.45 * len(chosen) + 0.4)
    figure, axes = plt.subplots(len(chosen), 2 + len(models), figsize=size, squeeze=False)
    for axis, title in zip(axes[0], ["photo", "truth", *models], strict=True):
        axis.set_title(title, fontsize=8)
    for row, (name, stem) in zip(axes, chosen, strict=True):
        paths = [preview(root, "photo", name, stem), preview(root, "truth", name, stem)]
        paths += [preview(root, "mask", name, stem, folder) for folder in models.values()]
        for axis, path in zip(row, paths, strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            picture = picture_in(path)
            if picture is not None:
                axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
            else:
                axis.text(0.5, 0.5, "not kept", ha="center", va="center", transform=axis.transAxes, fontsize=7)
        row[0].set_ylabel(f"{name}\n{stem[:18]}", fontsize=6)
    figure.tight_layout(pad=0.4)
    return figure


def first_seeds(run: Run) -> dict[str, str]:
    """Row name and folder of previews of each model; of several seeds the first."""
    found: dict[str, str] = {}
    for entry in run.suite["models"]:
        found.setdefault(row_name(entry), f"{entry['name']}@{entry['seed']}")
    return found


def preview(root: Path, kind: str, name: str, stem: str, model: str = "") -> Path:
    """Where a small picture lies: ``photo``, ``truth`` or ``mask`` (of a model)."""
    folder = root / "previews" / kind
    folder = folder / safe_name(model) if model else folder
    return folder / safe_name(name) / f"{safe_name(stem)}{'.jpg' if kind == 'photo' else '.png'}"


def picture_in(path: Path) -> NDArray[np.uint8] | None:
    """A small picture, or None where it was not kept or is damaged."""
    try:
        with open_image(path) as image:
            return np.asarray(load_whole(image))
    except UnusableFileError:
        return None


def kept_images(run: Run, root: Path, name: str) -> dict[str, float]:
    """Images of a set whose photo was kept, with the mean F1 of all models, the hardest first."""
    rows = run.records[(run.records["set"] == name) & (run.records["attack"] == "none")]
    means: Mapping[str, float] = rows.groupby("image")["f1"].mean().to_dict()
    kept = {stem: f1 for stem, f1 in means.items() if preview(root, "photo", name, stem).is_file()}
    return dict(sorted(kept.items(), key=lambda item: (item[1], item[0])))


def _chosen(run: Run, root: Path, name: str, images: Sequence[str], rows: int) -> list[str]:
    kept = list(kept_images(run, root, name))
    return [stem for stem in images if stem in kept] if images else kept[:rows]
