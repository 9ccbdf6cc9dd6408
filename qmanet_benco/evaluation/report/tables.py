"""The paper's tables from records: measured means beside the published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.published import published, published_rows, published_value, rows_of
from qmanet_benco.evaluation.report.cells import Cell, Panel, Row, Table, average, ranked
from qmanet_benco.evaluation.report.run import ScoredRun

FOUR_SETS = ("CASIAv1", "Columbia", "Coverage", "NIST16")
AVERAGE = "Avg"
ALIASES = {"16 queries (QMA-Net)": "QMA-Net"}
"""A published row that is another row's model."""
ATTACKS = {
    "JPEG": ("jpeg", "jpeg"),
    "blur": ("blur", "blur"),
    "noise (variance)": ("noise_variance", "noise"),
    "noise (standard deviation)": ("noise_std", "noise"),
}
"""Column of Tables 7 and 8 -> attack, and the published column."""
UNITS = {
    "jpeg": "JPEG quality",
    "blur": "blur, kernel side",
    "noise_variance": "noise, variance",
    "noise_std": "noise, standard deviation",
    "resize": "resized to percent",
    "recompression": "JPEG recompressions",
    "social": "social network, longest side",
}
"""What the level of an attack is, in words."""


def paper_tables(run: ScoredRun) -> list[Table]:
    """Tables 1, 2, 5, 6, 7 with 8, and 9: every published row, measured or not, and then every other measured one."""
    four = f"one of the sets {', '.join(FOUR_SETS)}"
    return [
        Table(
            "table1",
            "Pixel-level F1 and AUC",
            (
                _by_set(run, "Pixel F1", "f1", ("table1", "pixel_f1"), others=True),
                _by_set(run, "Pixel AUC (the framework's)", "auc_stock", ("table1", "pixel_auc"), others=True, to=True),
            ),
            (
                "AUC is the framework's, to compare with published numbers; among all measurements stands the one that "
                "groups ties",
                *(f"the column {name} is {run.set_named(name)}" for name in FOUR_SETS if "(" in run.set_named(name)),
            ),
            paper="Table 1",
            needs=four,
        ),
        Table(
            "table2",
            "Ablation: pixel-level F1",
            (_by_set(run, "Pixel F1", "f1", ("table2", "pixel_f1")),),
            paper="Table 2",
            needs=f"a variant of QMA-Net on {four}",
        ),
        Table(
            "table5",
            "Permute-F1 and pixel-level IoU",
            (
                _by_set(run, "Permute-F1", "permute_f1", ("table5", "permute_f1"), others=True),
                _by_set(run, "Pixel IoU", "iou", ("table5", "pixel_iou"), others=True, to=True),
            ),
            paper="Table 5",
            needs=four,
        ),
        Table(
            "table6",
            "AI-generated tampering",
            tuple(_table6(run, name, beside=place > 0) for place, name in enumerate(_sets_of("table6"))),
            paper="Table 6",
            needs=f"one of the sets {', '.join(_sets_of('table6'))}",
        ),
        Table(
            "table7_8",
            "Robustness: pixel-level F1, mean over the levels of an attack",
            tuple(
                _table7(run, name, clean) for name in _sets_of("table7_8") if _attacked(run, name) for clean in (0, 1)
            ),
            (
                "noise (variance): the levels are variances, as the framework's wrapper takes them; noise (standard "
                "deviation): standard deviations, as the paper words it",
                "the images without attack are one level more in the panels that say so; the paper does not say which "
                "its averages are, and a public log of MVSS-Net gives its published figures on CASIAv1 only with them",
                _levels_note(run),
            ),
            paper="Tables 7 and 8",
            needs=f"an attack (jpeg, blur, noise_variance, noise_std) on {four}",
        ),
        Table(
            "table9",
            "Quantity of tamper-aware queries: pixel-level F1",
            (_by_set(run, "Pixel F1", "f1", ("table9", "pixel_f1")),),
            paper="Table 9",
            needs=f"QMA-Net with 4, 8, 16 or 32 queries on {four}",
        ),
    ]


def everything(run: ScoredRun) -> Table:
    """Tabulate all metrics of all models on all sets without attack, and under each attack and level."""
    names = [metric.name for metric in METRICS]
    titles = [metric.title for metric in METRICS]
    panels = []
    for name, attack, level in run.cases():
        title = name if attack == "none" else f"{name}, {UNITS.get(attack, attack)} {level:g}"
        cells = {model: [run.mean(model, name, each, attack, level) for each in names] for model in run.models()}
        panels.append(_panel(run, title, titles, cells))
    return Table("everything", "Everything that was measured", tuple(panels), authentic_notes(run))


