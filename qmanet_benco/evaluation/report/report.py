"""From a run's folder to the paper's tables and figures."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.report import figures, render
from qmanet_benco.evaluation.report.gallery import html_report
from qmanet_benco.evaluation.report.tables import Run, Table, everything, name_rows, paper_tables, row_name
from qmanet_benco.evaluation.suite.records import KEYS
from qmanet_benco.files import write_bytes_atomically

DESCRIBED: dict[str, type] = dict(
    name=str,
    image_size=int,
    resize=str,
    precision=str,
    seed=int,
    batch=int,
    models=list,
    sets=list,
    environment=dict,
)
ENTRIES: dict[str, dict[str, type]] = dict(models=dict(name=str, model=str, seed=int), sets=dict(name=str, images=int))
"""What the report needs of ``suite.json``, and of each entry in two of its lists."""
MEASURED = tuple(metric.name for metric in METRICS)
FORMATS = ("md", "latex", "csv", "html")


def read_run(root: Path) -> Run:
    """The records and the description of a run, finished or not.

    Raises:
        RequestError: the folder is none of a run, or it has no records.
    """
    try:
        suite: dict[str, Any] = json.loads((root / "suite.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{root} has no readable suite.json", "the --out of `qmanet suite run`") from error
    files = sorted((root / "records").glob("*.parquet"))
    if not files:
        raise RequestError(f"{root} has no records yet", "a finished cell", "run `qmanet suite run` to its end")
    _check_description(root, suite)
    try:
        records = pandas.concat([pandas.read_parquet(path) for path in files], ignore_index=True)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise RequestError(f"records in {root} cannot be read ({reason})", "Parquet files of a run") from error
    _check_columns(root, records)
    name_rows(suite["models"])
    rows = {(entry["name"], entry["seed"]): row_name(entry) for entry in suite["models"]}
    names = {entry["name"] for entry in suite["sets"]}
    keys = list(zip(records["model"], records["seed"], strict=True))
    records["row"] = [rows.get(key, "") for key in keys]
    records = records[(records["row"] != "") & records["set"].isin(names)].reset_index(drop=True)
    if records.empty:
        raise RequestError(f"no record in {root} belongs to the models and sets of its suite.json", "a finished cell")
    footnotes: dict[str, tuple[str, ...]] = {}
    for entry in suite["models"]:
        notes = (*footnotes.get(row_name(entry), ()), *entry.get("footnotes", ()))
        if entry.get("checkpoint") == "random" and entry["model"] != "AllTampered":
            notes = (*notes, "random weights: it was never trained")
        footnotes[row_name(entry)] = tuple(dict.fromkeys(notes))
    return Run(records, suite, footnotes)


def _check_description(root: Path, suite: Any) -> None:
    """Raise RequestError where ``suite.json`` lacks something that the report needs."""
    checked = [("", suite, DESCRIBED)]
    if isinstance(suite, dict):
        for part, kinds in ENTRIES.items():
            entries = suite.get(part)
            checked += [(f"{part}: ", entry, kinds) for entry in (entries if isinstance(entries, list) else [])]
    for where, found, kinds in checked:
        for name, kind in kinds.items():
            if not isinstance(found, dict) or not isinstance(found.get(name), kind):
                got = f"{root / 'suite.json'}: {where}no {name} that is a {kind.__name__}"
                raise RequestError(got, "the --out of `qmanet suite run`")


def _check_columns(root: Path, records: pandas.DataFrame) -> None:
    for name in (*KEYS, *MEASURED):
        if name not in records or (name in MEASURED and not pandas.api.types.is_numeric_dtype(records[name])):
            raise RequestError(f"records in {root} have no column {name} of the right kind", "Parquet files of a run")


def make_report(root: Path, formats: Sequence[str] = FORMATS, images: Sequence[str] = ()) -> list[Path]:
    """Write the tables and figures of a run below ``root/report``.

    Args:
        root: the run's folder.
        formats: of :data:`FORMATS`.
        images: stems for the qualitative grid; by default the hardest.

    Returns:
        The files, in the order in which a reader wants them.

    Raises:
        RequestError: a format is unknown, or the folder has no records.
    """
    for name in formats:
        if name not in FORMATS:
            raise RequestError(f"--format {name}", ", ".join(FORMATS))
    run = read_run(root)
    out = root / "report"
    tables = [everything(run), *paper_tables(run)]
    drawn = _draw(run, root, out, images)
    written: list[Path] = []
    if "html" in formats:
        titled = [(title, png) for title, png, _ in drawn]
        written.append(_write(out / "report.html", html_report(run, root, tables, titled)))
    if "md" in formats:
        written.append(_write(out / "report.md", _markdown(run, tables, drawn)))
    for name in formats:
        if name in render.FORMATS:
            ending, text = render.FORMATS[name]
            written += [_write(out / "tables" / f"{table.key}{ending}", text(table)) for table in tables]
    return [*written, *(path for _, _, paths in drawn for path in paths)]


def _draw(run: Run, root: Path, out: Path, images: Sequence[str]) -> list[tuple[str, bytes, list[Path]]]:
    """Title, PNG and files of each figure that the records allow."""
    drawn = []
    for name, title, figure in (
        ("figure3", "Figure 3. Photo, truth and masks", figures.qualitative_grid(run, root, images)),
        ("figure4", "Figure 4. Robustness: F1 against the attack's level", figures.robustness_curves(run)),
    ):
        if figure is None:
            continue
        contents = {}
        for kind in ("png", "pdf"):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=130)
            contents[kind] = stream.getvalue()
        figures.plt.close(figure)
        paths = [_write(out / "figures" / f"{name}.{kind}", content) for kind, content in contents.items()]
        drawn.append((title, contents["png"], paths))
    return drawn


def _markdown(run: Run, tables: Sequence[Table], drawn: Sequence[tuple[str, bytes, list[Path]]]) -> str:
    suite = run.suite
    lines = [
        f"# {suite['name']}",
        "",
        f"{suite['image_size']} x {suite['image_size']} ({suite['resize']}), {suite['precision']}, seed "
        f"{suite['seed']}, batch {suite['batch']}. Bold: the best measured; underlined: the second. In brackets: the "
        "paper's own number, and measured minus published.",
        "",
        *(f"- {entry['name']}: {entry['images']} images" for entry in suite["sets"]),
        *(f"- FAILED: {line}" for line in suite.get("failures", ())),
        "",
        *(render.markdown(table) for table in tables),
        *(f"![{title}](figures/{paths[0].name})\n" for title, _, paths in drawn),
        "### Metrics",
        "",
        "| metric | definition | averages over | difference from the framework's |",
        "| --- | --- | --- | --- |",
        *(f"| {m.name} | {m.definition} | {m.averages_over} | {m.differs_from_stock} |" for m in METRICS),
        "",
        "Made with " + ", ".join(f"{name} {version}" for name, version in suite["environment"].items()) + ".",
        "",
    ]
    return "\n".join(lines)


def _write(path: Path, content: str | bytes) -> Path:
    try:
        write_bytes_atomically(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise RequestError(f"{path} cannot be written ({error.strerror})", "a folder with room") from error
    return path
