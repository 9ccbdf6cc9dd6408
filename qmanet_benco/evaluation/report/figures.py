"""Figures 3 and 4 from a run: a qualitative grid, and F1 against the level of each attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.report.run import ScoredRun, row_name
from qmanet_benco.evaluation.report.tables import UNITS
from qmanet_benco.evaluation.suite.records import preview
from qmanet_benco.images import UnusableFileError, load_whole, open_image

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31"),
    *("#7F3C8D", "#E73F74", "#4B4B8F", "#11A579", "#A5AA99", "#B2182B", "#80BA5A", "#CF1C90", "#2F8AC4"),
    *("#F97B72", "#666666", "#3B5323"),
)
"""Okabe and Ito's seven, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/), then others."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d", "8", "H", "+", "x", "1", "2")
DASHES: tuple[tuple[int, tuple[float, ...]], ...] = (
    *((0, ()), (0, (5, 2)), (0, (6, 2, 1, 2)), (0, (1, 1)), (0, (9, 2)), (0, (3, 1, 1, 1)), (0, (3, 3))),
    *((0, (8, 2, 2, 2)), (0, (1, 3)), (0, (5, 1, 1, 1, 1, 1)), (0, (12, 3)), (0, (2, 2)), (0, (4, 1, 4, 3))),
    *((0, (10, 1, 1, 1)), (0, (6, 4)), (0, (2, 1, 2, 4)), (0, (7, 1, 3, 1))),
)
"""Markers and dashes tell lines apart in grey. The three have lengths without a common factor: no two of the first 17
share one of them, and no two of the first 6,460 all three."""
FIGURE_ROWS = 4
TILE = 196
"""Pixels of a side of Figure 3's pictures, with their margin."""


@dataclass(frozen=True)
class Shown:
    """What the figures show; empty: everything."""

    models: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    """Stems for Figure 3, in this order; empty: the hardest of each set."""
    rows: int = FIGURE_ROWS
    """Images of each set in Figure 3, where none is named."""


def style(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of a line, as keyword arguments of ``plot``."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "ls": DASHES[index % len(DASHES)],
        "ms": 4,
        "lw": 1.4,
    }


def check_chosen(run: ScoredRun, chosen: Shown) -> None:
    """Check the names that figures are asked for.

    Raises:
        RequestError: a model, a set, an attack or an image is not in the run.
    """
    attacks = dict.fromkeys(case[1] for case in run.cases() if case[1] != "none")
    stems = run.image_f1.index.get_level_values("image").unique() if chosen.images else ()
    for option, wanted, known in (
        ("--figure-model", chosen.models, run.models()),
        ("--figure-set", chosen.sets, run.sets()),
        ("--figure-attack", chosen.attacks, list(attacks)),
        ("--image", chosen.images, list(stems)),
    ):
        for name in wanted:
            if name not in known:
                shown = ", ".join(map(str, known[:20])) or "none was measured"
                raise RequestError(f"{option} {name}", f"one of {shown}")
    if chosen.rows < 1:
        raise RequestError(f"--figure-rows {chosen.rows}", "1 or more")


def robustness_curves(run: ScoredRun, chosen: Shown) -> Figure | None:
    """Figure 4: mean F1 of each model against the level, one panel for each set and attack; None without attacks."""
    cases = [case for case in run.cases() if case[1] != "none" and (not chosen.sets or case[0] in chosen.sets)]
    measured = {case[1] for case in cases}
    attacks = [name for name in UNITS if name in measured and (not chosen.attacks or name in chosen.attacks)]
    sets = list(dict.fromkeys(case[0] for case in cases if case[1] in attacks))
    models = list(chosen.models or run.models())
    if not attacks:
        return None
    width = max(6.4, 3.2 * len(attacks))
    per_line = max(2, int(width // 2.2))
    legend_lines = 1 + (len(models) - 1) // per_line
    size = (width, 2.6 * len(sets) + 0.3 * legend_lines)
    figure, axes = plt.subplots(len(sets), len(attacks), figsize=size, squeeze=False, sharey="row")
    for row, name in zip(axes, sets, strict=True):
        for axis, attack in zip(row, attacks, strict=True):
            _curves(run, axis, name, attack, models)
        row[0].set_ylabel(f"{name}\npixel F1")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=min(per_line, len(labels)), frameon=False, handlelength=4)
    figure.tight_layout(rect=(0, 0.3 * legend_lines / size[1], 1, 1))
    return figure


def _curves(run: ScoredRun, axis: Any, name: str, attack: str, models: Sequence[str]) -> None:
    levels = run.levels(attack, [name])
    if attack in ("jpeg", "resize", "social"):
        levels.reverse()
    styles = {model: style(index) for index, model in enumerate(run.models())}
    for model in models:
        cells = [run.mean(model, name, "f1"), *(run.mean(model, name, "f1", attack, level) for level in levels)]
        values = [np.nan if cell.value is None else cell.value for cell in cells]
        axis.plot(range(len(values)), values, label=model, **styles[model])
    axis.set_xticks(range(len(levels) + 1), ["none", *(f"{level:g}" for level in levels)])
    axis.set_xlabel(UNITS[attack])
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.3)


