"""Makes the paper's tables and figures from a run's folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.report import figures, render
from qmanet_benco.evaluation.report.cells import Table, measured_only
from qmanet_benco.evaluation.report.detection import KEY as DETECTION
from qmanet_benco.evaluation.report.detection import detection_table
from qmanet_benco.evaluation.report.figures import Shown
from qmanet_benco.evaluation.report.gallery import gallery_of
from qmanet_benco.evaluation.report.latex import document, latex
from qmanet_benco.evaluation.report.page import Content, Drawn, html_report, settings
from qmanet_benco.evaluation.report.run import ScoredRun, read_run
from qmanet_benco.evaluation.report.summary import summary
from qmanet_benco.evaluation.report.tables import everything, overview, paper_tables
from qmanet_benco.files import write_bytes_atomically, writing

FORMATS = ("md", "latex", "csv", "html")
TABLE_FORMATS: dict[str, tuple[str, Callable[[Table], str]]] = {
    "md": (".md", render.markdown),
    "latex": (".tex", latex),
    "csv": (".csv", render.csv_text),
}
"""Name of a format: the ending of a table's file, and the function."""


def make_report(
    root: Path,
    formats: Sequence[str] = FORMATS,
    images: Sequence[str] = (),
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
        images: stems for the qualitative grid; by default the hardest.
        only_measured: without published numbers, and without rows that were not measured.
        gallery: images of each set in the HTML file; 0: as many as its size allows.
        chosen: what the figures show; ``images`` come first.

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
    chosen = chosen or Shown(images=tuple(images))
    figures.check_chosen(run, chosen)
    out = root / "report"
    drawn, drawn_paths = _draw(run, root, out, chosen)
    made = _tables(run)
    content = _content(run, made, only_measured, drawn)
    written: list[Path] = []
    if "html" in formats:
        written.append(_write(out / "report.html", html_report(content, gallery_of(run, root, gallery))))
    if "md" in formats:
        written.append(_write(out / "report.md", _markdown(content)))
    for name in formats:
        if name in TABLE_FORMATS:
            ending, text = TABLE_FORMATS[name]
            for table in made:  # an earlier report may have left one that this one leaves out
                (out / "tables" / f"{table.key}{ending}").unlink(missing_ok=True)
            written += [_write(out / "tables" / f"{table.key}{ending}", text(table)) for table in content.tables]
    if "latex" in formats:
        written.append(_write(out / "tables.tex", document([f"tables/{table.key}" for table in content.tables])))
    return [*written, *drawn_paths]


def _tables(run: ScoredRun) -> list[Table]:
    """Return all tables, in the order in which a reader wants them."""
    first, *others = paper_tables(run)
    return [overview(run), first, detection_table(run), *others, everything(run)]


def _content(run: ScoredRun, made: Sequence[Table], only_measured: bool, drawn: Sequence[Drawn]) -> Content:
    tables = [table for table in made if table.measured]
    left_out = [f"{table.heading} needs {table.needs}" for table in made if not table.measured and table.needs]
    detection = next(table for table in made if table.key == DETECTION)
    if only_measured:
        tables = [measured_only(table) for table in tables]
    return Content(run, summary(run, detection), tables, left_out, drawn)


def _draw(run: ScoredRun, root: Path, out: Path, chosen: Shown) -> tuple[list[Drawn], list[Path]]:
    """Return the figures that the records allow, and their files."""
    drawn, paths = [], []
    for name, title, figure in (
        ("figure4", "Robustness: F1 against the attack's level (Figure 4)", figures.robustness_curves(run, chosen)),
        ("figure3", "Photo, truth and masks (Figure 3)", figures.qualitative_grid(run, root, chosen)),
    ):
        if figure is None:
            continue
        contents = {}
        for kind in ("png", "pdf"):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=130)
            contents[kind] = stream.getvalue()
        figures.plt.close(figure)
        paths += [_write(out / "figures" / f"{name}.{kind}", content) for kind, content in contents.items()]
        drawn.append(Drawn(name, title, contents["png"]))
    return drawn, paths


def _markdown(content: Content) -> str:
    suite = content.run.suite
    ahead = [
        [lead.where, str(lead.images), lead.best, f"{lead.value:.3f}", lead.second or "only one model", lead.words]
        for lead in content.leads
    ]
    untrained = render.plain(", ".join(content.run.untrained()))
    plain = [[render.plain(word) for word in line] for line in ahead]
    versions = ", ".join(f"{name} {version}" for name, version in suite["environment"].items())
    left_out = f"Left out, because nothing in them was measured: {'; '.join(content.left_out)}."
    heads = ["metric", "definition", "averages over", "difference from the framework's"]
    definitions = [[m.title, m.definition, m.averages_over, m.differs_from_stock] for m in METRICS]
    lines = [
        f"# {suite['name']}",
        "",
        *(f"- FAILED: {line}" for line in suite.get("failures", ())),
        "### Who is ahead",
        "",
        *render.markdown_table(["where", "images", "ahead", "value", "then", "by"], plain),
        "",
        *([f"Never trained, scored with random weights: {untrained}.", ""] if untrained else []),
        "± is half of the 95 % interval of the mean difference, image by image. Bold: the best measured; underlined: "
        "the second; in italics: published numbers.",
        "",
        *(render.markdown(table) for table in content.tables),
        *(f"![{figure.title}](figures/{figure.name}.png)\n" for figure in content.figures),
        *([left_out, ""] if content.left_out else []),
        "### Metrics",
        "",
        *render.markdown_table(heads, definitions),
        "",
        "### How this was made",
        "",
        f"- {'; '.join(settings(content.run))}",
        *(f"- {entry['name']}: {entry['images']} images" for entry in suite["sets"]),
        f"- {versions}",
        "",
    ]
    return "\n".join(lines)


def _write(path: Path, content: str | bytes) -> Path:
    with writing(path):
        write_bytes_atomically(path, content.encode() if isinstance(content, str) else content)
    return path
