"""The paper's tables from records: measured means beside the published numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qmanet_benco.data.sets import folded, set_title
from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.published import published, published_value

if TYPE_CHECKING:
    from pandas import DataFrame

FOUR_SETS = ("CASIAv1", "Columbia", "Coverage", "NIST16")
AVERAGE = "Avg"
ALIASES = {"16 queries (QMA-Net)": "QMA-Net"}
"""A published row that is another row's model."""


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    value: float | None = None
    """Measured: the mean over images, then over seeds; None: not measured."""
    deviation: float | None = None
    """Over seeds (with n - 1), where there are several."""
    seeds: int = 0
    images: int = 0
    published: float | None = None
    rank: int = 0
    """1: the best measured of its column, 2: the second."""

    @property
    def difference(self) -> float | None:
        """Measured minus published."""
        return None if self.value is None or self.published is None else self.value - self.published


@dataclass(frozen=True)
class Row:
    """One model."""

    name: str
    cells: tuple[Cell, ...]
    footnotes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Panel:
    """Rows and columns under one metric."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """One table of the report."""

    key: str
    """``table1``, ...: also its file's name."""
    title: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """The records of a run and what they belong to."""

    records: DataFrame
    suite: Mapping[str, Any]
    footnotes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def models(self) -> list[str]:
        """Row names in the suite's order, each once."""
        return list(dict.fromkeys(row_name(entry) for entry in self.suite["models"]))

    def sets(self) -> list[str]:
        """In the suite's order."""
        return [entry["name"] for entry in self.suite["sets"]]

    def set_named(self, title: str) -> str:
        """The suite's own name of a set of the paper, or of a version of it (``NIST16 (long side 1024)``)."""
        names = self.sets()
        titles = [set_title(name) for name in names]
        versions = [one.partition(" (")[0] for one in titles]
        found = next((one for one in (names, titles, versions) if title in one), None)
        return names[found.index(title)] if found else title

    def mean(self, model: str, name: str, metric: str, attack: str = "none", level: float | None = 0.0) -> Cell:
        """A measured cell: the mean over images (and levels, where ``level`` is None), then over seeds."""
        rows = self.records
        chosen = rows[(rows["row"] == model) & (rows["set"] == self.set_named(name)) & (rows["attack"] == attack)]
        if level is not None:
            chosen = chosen[chosen["level"] == level]
        values = chosen.dropna(subset=[metric])
        if values.empty:
            return Cell()
        by_seed = values.groupby(["seed", "level"])[metric].mean().groupby("seed").mean()
        deviation = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None
        return Cell(float(by_seed.mean()), deviation, len(by_seed), int(chosen["image"].nunique()))


Measure = Callable[[str, str], Cell]


def paper_tables(run: Run) -> list[Table]:
    """Tables 1, 2, 5, 6, 7 with 8, and 9: every published row, measured or not, and then every other measured one."""
    return [
        Table(
            "table1",
            "Table 1. Pixel-level F1 and AUC",
            (
                _by_set(run, "Pixel F1", "f1", ("table1", "pixel_f1"), others=True),
                _by_set(run, "Pixel AUC (the framework's)", "auc_stock", ("table1", "pixel_auc"), others=True),
            ),
            ("AUC is the framework's, to compare with published numbers; the first table has the right one",),
        ),
        Table("table2", "Table 2. Ablation, pixel-level F1", (_by_set(run, "Pixel F1", "f1", ("table2", "pixel_f1")),)),
        Table(
            "table5",
            "Table 5. Permute-F1 and pixel-level IoU",
            (
                _by_set(run, "Permute-F1", "permute_f1", ("table5", "permute_f1"), others=True),
                _by_set(run, "Pixel IoU", "iou", ("table5", "pixel_iou"), others=True),
            ),
        ),
        Table("table6", "Table 6. AI-generated tampering", tuple(_table6(run, name) for name in _sets_of("table6"))),
        Table(
            "table7_8",
            "Tables 7 and 8. Robustness: pixel-level F1, mean over the levels of an attack",
            tuple(_table7(run, name) for name in _sets_of("table7_8")),
            (
                "noise (variance): the levels are variances, as the framework's wrapper takes them; noise (std): "
                "standard deviations, as the paper words it. The published column stands beside both",
                _levels_note(run),
            ),
        ),
        Table(
            "table9",
            "Table 9. Quantity of tamper-aware queries, pixel-level F1",
            (_by_set(run, "Pixel F1", "f1", ("table9", "pixel_f1")),),
        ),
    ]


def everything(run: Run) -> Table:
    """All metrics of all models on all sets without attack, and under each attack and level where there are some."""
    names = [metric.name for metric in METRICS]
    panels = []
    cases = run.records[["set", "attack", "level"]].drop_duplicates().itertuples(index=False)
    order = {name: index for index, name in enumerate(run.sets())}
    for name, attack, level in sorted(cases, key=lambda case: (order[case[0]], case[1] != "none", case[1], case[2])):
        title = name if attack == "none" else f"{name}, {attack} {level:g}"
        rows = [
            (model, [run.mean(model, name, each, attack, level) for each in names], run.footnotes.get(model, ()))
            for model in run.models()
        ]
        panels.append(_ranked(title, names, rows))
    return Table("everything", "Everything that was measured", tuple(panels))