def qualitative_grid(run: ScoredRun, root: Path, chosen: Shown) -> Figure | None:
    """Figure 3: photo, truth and each model's mask.

    Args:
        run: the records.
        root: the run's folder, whose previews are drawn.
        chosen: images (by default the hardest of each set, by the mean F1 of all models), models and sets.

    Returns:
        The figure, or None where no previews were kept.
    """
    sets = chosen.sets or run.sets()
    drawn = [(name, stem) for name in sets for stem in _chosen(run, root, name, chosen)]
    if not drawn:
        return None
    models = {name: folder for name, folder in first_seeds(run).items() if not chosen.models or name in chosen.models}
    heads = ["photo", "truth", *models]
    mosaic = Image.new("RGB", (TILE * len(heads), TILE * len(drawn)), "white")
    figure, axis = plt.subplots(figsize=(1.5 * len(heads) + 0.6, 1.5 * len(drawn) + 0.4))
    for column, head in enumerate(heads):
        axis.text(column + 0.5, -0.06, head, ha="center", va="bottom", fontsize=8)
    for row, (name, stem) in enumerate(drawn):
        axis.text(-0.06, row + 0.5, f"{name}\n{stem[:18]}", ha="right", va="center", rotation=90, fontsize=6)
        paths = [preview(root, "photo", name, stem), preview(root, "truth", name, stem)]
        paths += [preview(root, "mask", name, stem, folder) for folder in models.values()]
        for column, path in enumerate(paths):
            picture = picture_in(path)
            if picture is not None:
                _paste(mosaic, Image.fromarray(picture), column, row)
            else:
                axis.text(column + 0.5, row + 0.5, "not kept", ha="center", va="center", fontsize=7)
    # one picture: matplotlib takes minutes for hundreds
    axis.imshow(np.asarray(mosaic), extent=(0, len(heads), len(drawn), 0), interpolation="none")
    axis.set_xlim(-0.3, len(heads))
    axis.set_ylim(len(drawn), -0.2)
    axis.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1)
    return figure


def _paste(mosaic: Image.Image, picture: Image.Image, column: int, row: int) -> None:
    """Put a picture into the middle of its square of the grid."""
    factor = (TILE - 8) / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    place = (TILE * column + (TILE - width) // 2, TILE * row + (TILE - height) // 2)
    mosaic.paste(picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), place)


def first_seeds(run: ScoredRun) -> dict[str, str]:
    """Row name and folder of previews of each model; of several seeds the first."""
    folders: dict[str, str] = {}
    for entry in run.suite["models"]:
        folders.setdefault(row_name(entry), f"{entry['name']}@{entry['seed']}")
    return folders


def picture_in(path: Path) -> NDArray[np.uint8] | None:
    """Read a small picture, or None where it was not kept or is damaged."""
    try:
        with open_image(path) as image:
            return np.asarray(load_whole(image))
    except UnusableFileError:
        return None


def kept_images(run: ScoredRun, root: Path, name: str) -> dict[str, float]:
    """Tampered images of a set whose photo was kept, with the mean F1 of all models, the hardest first."""
    rows = run.image_f1[run.image_f1.index.get_level_values("set") == name]
    means: Mapping[str, float] = rows.groupby("image", observed=True).mean().dropna().to_dict()
    kept = {stem: f1 for stem, f1 in means.items() if preview(root, "photo", name, stem).is_file()}
    return dict(sorted(kept.items(), key=lambda item: (item[1], item[0])))


def _chosen(run: ScoredRun, root: Path, name: str, chosen: Shown) -> list[str]:
    kept = list(kept_images(run, root, name))
    return [stem for stem in chosen.images if stem in kept] if chosen.images else kept[: chosen.rows]
