"""The study's table: from the suites' records to ``study.csv``, and from that to Markdown.

``python -m qmanet_benco.evaluation.study_report study.csv`` prints the Markdown again; ``docs/study.md`` holds it, and
a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qmanet_benco.evaluation.render import markdown_table

if TYPE_CHECKING:
    import pandas

METRICS = ("f1", "permute_f1", "iou", "auc")
HEADS = ("F1", "permute-F1", "IoU", "AUC")
FIRST = ("row", "seed", "steps", *METRICS)
"""First columns of ``study.csv``; set, attack, level, budget and floor follow."""
DIGITS = 4


def means(
    records: Sequence[pandas.DataFrame], floors: Mapping[str, float], budget: Mapping[str, int]
) -> pandas.DataFrame:
    """One line for each row, seed, set, attack and level: means over the images.

    Args:
        records: of the suites; an image that two of them hold counts once.
        floors: F1 of the all-tampered mask by set.
        budget: ``steps``, ``image_size`` and ``batch`` of every row.
    """
    import pandas

    keys = ["model", "seed", "set", "attack", "level"]
    every = pandas.concat(records).drop_duplicates([*keys, "image"])
    grouped = every.groupby(keys)
    table = grouped[list(METRICS)].mean()
    table["images"] = grouped.size()
    table = table.reset_index().rename(columns={"model": "row"}).assign(**budget)
    table["all_tampered_f1"] = table["set"].map(floors)
    return table[[*FIRST, *(name for name in table.columns if name not in FIRST)]].round(DIGITS)


def markdown(table: pandas.DataFrame) -> str:
    """Tables of each set without attacks, and of F1 under attack, from the lines of ``study.csv``."""
    budget = table.iloc[0]
    lines = [
        f"Every row: {budget['steps']} steps of {budget['batch']} images of {budget['image_size']} x "
        f"{budget['image_size']}. Mean over the seeds, +- their standard deviation where there is more than one."
    ]
    for name in table["set"].unique():
        plain = table[(table["set"] == name) & (table["attack"] == "none")]
        if plain.empty:
            continue
        floor, images = plain["all_tampered_f1"].iloc[0], plain["images"].iloc[0]
        lines += ["", f"### {name}: {images} images, all-tampered mask F1 {floor:.3f}", ""]
        grouped = plain.groupby("row")[list(METRICS)].agg(["mean", "std", "count"])
        rows = [
            [str(row), str(int(values["f1"]["count"])), *(_cell(values[m]["mean"], values[m]["std"]) for m in METRICS)]
            for row, values in grouped.sort_values(("f1", "mean"), ascending=False).iterrows()
        ]
        lines += markdown_table(["row", "seeds", *HEADS], rows)
    attacked = table[table["attack"] != "none"]
    if not attacked.empty:
        lines += ["", "### F1 under attack: generated forgeries, one seed of each row", ""]
        wide = attacked.pivot_table(index="row", columns=["attack", "level"], values="f1")
        first = table[table["attack"] == "none"].groupby(["row", "set"])["f1"].first()
        attacks = [f"{attack} {level:g}" for attack, level in wide.columns]
        rows = [
            [str(row), f"{first[row, attacked['set'].iloc[0]]:.3f}", *(f"{value:.3f}" for value in values)]
            for row, values in zip(wide.index, wide.to_numpy(), strict=True)
        ]
        lines += markdown_table(["row", "none", *attacks], rows)
    return "\n".join(lines) + "\n"


def _cell(mean: float, deviation: float) -> str:
    """``0.412 +- 0.013``; a single seed has no deviation."""
    return f"{mean:.3f}" if deviation != deviation else f"{mean:.3f} +- {deviation:.3f}"


def main() -> int:
    """Print the Markdown of the file that ``sys.argv[1]`` names."""
    import pandas

    sys.stdout.write(markdown(pandas.read_csv(Path(sys.argv[1]))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
