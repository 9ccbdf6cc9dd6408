"""The HTML report: one file without links to anything else, the summary first, the versions last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qmanet_benco.evaluation.detection import METRICS as DETECTION_METRICS
from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.report import render
from qmanet_benco.evaluation.report.cells import Table
from qmanet_benco.evaluation.report.gallery import Gallery, uri
from qmanet_benco.evaluation.report.run import ScoredRun
from qmanet_benco.evaluation.report.summary import Lead

FIRST = ("overview", "table1", "detection")
"""Tables that stand before curves and gallery."""
MARKS = ("<b>{}</b>", "<u>{}</u>", "<small>± {}</small>")
"""The best, the second, a deviation."""


@dataclass(frozen=True)
class Drawn:
    """One figure."""

    name: str
    title: str
    png: bytes


@dataclass(frozen=True)
class Content:
    """What a report holds."""

    run: ScoredRun
    leads: Sequence[Lead]
    tables: Sequence[Table]
    left_out: Sequence[str]
    """Names of tables in which nothing was measured, and what each needs."""
    figures: Sequence[Drawn]


def html_report(content: Content, gallery: Gallery) -> str:
    """Make the whole report as one file.

    Returns:
        HTML that refers to nothing outside itself; names of models, sets and images are inert text.
    """
    pages = Environment(
        loader=PackageLoader("qmanet_benco.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.globals |= {
        "note_number": render.note_number,
        "footnotes": render.footnotes,
        "cell_title": render.cell_title,
        "joined": render.joined,
        "group_title": render.group_title,
        "cell_words": lambda cell: Markup(render.cell_words(cell, *MARKS)),  # numbers alone
    }
    return pages.get_template("report.html").render(
        suite=content.run.suite,
        settings=settings(content.run),
        leads=content.leads,
        untrained=content.run.untrained(),
        first=[table for table in content.tables if table.key in FIRST],
        others=[table for table in content.tables if table.key not in FIRST],
        left_out=content.left_out,
        # the gallery shows what Figure 3 does, and can be sorted
        figures=[(figure.title, uri(figure.png, "png")) for figure in content.figures if figure.name != "figure3"],
        metrics=METRICS,
        detection_metrics=DETECTION_METRICS,
        items=gallery.items,
        kept=gallery.kept,
    )


def settings(run: ScoredRun) -> list[str]:
    """Return how the images were scored, in words."""
    suite = run.suite
    words = [f"{suite['image_size']} x {suite['image_size']} pixels ({suite['resize']})", suite["precision"]]
    return [*words, f"seed {suite['seed']}", f"batch {suite['batch']}"]
