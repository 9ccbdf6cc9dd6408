"""A table as LaTeX that can be pasted into a paper: booktabs, never wider than the column or page that it stands in."""

from __future__ import annotations

from collections.abc import Sequence

from qmanet_benco.evaluation.report.cells import Cell, Panel, Table
from qmanet_benco.evaluation.report.render import cell_words, footnotes, joined, note_number

ONE_COLUMN = 6
"""Number columns that fit a column of a two-column paper; more take the page's width."""
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


_MARKS = (r"\textbf{{{}}}", r"\underline{{{}}}", r"{{\scriptsize $\pm$ {}}}")
"""The best, the second, a deviation."""


def latex(table: Table) -> str:
    """Write a ``table`` for each panel, or for those that stand beside each other; needs booktabs, graphicx.

    The caption has no number, which LaTeX gives itself. Published numbers stand in smaller lines of their own.
    """
    return "\n".join(_one(table, group) for group in table.groups())


def document(names: Sequence[str]) -> str:
    """Return a document with all tables, to look at them: ``names`` are their files beside it, without ending."""
    inputs = "\n".join(rf"\input{{{name}}}" + "\n" + r"\clearpage" for name in names)
    packages = "\\usepackage[utf8]{inputenc}\n\\usepackage{booktabs,graphicx}"
    head = f"\\documentclass[twocolumn]{{article}}\n{packages}\n"
    return f"{head}\\begin{{document}}\n{inputs}\n\\end{{document}}\n"


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def _one(table: Table, group: Sequence[Panel]) -> str:
    columns = [column for panel in group for column in panel.columns]
    remark = bool(group[0].remark_title)
    kind = "table" if len(columns) + remark <= ONE_COLUMN else "table*"
    caption = table.title if len(group) > 1 else f"{table.title}: {group[0].title}"
    heads = [*([tex(group[0].remark_title)] if remark else []), *(tex(column) for column in columns)]
    lines = [
        *(_titles(group, remark) if len(group) > 1 else []),
        rf"Model & {' & '.join(heads)} \\",
        r"\midrule",
    ]
    for row, panels in joined(group):
        cells = [cell for part in panels for cell in part]
        words = [tex(row.remark)] if remark else []
        marks = ",".join(str(note_number(table, note)) for note in row.footnotes)
        name = tex(row.name) + (rf"$^{{{marks}}}$" if marks else "")
        if row.measured:
            numbers = [cell_words(cell, *_MARKS) for cell in cells]
            lines.append(rf"{name} & {' & '.join([*words, *numbers])} \\")
        if any(cell.published is not None for cell in cells):
            label = r"\quad\footnotesize published" if row.measured else rf"\footnotesize {name}, published"
            lines.append(rf"{label} & {' & '.join([*words, *map(_published, cells)])} \\")
    return environment(kind, caption, f"l{'l' * remark}{'c' * len(columns)}", lines, _notes(table, group))


def environment(kind: str, caption: str, columns: str, lines: Sequence[str], notes: Sequence[str]) -> str:
    """Put lines of a table between booktabs' rules, with a caption above and notes below.

    Args:
        kind: ``table`` or ``table*``, whose width the lines do not exceed.
        caption: as plain text, without its full stop.
        columns: of ``tabular``.
        lines: in LaTeX.
        notes: in LaTeX, each a sentence.
    """
    below = [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize", *(rf"{note}\par" for note in notes)]
    parts = [
        rf"\begin{{{kind}}}[tbp]",
        r"\centering",
        rf"\caption{{{tex(caption)}.}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{\ignorespaces",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}}",
        *([*below, r"\end{minipage}"] if notes else []),
        rf"\end{{{kind}}}",
        "",
    ]
    return "\n".join(parts)


def _titles(group: Sequence[Panel], remark: bool) -> list[str]:
    """Return the panels' titles above their columns, and a rule under each."""
    start = 2 + remark
    spans, rules = [], []
    for panel in group:
        width = len(panel.columns)
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{tex(panel.title)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return [rf"{'& ' * (1 + remark)}{' & '.join(spans)} \\", " ".join(rules)]


def _notes(table: Table, group: Sequence[Panel]) -> list[str]:
    """Footnotes of the rows that stand here, and what is to be said of the whole table."""
    used = {note for panel in group for row in panel.rows for note in row.footnotes}
    numbered = [rf"$^{{{note_number(table, note)}}}$ {tex(note)}" for note in footnotes(table) if note in used]
    return [f"{note}." for note in [*numbered, *(tex(note[:1].upper() + note[1:]) for note in table.notes)]]


def _published(cell: Cell) -> str:
    return "" if cell.published is None else rf"\footnotesize\textit{{{cell.published:.3f}}}"
