"""Writes what a machine showed as gpu.json and gpu.md; both are whole at every moment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from qmanet_benco.files import write_text_atomically

PASSED, FAILED, SKIPPED, CUT_OFF, RUNNING = "passed", "failed", "skipped", "cut off", "running"
TITLE = "QMA-Net on this machine"


class Notes:
    """Figures of one phase, which its process writes as soon as it has them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures: dict[str, Any] = read_notes(path)

    def note(self, **figures: Any) -> None:
        """Add or replace figures."""
        self.figures |= figures
        self._write()

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Add a row to a table."""
        self.figures.setdefault(name, []).append(dict(row))
        self._write()

    def _write(self) -> None:
        write_text_atomically(self.path, json.dumps(self.figures, indent=1))


def read_notes(path: Path) -> dict[str, Any]:
    """The figures of a phase so far."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


class Report:
    """Everything about one run of the check; :meth:`write` keeps it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.content: dict[str, Any] = {**settings, "started": _now(), "finished": False, "phases": []}

    def begin(self, name: str) -> dict[str, Any]:
        """The entry of a phase, which the caller fills."""
        entry: dict[str, Any] = {"name": name, "status": RUNNING, "reason": "", "seconds": 0.0, "figures": {}}
        self.content["phases"].append(entry)
        return entry

    def status_of(self, name: str) -> str:
        """How a phase ended; empty for one that has not begun."""
        statuses = [entry["status"] for entry in self.content["phases"] if entry["name"] == name]
        return str(statuses[-1]) if statuses else ""

    def write(self) -> None:
        """Both files, each at once."""
        self.content["updated"] = _now()
        write_text_atomically(self.folder / "gpu.json", json.dumps(self.content, indent=1) + "\n")
        write_text_atomically(self.folder / "gpu.md", as_markdown(self.content))


def as_markdown(content: Mapping[str, Any]) -> str:
    """The report for a reader: the machine, how each phase ended, and all figures."""
    settings = {key: value for key, value in content.items() if key != "phases"}
    lines = [
        f"# {TITLE}",
        "",
        *_bullets(settings),
        "",
        "| phase | ended | seconds | why |",
        "| --- | --- | --- | --- |",
    ]
    for entry in content["phases"]:
        reason = str(entry["reason"]).replace("|", "/")
        lines.append(f"| {entry['name']} | {entry['status']} | {entry['seconds']:.0f} | {reason} |")
    for entry in content["phases"]:
        if entry["figures"]:
            lines += ["", f"## {entry['name']}", ""]
            scalars = {key: value for key, value in entry["figures"].items() if not _is_table(value)}
            lines += _bullets(scalars)
            for key, value in entry["figures"].items():
                if _is_table(value):
                    lines += ["", f"{key}:", "", *_table(value)]
    return "\n".join(lines) + "\n"


def _bullets(values: Mapping[str, Any]) -> list[str]:
    return [f"- {key.replace('_', ' ')}: {_shown(value)}" for key, value in values.items()]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [f"| {' | '.join(column.replace('_', ' ') for column in columns)} |", "| --- " * len(columns) + "|"]
    for row in rows:
        cells = (_shown(row.get(column)).replace("|", "/") for column in columns)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(one)}" for key, one in value.items())
    return " ".join(str(value).split())


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
