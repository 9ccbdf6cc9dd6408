"""The outcome of a check as a table on a terminal or in a log."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qmanet_benco.data.check.check import FAILURE, SetReport

LOG_WIDTH = 160
"""Characters of the table in a log, where rich would assume 80 and cut the paths."""
SHOWN = 20
"""Findings of one set that are written out; JSON has them all."""


def show_reports(reports: Sequence[SetReport], console: Console | None = None) -> None:
    """One line for each set, then what was found."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=LOG_WIDTH)
    table = Table("path", "set", "tampered", "paper", "authentic", "smallest", "largest", "failures", "notes")
    for report in reports:
        failures = sum(finding.level == FAILURE for finding in report.findings)
        table.add_row(
            escape(report.path),
            report.set or "-",
            str(report.tampered),
            "-" if report.expected is None else str(report.expected),
            str(report.authentic),
            _size(report.smallest),
            _size(report.largest),
            str(failures),
            str(len(report.findings) - failures),
        )
    console.print(table)
    for report in reports:
        worst_first = sorted(report.findings, key=lambda finding: finding.level != FAILURE)
        for finding in worst_first[:SHOWN]:
            line = f"{finding.level}: {finding.file or report.path}: {finding.what}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if len(worst_first) > SHOWN:
            console.print(f"{report.path}: {len(worst_first) - SHOWN} more (--json has all)", markup=False)


def _size(size: tuple[int, int] | None) -> str:
    return "-" if size is None else f"{size[0]} x {size[1]}"
