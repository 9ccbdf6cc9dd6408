"""Makes the study's table: from the suites' records to ``study.csv``, and from that to Markdown.

``python runs/study/study_report.py study.csv`` prints the Markdown again; ``docs/study.md`` holds it, and
a test compares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas

from qmanet_benco.evaluation.report.render import markdown_table

METRICS = ("f1", "permute_f1", "iou", "auc")
HEADS = ("F1", "permute-F1", "IoU", "AUC")
FIRST = ("row", "seed", "steps", *METRICS)
"""First columns of ``study.csv``; set, attack, level, budget and floor follow."""
DIGITS = 4
MAIN = "QMA-Net"
"""The row that the others are compared with."""
CLEAR = 2.0
"""A difference is marked that is so many of its standard errors."""


def means(
    records: Sequence[pandas.DataFrame], floors: Mapping[str, Mapping[str, float]], budget: Mapping[str, int]
) -> pandas.DataFrame:
    """One line for each row, seed, set, attack and level: means over the images.

    Args:
        records: of the suites; an image that two of them hold counts once.
        floors: by set the F1 of masks that look at no image, named as their column is.
        budget: ``steps``, ``image_size`` and ``batch`` of every row.
    """
    keys = ["model", "seed", "set", "attack", "level"]
    every = pandas.concat(records).drop_duplicates([*keys, "image"])
    grouped = every.groupby(keys)
    table = grouped[list(METRICS)].mean()
    table["images"] = grouped.size()
    table = table.reset_index().rename(columns={"model": "row"}).assign(**budget)
    for column, by_set in floors.items():
        table[column] = table["set"].map(by_set)
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
        line = plain.iloc[0]
        floors = f"{line['all_tampered_f1']:.3f}, of the best mask that is the same for all {line['constant_f1']:.3f}"
        lines += ["", f"### {name}: {line['images']} images, F1 of the all-tampered mask {floors}", ""]
        grouped = plain.groupby("row")[list(METRICS)].agg(["mean", "std", "count"])
        beside = beside_main(plain)
        rows = [
            [
                str(row),
                str(int(values["f1"]["count"])),
                *(_cell(values[m]["mean"], values[m]["std"]) for m in METRICS),
                beside.get(str(row), ""),
            ]
            for row, values in grouped.sort_values(("f1", "mean"), ascending=False).iterrows()
        ]
        lines += markdown_table(["row", "seeds", *HEADS, f"F1 - {MAIN}'s"], rows)
        deviation = seed_deviation(plain)
        if beside and deviation == deviation:
            lines += [
                "",
                f"Seeds of one row differ by a standard deviation of {deviation:.3f} in F1 (pooled over the rows "
                f"with several). \\*: more than {CLEAR:g} standard errors from {MAIN}, if all rows scatter like that.",
            ]
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


def seed_deviation(plain: pandas.DataFrame) -> float:
    """Standard deviation of F1 between seeds of one row, pooled over rows; NaN where no row has two.

    Rows that mark nothing are left out: their seeds agree whatever is random.

    Args:
        plain: lines of one set, without attacks.
    """
    grouped = plain.groupby("row")["f1"].agg(["mean", "var", "count"]).query("mean > 0 and count > 1")
    freedom = grouped["count"] - 1
    return float((grouped["var"] * freedom).sum() / freedom.sum()) ** 0.5 if len(grouped) else float("nan")


def beside_main(plain: pandas.DataFrame) -> dict[str, str]:
    """Each row's mean F1 less the main row's, with a star where the seeds set them apart; empty without a main row.

    The standard error of a difference is that of two means of so many seeds with :func:`seed_deviation`.

    Args:
        plain: lines of one set, without attacks.
    """
    grouped = plain.groupby("row")["f1"].agg(["mean", "count"])
    if MAIN not in grouped.index:
        return {}
    main, deviation = grouped.loc[MAIN], seed_deviation(plain)
    texts = {}
    for row, values in grouped.drop(MAIN).iterrows():
        difference = values["mean"] - main["mean"]
        error = deviation * (1 / values["count"] + 1 / main["count"]) ** 0.5
        texts[str(row)] = f"{difference:+.3f}" + (" \\*" if abs(difference) > CLEAR * error else "")
    return texts


def _cell(mean: float, deviation: float) -> str:
    """``0.412 +- 0.013``; a single seed has no deviation."""
    return f"{mean:.3f}" if deviation != deviation else f"{mean:.3f} +- {deviation:.3f}"


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="The tables of docs/study.md from its numbers.")
    options.add_argument("file", type=Path, help="study.csv")
    return options


def main() -> int:
    """Print the Markdown."""
    sys.stdout.write(markdown(pandas.read_csv(parser().parse_args().file)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
