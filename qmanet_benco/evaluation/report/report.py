"""Makes the paper's tables and figures from a run's folder."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.detection import METRICS as DETECTION_METRICS
from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.report import figures
from qmanet_benco.evaluation.report.cells import Table, measured_only
from qmanet_benco.evaluation.report.detection import KEY as DETECTION
from qmanet_benco.evaluation.report.detection import detection_table
from qmanet_benco.evaluation.report.figures import Shown
from qmanet_benco.evaluation.report.gallery import gallery_of
from qmanet_benco.evaluation.report.render import csv_text, latex, markdown, rendered
from qmanet_benco.evaluation.report.run import ScoredRun, read_run
from qmanet_benco.evaluation.report.summary import summary
from qmanet_benco.evaluation.report.tables import everything, overview, paper_tables
from qmanet_benco.files import write_bytes_atomically, writing

logger = logging.getLogger(__name__)

FORMATS = ("md", "latex", "csv", "html")
TABLE_FORMATS: dict[str, tuple[str, Callable[[Table], str]]] = {
    "md": (".md", markdown),
    "latex": (".tex", latex),
    "csv": (".csv", csv_text),
}
"""Name of a format: the ending of a table's file, and the function."""


@dataclass(frozen=True)
class Drawn:
    """One figure."""

    name: str
    title: str
    files: dict[str, bytes]
    """Contents by the files' endings."""


def make_report(
    root: Path,
    formats: Sequence[str] = FORMATS,
    *,
    only_measured: bool = False,
    gallery: int = 0,
    chosen: Shown | None = None,
) -> list[Path]:
    """Write the tables and figures of a run below ``root/report``.

    Tables in which nothing was measured are left out; the report names them and what each needs.

    Args:
        root: the run's folder.
        formats: of :data:`FORMATS`.
        only_measured: without published numbers, and without rows that were not measured.
        gallery: images of each set in the HTML file; 0: as many as its size allows.
        chosen: what the figures show; by default everything.

    Returns:
        The files, in the order in which a reader wants them.

    Raises:
        RequestError: a format is unknown, the folder has no records, or a figure is asked for what is not there.
    """
    for name in formats:
        if name not in FORMATS:
            raise RequestError(f"--format {name}", ", ".join(FORMATS))
    if gallery < 0:
        raise RequestError(f"--gallery {gallery}", "0 (as many as fit) or more")
    run = read_run(root)
    if run.unfinished:
        logger.warning("%s is not finished: %s", root, run.unfinished)
    chosen = chosen or Shown()
    figures.check_chosen(run, chosen)
    out = root / "report"
    made = _tables(run)
    shown = [table for table in made if table.measured]
    detection = next(table for table in made if table.key == DETECTION)
    content: dict[str, Any] = {
        "suite": run.suite,
        "unfinished": run.unfinished,
        "settings": settings(run),
        "leads": summary(run, detection),
        "untrained": run.untrained(),
        "tables": [measured_only(table) for table in shown] if only_measured else shown,
        "left_out": [f"{table.heading} needs {table.needs}" for table in made if not table.measured and table.needs],
        "figures": list(_draw(run, root, chosen)),
        "metrics": METRICS,
        "detection_metrics": DETECTION_METRICS,
    }
    written: list[Path] = []
    if "html" in formats:
        page = rendered("report.html", **content, gallery=gallery_of(run, root, gallery))
        written.append(_write(out / "report.html", page))
    if "md" in formats:
        written.append(_write(out / "report.md", rendered("report.md", **content)))
    for name in formats:
        if name in TABLE_FORMATS:
            ending, text = TABLE_FORMATS[name]
            for table in made:  # an earlier report may have left one that this one leaves out
                (out / "tables" / f"{table.key}{ending}").unlink(missing_ok=True)
            written += [_write(out / "tables" / f"{table.key}{ending}", text(table)) for table in content["tables"]]
    if "latex" in formats:
        written.append(_write(out / "tables.tex", rendered("tables.tex", **content)))
    for figure in content["figures"]:
        written += [_write(out / "figures" / f"{figure.name}.{kind}", file) for kind, file in figure.files.items()]
    return written


def settings(run: ScoredRun) -> list[str]:
    """Return how the images were scored, in words."""
    suite = run.suite
    words = [f"{suite['image_size']} x {suite['image_size']} pixels ({suite['resize']})", suite["precision"]]
    return [*words, f"seed {suite['seed']}", f"batch {suite['batch']}"]


def _tables(run: ScoredRun) -> list[Table]:
    """Return all tables, in the order in which a reader wants them."""
    first, *others = paper_tables(run)
    return [overview(run), first, detection_table(run), *others, everything(run)]


def _draw(run: ScoredRun, root: Path, chosen: Shown) -> Iterator[Drawn]:
    """Draw the figures that the records allow."""
    for name, title, figure in (
        ("figure4", "Robustness: F1 against the attack's level (Figure 4)", figures.robustness_curves(run, chosen)),
        ("figure3", "Photo, truth and masks (Figure 3)", figures.qualitative_grid(run, root, chosen)),
    ):
        if figure is None:
            continue
        files = {}
        for kind in ("png", "pdf"):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=130)
            files[kind] = stream.getvalue()
        figures.plt.close(figure)
        yield Drawn(name, title, files)


def _write(path: Path, content: str | bytes) -> Path:
    with writing(path):
        write_bytes_atomically(path, content.encode() if isinstance(content, str) else content)
    return path
