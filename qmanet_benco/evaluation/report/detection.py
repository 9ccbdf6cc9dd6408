"""The image-level panels: was the photo tampered with, where a set has authentic images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qmanet_benco.evaluation.detection import MAXIMUM, METRICS, RULES, SHARE, detection_metrics
from qmanet_benco.evaluation.report.cells import Cell, Panel, Row, Table, ranked
from qmanet_benco.evaluation.report.run import DETECTION, ScoredRun, row_name

if TYPE_CHECKING:
    from pandas import DataFrame

SHARED = {MAXIMUM: "image_maximum", SHARE: "predicted"}
"""Rules that every model can follow, and their columns of the records."""
KEY = "detection"
LOWER = ("false alarms",)


def detection_table(run: ScoredRun) -> Table:
    """Tabulate each set with authentic images: every model by its own score, then all by each shared rule.

    Without authentic images, or with records of an earlier version, it has no panels.
    """
    panels: list[Panel] = []
    sets = run.authentic_images if all(name in run.records for name in DETECTION) else {}
    records = run.records[(run.records["attack"] == "none") & run.records["set"].isin(list(sets))]
    used: list[str] = []
    for name, authentic in sets.items():
        of_set = records[records["set"] == name]
        tampered = int(of_set["image"].nunique()) - authentic
        counts = f"{name}: {tampered} tampered and {authentic} authentic images"
        panels.append(_panel(run, f"{counts}, by each model's own score", of_set, "", used))
        for rule in SHARED:
            title = f"{counts}, by the {rule} (threshold {RULES[rule][1]:g})"
            panels.append(_panel(run, title, of_set, rule, used))
    notes = [f"score {rule}: {RULES[rule][0]}; threshold {RULES[rule][1]:g}" for rule in dict.fromkeys(used)]
    notes.append(
        "ImageF1, ImageAUC and ImageAccuracy are those of the framework's evaluators; scikit-learn's f1_score and "
        "roc_auc_score give the same. Average precision is scikit-learn's; it depends on how many images are tampered"
    )
    notes.append("no value (n/a): the metric needs both authentic and tampered images")
    needs = 'authentic images: "Negative" entries in a list, or the key authentic of a set'
    return Table(KEY, "Image-level detection: was the photo tampered with?", tuple(panels), tuple(notes), needs=needs)


def _panel(run: ScoredRun, title: str, records: DataFrame, rule: str, used: list[str]) -> Panel:
    rows = []
    for model in run.models():
        of_model = records[records["row"] == model]
        if of_model.empty:
            continue
        rules = list(dict.fromkeys(of_model["image_score_rule"])) if not rule else [rule]
        used += rules
        column = SHARED.get(rule, "image_score")
        threshold = RULES[rules[0]][1] if rules[0] in RULES else 0.5
        notes = run.footnotes.get(model, ())
        if not rule:
            notes = (*notes, *_own_notes(run, model))
        rows.append(Row(model, _cells(of_model, column, threshold), notes, " and ".join(map(str, rules))))
    columns = [metric.title for metric in METRICS]
    return ranked(title, columns, rows, remark_title="score", lower_is_better=LOWER)


def _cells(records: DataFrame, column: str, threshold: float) -> tuple[Cell, ...]:
    by_seed: dict[int, dict[str, float]] = {}
    images = 0
    for seed, rows in records.groupby("seed", observed=True):
        tampered = ~rows["authentic"].to_numpy()
        by_seed[int(seed)] = detection_metrics(rows[column].to_numpy(float), tampered, threshold)
        images = max(images, len(rows))
    cells = []
    for metric in METRICS:
        values = {seed: scored[metric.name] for seed, scored in by_seed.items() if not math.isnan(scored[metric.name])}
        cells.append(Cell.of_seeds(values, images) if values else Cell(images=images, undefined=True))
    return tuple(cells)


def _own_notes(run: ScoredRun, model: str) -> tuple[str, ...]:
    notes = (entry.get("image_score_note", "") for entry in run.suite["models"] if row_name(entry) == model)
    return tuple(dict.fromkeys(note for note in notes if note))
