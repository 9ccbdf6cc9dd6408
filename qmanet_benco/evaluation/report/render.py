"""Writes tables and whole reports: Markdown, LaTeX and HTML by the templates beside this file, CSV cell by cell."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from qmanet_benco.evaluation.report.cells import Cell, Group, Table

NOT_MEASURED, UNDEFINED = "not measured", "n/a"
HEADS = (
    *("table", "panel", "model", "column", "measured", "deviation", "seeds", "images", "published", "difference"),
    *("rank", "footnotes", "score"),
)
_ESCAPED = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}


def rendered(template: str, **content: Any) -> str:
    """Fill a template; in HTML the names of models, sets and images are inert text.

    Templates of LaTeX have ``<< >>`` and ``<% %>`` where the others have ``{{ }}`` and ``{% %}``.
    """
    return _templates(template.rpartition(".")[2]).get_template(template).render(content)


@cache
def _templates(ending: str) -> Environment:
    pages = Environment(
        loader=PackageLoader("qmanet_benco.evaluation.report"),
        autoescape=ending == "html",
        keep_trailing_newline=ending != "html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    if ending == "tex":
        pages = pages.overlay("<%", "%>", "<<", ">>", "<#", "#>")
    for each in (words, published, cell_title, plain, tex, tex_notes, spans, uri):
        pages.filters[each.__name__] = each
    return pages


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in GitHub's Markdown; the cells are Markdown themselves."""
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)]


def markdown(table: Table) -> str:
    """GitHub's Markdown: best bold, second underlined; published numbers in lines of their own, in italics."""
    return rendered("table.md", table=table)


def latex(table: Table) -> str:
    """Write a ``table`` for each panel, or for those that stand beside each other; needs booktabs, graphicx.

    It can be pasted into a paper and is never wider than the column or page that it stands in. The caption has no
    number, which LaTeX gives itself. Published numbers stand in smaller lines of their own.
    """
    return rendered("table.tex", table=table)


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


def words(cell: Cell, best: str, second: str, deviation: str) -> str:
    """Write ``0.812 ± 0.004``; n/a where a metric has no value, nothing where nothing was measured."""
    if cell.value is None:
        return UNDEFINED if cell.undefined else ""
    value = {1: best, 2: second}.get(cell.rank, "{}").format(f"{cell.value:.3f}")
    return f"{value} {deviation.format(f'{cell.deviation:.3f}')}" if cell.deviation is not None else value


def published(cell: Cell, pattern: str) -> str:
    """Write the published number; nothing where there is none."""
    return "" if cell.published is None else pattern.format(f"{cell.published:.3f}")


def cell_title(cell: Cell) -> str:
    """Return what is known of a cell beside its number."""
    if cell.value is None:
        return f"no value for these {cell.images} images".replace(" 0", "") if cell.undefined else NOT_MEASURED
    told = f"{cell.images} images, {cell.seeds} seed{'s' if cell.seeds != 1 else ''}"
    return told if cell.difference is None else f"{told}; {cell.difference:+.3f} to the published number"


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    escaped = html.escape(text, quote=False).replace("\n", " ")
    return "".join(f"\\{character}" if character in "|*_`[]" else character for character in escaped)


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def tex_notes(table: Table, group: Group) -> list[str]:
    """List the footnotes of the rows that stand in a group, and what is to be said of the whole table, in LaTeX."""
    used = {note for row in group.rows() for note in row.footnotes}
    numbered = [rf"$^{{{number}}}$ {tex(note)}" for number, note in enumerate(table.footnotes, 1) if note in used]
    return [f"{note}." for note in [*numbered, *(tex(note[:1].upper() + note[1:]) for note in table.notes)]]


def spans(group: Group, start: int) -> list[tuple[str, int, int]]:
    """List title, first and last column of each panel, where the first begins in column ``start``."""
    places = []
    for panel in group.panels:
        places.append((panel.title, start, start + len(panel.columns) - 1))
        start += len(panel.columns)
    return places


def uri(content: bytes, kind: str) -> str:
    """Return a picture inside a page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
