"""A table as Markdown, LaTeX and CSV, and the words of its cells."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Iterable, Sequence

from qmanet_benco.evaluation.report.tables import Cell, Row, Table

NOT_MEASURED = "not measured"
_LATEX = {
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
}


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in GitHub's Markdown; the cells are Markdown themselves."""
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)]


def markdown(table: Table) -> str:
    """GitHub's Markdown: best bold, second underlined, the published number and the difference in brackets."""
    lines = [f"### {_plain(table.title)}", ""]
    for panel in table.panels:
        rows = []
        for row in panel.rows:
            marks = "".join(f"<sup>{note_number(table, note)}</sup>" for note in row.footnotes)
            cells = [cell_words(cell, "**{}**", "<u>{}</u>", "±") for cell in row.cells]
            rows.append([f"{_plain(row.name)}{marks}", *cells])
        lines += [f"**{_plain(panel.title)}**", ""]
        lines += [*markdown_table(["model", *map(_plain, panel.columns)], rows), ""]
    lines += [f"{number}. {_plain(note)}" for number, note in enumerate(footnotes(table), 1)]
    lines += ["", *(f"- {_plain(note)}" for note in table.notes), ""]
    return "\n".join(lines)


def latex(table: Table) -> str:
    """A ``table`` with booktabs for each panel."""
    lines = []
    for panel in table.panels:
        lines += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{tex(table.title)}: {tex(panel.title)}. Published numbers and differences in brackets.}}",
            rf"\begin{{tabular}}{{l{'c' * len(panel.columns)}}}",
            r"\toprule",
            rf"model & {' & '.join(tex(column) for column in panel.columns)} \\",
            r"\midrule",
        ]
        for row in panel.rows:
            marks = "".join(rf"$^{{{note_number(table, note)}}}$" for note in row.footnotes)
            cells = " & ".join(cell_words(cell, r"\textbf{{{}}}", r"\underline{{{}}}", r"$\pm$") for cell in row.cells)
            lines.append(rf"{tex(row.name)}{marks} & {cells} \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [rf"\\ {{\footnotesize $^{{{number}}}$ {tex(note)}}}" for number, note in _used(table, panel.rows)]
        lines += [r"\end{table}", ""]
    return "\n".join(lines)


def csv_text(table: Table) -> str:
    """One line for each cell, with everything that is known of it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            "table",
            "panel",
            "model",
            "column",
            "measured",
            "deviation",
            "seeds",
            "images",
            "published",
            "difference",
            "rank",
            "footnotes",
        ]
    )
    for panel in table.panels:
        for row in panel.rows:
            for column, cell in zip(panel.columns, row.cells, strict=True):
                numbers = [_number(cell.value), _number(cell.deviation), cell.seeds, cell.images]
                numbers += [_number(cell.published), _number(cell.difference), cell.rank or ""]
                writer.writerow([table.key, panel.title, row.name, column, *numbers, "; ".join(row.footnotes)])
    return stream.getvalue()


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(character, character) for character in text)


def cell_words(cell: Cell, best: str, second: str, plus_minus: str) -> str:
    """``0.812 ± 0.004 (published 0.826, -0.014)``."""
    published = "" if cell.published is None else f"published {cell.published:.3f}"
    if cell.value is None:
        return f"{NOT_MEASURED} ({published})" if published else NOT_MEASURED
    value = f"{cell.value:.3f}"
    value = {1: best, 2: second}.get(cell.rank, "{}").format(value)
    value += f" {plus_minus} {cell.deviation:.3f}" if cell.deviation is not None else ""
    return f"{value} ({published}, {cell.difference:+.3f})" if published else value


def cell_title(cell: Cell) -> str:
    return f"{cell.images} images, {cell.seeds} seed{'s' if cell.seeds != 1 else ''}" if cell.images else NOT_MEASURED


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    escaped = html.escape(text, quote=False).replace("\n", " ")
    return "".join(f"\\{character}" if character in "|*_`[]" else character for character in escaped)


def footnotes(table: Table) -> list[str]:
    return list(dict.fromkeys(note for panel in table.panels for row in panel.rows for note in row.footnotes))


def note_number(table: Table, note: str) -> int:
    return footnotes(table).index(note) + 1


def _used(table: Table, rows: Iterable[Row]) -> list[tuple[int, str]]:
    notes = dict.fromkeys(note for row in rows for note in row.footnotes)
    return [(note_number(table, note), note) for note in notes]


FORMATS: dict[str, tuple[str, Callable[[Table], str]]] = {
    "md": (".md", markdown),
    "latex": (".tex", latex),
    "csv": (".csv", csv_text),
}
"""Name of a format: the file's ending, and the function."""
