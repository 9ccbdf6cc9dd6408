"""Table 10 as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from qmanet_benco.evaluation.cost import NOT_COUNTED, Cost
from qmanet_benco.evaluation.report.render import rendered, tex
from qmanet_benco.files import write_text_atomically, writing


def write_costs(rows: Sequence[Cost], folder: Path) -> list[Path]:
    """Write ``cost.csv`` with all that was measured, and ``cost.tex`` to be pasted.

    Raises:
        RequestError: the folder cannot be written.
    """
    written = []
    for name, text in (("cost.csv", csv_text(rows)), ("cost.tex", latex(rows))):
        with writing(folder / name):
            write_text_atomically(folder / name, text)
        written.append(folder / name)
    return written


def csv_text(rows: Sequence[Cost]) -> str:
    """Write one line for each model."""
    stream = io.StringIO()
    names = [field.name for field in fields(Cost)]
    writer = csv.DictWriter(stream, [*names[:4], "flops_g", *names[4:]], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**asdict(row), "flops_g": row.flops_g})
    return stream.getvalue()


def latex(rows: Sequence[Cost]) -> str:
    """Return a ``table*`` with booktabs; needs graphicx too."""
    lines = []
    for row in rows:
        numbers = (row.params_m, row.macs_g, row.latency_s, row.peak_mib, row.published_params_m, row.published_flops_g)
        shown = ["" if number is None else f"{number:.1f}" for number in numbers]
        lines.append((f"{row.model} {row.variant}".strip(), row.image_size, shown))
    notes = [f"Not counted: {'; '.join(NOT_COUNTED)}", *(f"{row.model}: {row.note}" for row in rows if row.note)]
    return rendered("costs.tex", rows=lines, notes=[f"{tex(note)}." for note in notes])
