"""Records: one row per image in Parquet files, one file for each model, seed, set, attack and level.

While a cell (one such combination) is being scored, its rows lie in parts below ``.parts``; each part holds whole
batches. A finished cell is one file whose rows stand in the order of the set, so an interrupted run ends with the same
bytes as one that was not. The fingerprint of a cell is in the name of its file and of its parts: rows of another
model, set or version never meet.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from qmanet_benco.errors import RequestError
from qmanet_benco.files import write_atomically, writing

TEXT = ("model", "set", "attack", "image", "image_score_rule", "selection")
WHOLE = ("seed", "height", "width")
TRUTH = ("authentic",)
KEYS = ("model", "seed", "set", "attack", "level", "image")
COLUMNS = (
    *KEYS,
    *("f1", "permute_f1", "iou", "auc", "auc_stock", "mcc", "f1_best", "threshold_best", "f1_strict"),
    *("authentic", "tampered", "predicted", "image_score", "image_score_rule", "image_maximum"),
    *("height", "width", "selection"),
)
NUMBERS = tuple(name for name in COLUMNS if name not in (*TEXT, *WHOLE, *TRUTH))
_SAFE = re.compile(r"[^A-Za-z0-9._@ -]")
_LONGEST = 120
"""Characters of a file's name; the file systems' limit is 255 bytes."""
Record = Mapping[str, Any]
"""One scored image: its value in each of :data:`COLUMNS`."""


def safe_name(name: str) -> str:
    """Return a name for a file: letters, digits, ``- _ . @`` and space stay, every other character becomes ``_``.

    A name that had to be changed gets eight digits of its SHA-256, so that two names never become one.
    """
    safe = _SAFE.sub("_", name)[:_LONGEST].strip()
    safe = f"_{safe}" if safe.startswith(".") or not safe else safe
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def preview(run: Path, kind: str, name: str, stem: str, model: str = "") -> Path:
    """Return where a run keeps a small picture of an image: ``photo``, ``truth`` or ``mask`` (of a model)."""
    folder = run / "previews" / kind
    folder = folder / safe_name(model) if model else folder
    return folder / safe_name(name) / f"{safe_name(stem)}{'.jpg' if kind == 'photo' else '.png'}"


class Store:
    """The records of one cell."""

    def __init__(self, root: Path, label: str, fingerprint: str) -> None:
        """Take a cell.

        Args:
            root: the run's folder.
            label: what is scored, e.g. ``QMA-Net@0 CASIAv1 jpeg-50``; part of the file's name.
            fingerprint: of everything that the rows depend on, as hexadecimal digits.
        """
        self.folder = root / "records"
        self.label = safe_name(label)
        self.fingerprint = fingerprint[:16]
        self.file = self.folder / f"{self.label} {self.fingerprint}.parquet"
        self.parts = self.folder / ".parts" / self.file.stem
        self.superseded = root / "superseded"

    def begun(self) -> dict[int, list[dict[str, Any]]]:
        """Rows of the finished batches by the batch's number; a part that cannot be read counts as not there."""
        rows: dict[int, list[dict[str, Any]]] = {}
        for part in sorted(self.parts.glob("*.parquet")):
            with contextlib.suppress(RequestError):
                for row in read_rows(part):
                    if isinstance(batch := row.pop("batch", None), int):
                        rows.setdefault(batch, []).append(row)
        return rows

    def append(self, batches: Mapping[int, Sequence[Record]]) -> None:
        """Keep the rows of whole batches, in a new part that appears at once or not at all."""
        if not batches:
            return
        rows = [{**row, "batch": number} for number, of_batch in batches.items() for row in of_batch]
        self.parts.mkdir(parents=True, exist_ok=True)
        _write(rows, self.parts / f"{min(batches):08d}.parquet", (*COLUMNS, "batch"))

    def finish(self, rows: Sequence[Record]) -> None:
        """Write the whole cell, then remove its parts and set files of other fingerprints aside."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(rows, self.file, COLUMNS)
        shutil.rmtree(self.parts, ignore_errors=True)
        self._set_aside()

    def _set_aside(self) -> None:
        """Move files of the same cell with another fingerprint to ``superseded``: nothing is deleted or mixed."""
        pattern = re.compile(re.escape(self.label) + r" [0-9a-f]{16}\.parquet")
        for path in self.folder.glob("*.parquet"):
            if pattern.fullmatch(path.name) and path != self.file:
                self.superseded.mkdir(parents=True, exist_ok=True)
                path.replace(self.superseded / path.name)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file.

    Raises:
        RequestError: it cannot be read.
    """
    try:
        table = parquet.read_table(path)
        missing = [name for name in COLUMNS if name not in table.column_names]
        if missing:
            raise RequestError(f"{path} has no column {missing[0]}", "a file of records", "remove it and run again")
        return list(table.to_pylist())
    except (OSError, pyarrow.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(
            f"{path} cannot be read ({reason})", "a file of records", "remove it and run again"
        ) from error


def _write(rows: Sequence[Record], target: Path, columns: Sequence[str]) -> None:
    kinds = {name: pyarrow.string() for name in TEXT} | {name: pyarrow.int64() for name in (*WHOLE, "batch")}
    kinds |= {name: pyarrow.bool_() for name in TRUTH} | {name: pyarrow.float64() for name in NUMBERS}
    schema = pyarrow.schema([(name, kinds[name]) for name in columns])
    table = pyarrow.Table.from_pylist([{name: row[name] for name in columns} for row in rows], schema)
    with writing(target, "records written before are kept"):
        write_atomically(target, lambda path: parquet.write_table(table, path, compression="zstd"), only_writer=True)
