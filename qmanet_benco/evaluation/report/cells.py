"""The parts of a report's table: cells, rows and panels; marks the best cell of each column."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

DIGITS = 3
"""After the decimal point, as printed: values that look equal share a rank."""


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    value: float | None = None
    """Measured: the mean over images, then over seeds; None: not measured, or not defined."""
    deviation: float | None = None
    """Over seeds (with n - 1), where there are several."""
    seeds: int = 0
    images: int = 0
    published: float | None = None
    rank: int = 0
    """1: the best measured of its column, 2: the second."""
    by_seed: Mapping[int, float] = field(default_factory=dict)
    undefined: bool = False
    """Images were scored, but the metric has no value for them."""

    @classmethod
    def of_seeds(cls, by_seed: Mapping[int, float], images: int) -> Cell:
        """Take the mean over one or more seeds."""
        mean = sum(by_seed.values()) / len(by_seed)
        return cls(mean, deviation_of(by_seed), len(by_seed), images, by_seed=by_seed)

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
    remark: str = ""
    """A word beside the name, under the panel's ``remark_title``."""

    @property
    def measured(self) -> bool:
        """Whether it holds a measured number, or one that has no value."""
        return any(cell.value is not None or cell.undefined for cell in self.cells)

    @property
    def published(self) -> bool:
        """Whether it holds a published number."""
        return any(cell.published is not None for cell in self.cells)


@dataclass(frozen=True)
class Panel:
    """Rows and columns under one metric or one set."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    beside: bool = False
    """Stands beside the panel before it, whose rows it shares."""
    remark_title: str = ""


@dataclass(frozen=True)
class Group:
    """Panels that stand beside each other."""

    panels: tuple[Panel, ...]

    @property
    def title(self) -> str:
        """The title of a panel; panels beside each other have theirs above their columns."""
        return self.panels[0].title if len(self.panels) == 1 else ""

    @property
    def remark_title(self) -> str:
        """The head of the rows' remarks; empty where they have none."""
        return self.panels[0].remark_title

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return [column for panel in self.panels for column in panel.columns]

    def rows(self) -> list[Row]:
        """One row for each model, with its cells in every panel."""
        by_name = [{row.name: row for row in panel.rows} for panel in self.panels]
        shown = []
        for name in dict.fromkeys(name for rows in by_name for name in rows):
            cells = [
                rows[name].cells if name in rows else tuple(Cell() for _ in panel.columns)
                for rows, panel in zip(by_name, self.panels, strict=True)
            ]
            own = [rows[name] for rows in by_name if name in rows]
            notes = tuple(dict.fromkeys(note for row in own for note in row.footnotes))
            shown.append(Row(name, tuple(cell for part in cells for cell in part), notes, own[0].remark))
        return shown


@dataclass(frozen=True)
class Table:
    """One table of the report."""

    key: str
    """``table1``, ...: also its file's name."""
    title: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()
    paper: str = ""
    """Its number in the paper."""
    needs: str = ""
    """What has to be measured for it."""

    @property
    def measured(self) -> bool:
        """Whether anything of it was measured."""
        return any(row.measured for panel in self.panels for row in panel.rows)

    @property
    def heading(self) -> str:
        """The title with the paper's number."""
        return f"{self.title} (the paper's {self.paper})" if self.paper else self.title

    def groups(self) -> list[Group]:
        """Panels with those that stand beside them."""
        groups: list[Group] = []
        for panel in self.panels:
            if panel.beside and groups:
                groups[-1] = Group((*groups[-1].panels, panel))
            else:
                groups.append(Group((panel,)))
        return groups

    @property
    def footnotes(self) -> list[str]:
        """Notes of all rows, in the order of their numbers."""
        return list(dict.fromkeys(note for panel in self.panels for row in panel.rows for note in row.footnotes))

    def marks(self, row: Row) -> str:
        """Return the numbers of a row's notes, from 1, e.g. ``1,3``."""
        return ",".join(str(self.footnotes.index(note) + 1) for note in row.footnotes)


def average(cells: Sequence[Cell]) -> Cell:
    """Over the sets, each counting once as in the paper; only where all were measured.

    Its deviation is that of the seeds' averages, where every set has the same seeds.
    """
    values = [cell.value for cell in cells if cell.value is not None]
    if not cells or len(values) < len(cells):
        return Cell()
    seeds = set(cells[0].by_seed)
    by_seed: dict[int, float] = {}
    if all(set(cell.by_seed) == seeds for cell in cells):
        by_seed = {seed: sum(cell.by_seed[seed] for cell in cells) / len(cells) for seed in sorted(seeds)}
    images = sum(cell.images for cell in cells)
    count = min(cell.seeds for cell in cells)
    return Cell(sum(values) / len(values), deviation_of(by_seed), count, images, by_seed=by_seed)


def deviation_of(by_seed: Mapping[int, float]) -> float | None:
    """Return the standard deviation over seeds (with n - 1); None for one seed."""
    if len(by_seed) < 2:
        return None
    mean = sum(by_seed.values()) / len(by_seed)
    return float((sum((value - mean) ** 2 for value in by_seed.values()) / (len(by_seed) - 1)) ** 0.5)


def ranked(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    beside: bool = False,
    remark_title: str = "",
    lower_is_better: Collection[str] = (),
) -> Panel:
    """Mark the best and the second of each column among what was measured; equal values share a rank.

    Rows with neither a measured nor a published number are left out; footnotes stand where something was measured.
    """
    rows = [row for row in rows if row.measured or row.published]
    cells = [list(row.cells) for row in rows]
    for column, name in enumerate(columns):
        values = sorted(
            {round(line[column].value or 0, DIGITS) for line in cells if line[column].value is not None},
            reverse=name not in lower_is_better,
        )
        for line in cells:
            value = line[column].value
            rank = values.index(round(value, DIGITS)) + 1 if value is not None and len(values) > 1 else 0
            line[column] = replace(line[column], rank=rank if rank in (1, 2) else 0)
    made = tuple(
        replace(row, cells=tuple(line), footnotes=row.footnotes if row.measured else ())
        for row, line in zip(rows, cells, strict=True)
    )
    return Panel(title, tuple(columns), made, beside, remark_title)


def measured_only(table: Table) -> Table:
    """Return the table without published numbers and without rows and panels that were not measured."""
    panels = []
    for panel in table.panels:
        rows = tuple(
            replace(row, cells=tuple(replace(cell, published=None) for cell in row.cells))
            for row in panel.rows
            if row.measured
        )
        if rows:
            panels.append(replace(panel, rows=rows))
    return replace(table, panels=tuple(panels))