def overview(run: ScoredRun) -> Table:
    """Pixel F1 and AUC of all models on all sets; without panels where Table 1 shows the same."""
    sets = run.sets()
    if {run.set_named(name) for name in FOUR_SETS} >= set(sets):
        return Table("overview", "Localization on every set", ())
    panels: list[Panel] = []
    for title, metric in (("Pixel F1", "f1"), ("Pixel AUC (ties grouped)", "auc")):
        cells = {model: [run.mean(model, name, metric) for name in sets] for model in run.models()}
        columns = sets
        if len(sets) > 1:
            cells = {model: [*of_sets, average(of_sets)] for model, of_sets in cells.items()}
            columns = [*sets, AVERAGE]
        panels.append(_panel(run, title, columns, cells, beside=bool(panels)))
    return Table("overview", "Localization on every set", tuple(panels), authentic_notes(run))


def authentic_notes(run: ScoredRun) -> tuple[str, ...]:
    """Return what the means over pixels leave out."""
    return tuple(
        f"{name}: {count} authentic images are left out of F1, permute-F1, IoU and AUC, which are of tampered images; "
        "the framework's test script would count each as 0"
        for name, count in run.authentic_images.items()
    )


def _by_set(
    run: ScoredRun, title: str, metric: str, block: tuple[str, str], others: bool = False, to: bool = False
) -> Panel:
    """Models x the paper's four sets and their average.

    Args:
        run: the records.
        title: of the panel.
        metric: column of the records.
        block: of the published numbers.
        others: also measured models that are not published.
        to: the panel stands beside the one before it.
    """
    versions = run.versions(FOUR_SETS)
    columns = (*FOUR_SETS, AVERAGE, *versions)
    rows = {}
    for name in _rows(run, rows_of(*block), others):
        model = ALIASES.get(name, name)
        cells = [run.mean(model, of, metric) for of in FOUR_SETS]
        cells += [average(cells), *(run.mean(model, of, metric) for of in versions)]
        rows[name] = [_beside(cell, published_value(*block, name, of)) for cell, of in zip(cells, columns, strict=True)]
    return _panel(run, title, columns, rows, beside=to)


def _table6(run: ScoredRun, name: str, beside: bool) -> Panel:
    columns = {"f1": "f1", "auc": "auc_stock", "iou": "iou"}
    rows = {
        model: [
            _beside(run.mean(model, name, metric), published_value("table6", name, model, column))
            for column, metric in columns.items()
        ]
        for model in _rows(run, rows_of("table6", name), True)
    }
    return _panel(run, name, ("F1", "AUC (the framework's)", "IoU"), rows, beside=beside)


def _table7(run: ScoredRun, name: str, clean: int) -> Panel:
    rows = {
        model: [
            _beside(
                run.mean(model, name, "f1", attack, None, clean=bool(clean)),
                published_value("table7_8", name, model, column),
            )
            for attack, column in ATTACKS.values()
        ]
        for model in _rows(run, rows_of("table7_8", name), True)
    }
    return _panel(run, f"{name}, and without attack" if clean else name, tuple(ATTACKS), rows, beside=bool(clean))


def _panel(
    run: ScoredRun, title: str, columns: Sequence[str], cells: Mapping[str, Sequence[Cell]], beside: bool = False
) -> Panel:
    """Make a panel of the cells of each row, with the notes on its model."""
    rows = [Row(name, tuple(of_row), run.footnotes.get(ALIASES.get(name, name), ())) for name, of_row in cells.items()]
    return ranked(title, columns, rows, beside=beside)


def _attacked(run: ScoredRun, name: str) -> bool:
    """Tell whether a set stands in Tables 7 and 8: all do where none was attacked, as the table has no number then."""
    attacked = {case[0] for case in run.cases() if case[1] != "none"}
    return not attacked or run.set_named(name) in attacked


def _levels_note(run: ScoredRun) -> str:
    attacks = dict.fromkeys(case[1] for case in run.cases() if case[1] != "none")
    words = [f"{UNITS.get(name, name)} {', '.join(f'{level:g}' for level in run.levels(name))}" for name in attacks]
    return f"measured levels: {'; '.join(words) or 'none'}"


def _beside(cell: Cell, value: float | None) -> Cell:
    return replace(cell, published=value)


def _rows(run: ScoredRun, names: Sequence[str], others: bool) -> list[str]:
    """Published rows in the paper's order with the paper's own model last, other measured models after it.

    Rows of the ablations (Tables 2 and 9) stand in their own tables alone.
    """
    taken = {*names, *ALIASES, *(published_rows() - set(rows_of("table1", "pixel_f1")))}
    extra = [name for name in run.models() if name not in taken] if others else []
    return [*names, *extra]


def _sets_of(table: str) -> list[str]:
    return [key for key in published()[table] if key not in ("title", "levels", "note", "rows")]