def row_name(entry: Mapping[str, Any]) -> str:
    """The row of the tables that a model of ``suite.json`` stands in."""
    return str(entry.get("row") or entry["name"])


def name_rows(entries: Sequence[dict[str, Any]]) -> None:
    """Give each model of ``suite.json`` its row: the published one that its name spells, unless two names do."""
    rows = {folded(row): row for row in _all_rows()}
    spellings: dict[str, set[str]] = {}
    for entry in entries:
        spellings.setdefault(folded(row_name(entry)), set()).add(row_name(entry))
    for entry in entries:
        word = folded(row_name(entry))
        entry["row"] = rows.get(word, row_name(entry)) if len(spellings[word]) == 1 else row_name(entry)


def _by_set(run: Run, title: str, metric: str, block: tuple[str, str], others: bool = False) -> Panel:
    """Models x the paper's four sets and their average; with ``others`` also measured models that are not published."""
    rows = []
    for name in _rows(run, _published_rows(*block), others):
        model = ALIASES.get(name, name)
        cells = [run.mean(model, of, metric) for of in FOUR_SETS]
        cells.append(_average(cells))
        shown = [_beside(cell, published_value(*block, name, of)) for cell, of in zip(cells, _columns(), strict=True)]
        rows.append((name, shown, run.footnotes.get(model, ())))
    return _ranked(title, _columns(), rows)


def _table6(run: Run, name: str) -> Panel:
    columns = {"f1": "f1", "auc": "auc_stock", "iou": "iou"}
    rows = []
    for model in _rows(run, _published_rows("table6", name), True):
        cells = [
            _beside(run.mean(model, name, metric), published_value("table6", name, model, column))
            for column, metric in columns.items()
        ]
        rows.append((model, cells, run.footnotes.get(model, ())))
    return _ranked(name, ("F1", "AUC (the framework's)", "IoU"), rows)


def _table7(run: Run, name: str) -> Panel:
    attacks = {"JPEG": ("jpeg", "jpeg"), "blur": ("blur", "blur")}
    attacks |= {"noise (variance)": ("noise_variance", "noise"), "noise (std)": ("noise_std", "noise")}
    rows = []
    for model in _rows(run, _published_rows("table7_8", name), True):
        cells = [
            _beside(run.mean(model, name, "f1", attack, None), published_value("table7_8", name, model, column))
            for attack, column in attacks.values()
        ]
        rows.append((model, cells, run.footnotes.get(model, ())))
    return _ranked(name, tuple(attacks), rows)


def _levels_note(run: Run) -> str:
    measured = run.records[run.records["attack"] != "none"].groupby("attack")["level"].unique()
    words = [f"{name} at {', '.join(f'{level:g}' for level in sorted(levels))}" for name, levels in measured.items()]
    return f"measured levels: {'; '.join(words) or 'none'}"


def _ranked(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell], tuple[str, ...]]]) -> Panel:
    """Mark the best and the second of each column among what was measured; equal values share a rank.

    Rows with neither a measured nor a published number are left out; footnotes stand where something was measured.
    """
    rows = [row for row in rows if any(cell.value is not None or cell.published is not None for cell in row[1])]
    ranked = [list(cells) for _, cells, _ in rows]
    for column in range(len(columns)):
        values = sorted({round(c[column].value or 0, 4) for c in ranked if c[column].value is not None}, reverse=True)
        for cells in ranked:
            cell = cells[column]
            rank = values.index(round(cell.value, 4)) + 1 if cell.value is not None else 0
            if rank in (1, 2) and len(values) > 1:
                cells[column] = Cell(cell.value, cell.deviation, cell.seeds, cell.images, cell.published, rank)
    made = []
    for (name, _, notes), cells in zip(rows, ranked, strict=True):
        measured = any(cell.value is not None for cell in cells)
        made.append(Row(name, tuple(cells), notes if measured else ()))
    return Panel(title, tuple(columns), tuple(made))


def _beside(cell: Cell, value: float | None) -> Cell:
    return Cell(cell.value, cell.deviation, cell.seeds, cell.images, value)


def _average(cells: Sequence[Cell]) -> Cell:
    """Over the sets, each counting once as in the paper; only where all were measured."""
    values = [cell.value for cell in cells if cell.value is not None]
    if len(values) < len(cells):
        return Cell()
    return Cell(sum(values) / len(values), None, min(cell.seeds for cell in cells), sum(cell.images for cell in cells))


def _rows(run: Run, published_rows: Sequence[str], others: bool) -> list[str]:
    """Published rows in the paper's order with the paper's own model last, other measured models before it."""
    taken = {*_all_rows(), *ALIASES}
    extra = [name for name in run.models() if name not in taken] if others else []
    return [*published_rows, *extra]


def _published_rows(*block: str) -> list[str]:
    found: Any = published()
    for key in block:
        found = found[key]
    return list(found)


def _all_rows() -> set[str]:
    """Every model that has a row of its own somewhere in the paper."""
    return {
        name
        for block in (("table1", "pixel_f1"), ("table2", "pixel_f1"), ("table9", "pixel_f1"))
        for name in _published_rows(*block)
    }


def _sets_of(table: str) -> list[str]:
    return [key for key in published()[table] if key not in ("title", "levels", "note", "rows")]


def _columns() -> tuple[str, ...]:
    return (*FOUR_SETS, AVERAGE)
