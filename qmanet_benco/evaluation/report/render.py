"""A table as Markdown and CSV, and the words of its cells."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Sequence

from qmanet_benco.evaluation.report.cells import Cell, Panel, Row, Table

NOT_MEASURED, UNDEFINED = "not measured", "n/a"
HEADS = (
    *("table", "panel", "model", "column", "measured", "deviation", "seeds", "images", "published", "difference"),
    *("rank", "footnotes", "score"),
)


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in GitHub's Markdown; the cells are Markdown themselves."""
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)]


def markdown(table: Table) -> str:
    """GitHub's Markdown: best bold, second underlined; published numbers in lines of their own, in italics."""
    lines = [f"### {plain(table.heading)}", ""]
    for group in table.groups():
        first = group[0]
        rows = []
        for row, panels in joined(group):
            numbers = ",".join(str(note_number(table, note)) for note in row.footnotes)
            marks = f"<sup>{numbers}</sup>" if numbers else ""
            remark = [plain(row.remark)] if first.remark_title else []
            cells = [cell for part in panels for cell in part]
            if row.measured:
                words = [cell_words(cell, "**{}**", "<u>{}</u>", "± {}") for cell in cells]
                rows.append([f"{plain(row.name)}{marks}", *remark, *words])
            if any(cell.published is not None for cell in cells):
                name = "*published*" if row.measured else f"*{plain(row.name)}, published*"
                rows.append([name, *remark, *(_published(cell) for cell in cells)])
        heads = [plain(head) for head in column_heads(group)]
        remark = [plain(first.remark_title)] if first.remark_title else []
        lines += [f"**{plain(group_title(group))}**", ""] if group_title(group) else []
        lines += [*markdown_table(["model", *remark, *heads], rows), ""]
    lines += [f"{number}. {plain(note)}" for number, note in enumerate(footnotes(table), 1)]
    lines += ["", *(f"- {plain(note)}" for note in table.notes), ""]
    return "\n".join(lines)


def csv_text(table: Table) -> str:
    """Write one line for each cell, with everything that is known of it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADS)
    for panel in table.panels:
        for row in panel.rows:
            for column, cell in zip(panel.columns, row.cells, strict=True):
                numbers = [_number(cell.value), _number(cell.deviation), cell.seeds, cell.images]
                numbers += [_number(cell.published), _number(cell.difference), cell.rank or ""]
                notes = "; ".join(row.footnotes)
                writer.writerow([table.key, panel.title, row.name, column, *numbers, notes, row.remark])
    return stream.getvalue()


def joined(group: Sequence[Panel]) -> list[tuple[Row, list[tuple[Cell, ...]]]]:
    """Rows of panels that stand beside each other: one row for each model, with its cells in each panel."""
    by_name = [{row.name: row for row in panel.rows} for panel in group]
    shown = []
    for name in dict.fromkeys(name for rows in by_name for name in rows):
        cells = [
            rows[name].cells if name in rows else tuple(Cell() for _ in panel.columns)
            for rows, panel in zip(by_name, group, strict=True)
        ]
        own = [rows[name] for rows in by_name if name in rows]
        notes = tuple(dict.fromkeys(note for row in own for note in row.footnotes))
        flat = tuple(cell for part in cells for cell in part)
        shown.append((Row(name, flat, notes, own[0].remark), cells))
    return shown


def group_title(group: Sequence[Panel]) -> str:
    """Return the title of a panel; panels beside each other have theirs above their columns."""
    return group[0].title if len(group) == 1 else ""


def column_heads(group: Sequence[Panel]) -> list[str]:
    """Names of all columns, with the panel's title where panels stand beside each other."""
    if len(group) == 1:
        return list(group[0].columns)
    return [f"{panel.title}: {column}" for panel in group for column in panel.columns]


def cell_words(cell: Cell, best: str, second: str, deviation: str) -> str:
    """Write ``0.812 ± 0.004``; n/a where a metric has no value, nothing where nothing was measured."""
    if cell.value is None:
        return UNDEFINED if cell.undefined else ""
    value = {1: best, 2: second}.get(cell.rank, "{}").format(f"{cell.value:.3f}")
    return f"{value} {deviation.format(f'{cell.deviation:.3f}')}" if cell.deviation is not None else value


def cell_title(cell: Cell) -> str:
    """Return what is known of a cell beside its number."""
    if cell.value is None:
        return f"no value for these {cell.images} images".replace(" 0", "") if cell.undefined else NOT_MEASURED
    words = f"{cell.images} images, {cell.seeds} seed{'s' if cell.seeds != 1 else ''}"
    return words if cell.difference is None else f"{words}; {cell.difference:+.3f} to the published number"


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    escaped = html.escape(text, quote=False).replace("\n", " ")
    return "".join(f"\\{character}" if character in "|*_`[]" else character for character in escaped)


def footnotes(table: Table) -> list[str]:
    """Notes of all rows, in the order of their numbers."""
    return list(dict.fromkeys(note for panel in table.panels for row in panel.rows for note in row.footnotes))


def note_number(table: Table, note: str) -> int:
    """Return the number of a row's note, from 1."""
    return footnotes(table).index(note) + 1


def _published(cell: Cell) -> str:
    return "" if cell.published is None else f"*{cell.published:.3f}*"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
