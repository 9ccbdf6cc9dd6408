"""Writes what a prepared folder says about itself: ``manifest.csv``, ``left_out.csv``, and a journal meanwhile."""

from __future__ import annotations

import contextlib
import csv
import filecmp
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from qmanet_benco.data.prepare.archive import LeftOut
from qmanet_benco.errors import RequestError

MANIFEST, LEFT_OUT, JOURNAL, HEADER = "manifest.csv", "left_out.csv", ".journal.jsonl", ".prepared.json"
LIST = "list.json"
PARTIAL = ".partial"
OWN_PARTIAL = re.compile(
    r"((Tp|Gt|Au)__.+|manifest\.csv|left_out\.csv|list\.json|\w+_COCO_list\.json|\.journal\.jsonl|\.prepared\.json)\.\d+"
)
"""Files below ``.partial`` that a killed run may have left: no others are removed. The number is the process's."""
NEGATIVE = "Negative"
"""What the framework's JsonDataset calls the mask of an authentic image."""


@dataclass(frozen=True)
class PreparedImage:
    """One prepared image."""

    file: str
    """Relative to the folder, or absolute where the image stays in the archive."""
    mask: str
    """Relative to the folder, or ``Negative``."""
    width: int
    height: int
    image_sha256: str
    mask_sha256: str
    tampered_fraction: str
    """Fraction of the pixels, six decimals; 0.000000 for an authentic image."""
    kind: str
    source: str
    """The image's place in the archive."""
    source_mask: str
    note: str
    """What was corrected."""
    content_sha256: str = ""
    """SHA-256 of the image and of the mask's pixels: the same on every machine, which a PNG's bytes are not."""


@dataclass(frozen=True)
class Prepared:
    """The outcome of preparing a set."""

    name: str
    out: Path
    tampered: int
    authentic: int
    left_out: int
    failed: int
    """Files among the left-out ones that should have been usable."""
    lists: tuple[Path, ...] = ()
    """JSON lists, where some were written."""
    digest: str = ""
    """SHA-256 of the set: independent of paths, processes and the machine."""


COLUMNS = tuple(field.name for field in fields(PreparedImage))


def claim(out: Path, header: Mapping[str, Any]) -> None:
    """Make ``out`` ours: a new or empty folder, or one that the same request began.

    Raises:
        RequestError: the folder holds something else.
    """
    marker = out / HEADER
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file", "a new or empty folder", "name another one with --out")
    if marker.is_file():
        try:
            before = json.loads(marker.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            before = None
        if before != header:
            raise RequestError(f"{out} was prepared as {before}", f"{dict(header)}", "name another folder with --out")
        return
    if out.exists() and not all(_is_begun(path) for path in out.iterdir()):
        raise RequestError(f"{out} is not empty", "a new or empty folder", "name another one with --out")
    begin(out)
    write_whole(out, HEADER, json.dumps(header, sort_keys=True).encode())


def _is_begun(path: Path) -> bool:
    """Tell whether that is all a kill in :func:`claim` left."""
    own = path.name == PARTIAL and path.is_dir() and not path.is_symlink()
    return own and all(OWN_PARTIAL.fullmatch(inner.name) for inner in path.iterdir())


def begin(out: Path) -> None:
    """Make the folder in which files are written before they are put into place.

    Raises:
        RequestError: its name is taken by a file.
    """
    out.mkdir(parents=True, exist_ok=True)
    make_folder(out, PARTIAL)


def make_folder(out: Path, name: str) -> None:
    """Make ``out/name`` unless it is there.

    Raises:
        RequestError: a file has that name.
    """
    try:
        (out / name).mkdir(exist_ok=True)
    except FileExistsError:
        cure = "move it elsewhere and give the command again"
        raise RequestError(f"{out / name} is a file", "a folder, or nothing", cure) from None


def write_whole(out: Path, name: str, content: bytes) -> None:
    """Write ``out/name`` so that it is there entirely or not at all."""
    partial = partial_of(out, name)
    partial.unlink(missing_ok=True)  # it may be a link to a file of the archive
    partial.write_bytes(content)
    partial.replace(out / name)


def link_whole(out: Path, name: str, source: Path, content: bytes) -> None:
    """Put the image at ``out/name``: a hard link to the archive's file, or its bytes on another file system."""
    partial = partial_of(out, name)
    partial.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), partial)  # the file, where the archive holds a symbolic link
    except OSError:
        partial.write_bytes(content)
    partial.replace(out / name)
    partial.unlink(missing_ok=True)  # a rename onto another link of the same file leaves both


def partial_of(out: Path, name: str) -> Path:
    """Return where ``out/name`` is written before it is put into place; each process has its own."""
    return out / PARTIAL / f"{name.replace('/', '__')}.{os.getpid()}"


def put_list(out: Path, name: str) -> None:
    """Put the finished :func:`partial_of` a list into place.

    An earlier list that says something else is kept beside it as ``NAME.old-1``: the user may have edited it.
    """
    partial, path = partial_of(out, name), out / name
    if path.is_dir():
        raise RequestError(f"{path} is a folder", "a file, or nothing", "move it elsewhere and give the command again")
    keep_aside(path, partial)
    partial.replace(path)


def keep_aside(path: Path, instead: Path) -> None:
    """Give ``path`` a second name, ``NAME.old-N``, if it is about to be replaced by something else."""
    if not path.is_file() or filecmp.cmp(path, instead, shallow=False):
        return
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.old-{number}")):
        number += 1
    try:
        os.link(path, aside)
    except OSError:  # a file system without hard links
        shutil.copy2(path, aside)


def clear_partial(out: Path) -> None:
    """Remove what killed runs left half written, and its folder unless somebody else keeps something there."""
    for path in sorted((out / PARTIAL).iterdir()):
        if OWN_PARTIAL.fullmatch(path.name) and (path.is_file() or path.is_symlink()):
            path.unlink()
    with contextlib.suppress(OSError):
        (out / PARTIAL).rmdir()


class Journal:
    """One line of JSON for each finished image, so that a killed run can go on."""

    def __init__(self, out: Path) -> None:
        """Open the journal of ``out`` for appending; a line that a kill tore is dropped."""
        self._path = out / JOURNAL
        whole = [json.dumps(vars(row)) for row in read_journal(out)]
        if self._path.exists():
            write_whole(out, JOURNAL, "".join(f"{line}\n" for line in whole).encode())
        self._stream = self._path.open("a", encoding="utf-8")

    def add(self, row: PreparedImage) -> None:
        """Note that the files of ``row`` are in place."""
        self._stream.write(json.dumps(vars(row)) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Stop writing; the file stays until :func:`publish`."""
        self._stream.close()


def read_journal(out: Path) -> list[PreparedImage]:
    """Rows of an unfinished run."""
    path = out / JOURNAL
    rows: list[PreparedImage] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
                rows.append(_row(json.loads(line)))
    return rows


def read_manifest(out: Path) -> list[PreparedImage]:
    """Rows of a finished run; empty where there is no manifest."""
    path = out / MANIFEST
    if not path.is_file():
        return []
    rows: list[PreparedImage] = []
    with (
        path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream,
        contextlib.suppress(csv.Error),
    ):
        for line in csv.DictReader(stream):
            with contextlib.suppress(ValueError):  # a line that somebody edited: its pair is made again
                rows.append(_row(line))
    return rows


def publish(out: Path, rows: Iterable[PreparedImage], left_out: Iterable[LeftOut]) -> None:
    """Write both lists and drop the journal."""
    lines = ({"file": item.file, "reason": item.reason, "failed": "yes" if item.failed else ""} for item in left_out)
    for name, content in (
        (MANIFEST, as_csv(COLUMNS, map(vars, rows))),
        (LEFT_OUT, as_csv(("file", "reason", "failed"), lines)),
    ):
        write_list(out, name, content)
    (out / JOURNAL).unlink(missing_ok=True)
    clear_partial(out)


def write_list(out: Path, name: str, content: bytes) -> None:
    """Write a list whole; see :func:`put_list`."""
    partial_of(out, name).write_bytes(content)
    put_list(out, name)


def write_json_list(out: Path, name: str, rows: Iterable[PreparedImage]) -> None:
    """Write the framework's JsonDataset: absolute paths, ``Negative`` for authentic images."""

    def lines() -> Iterator[str]:
        for row in rows:
            mask = NEGATIVE if row.mask == NEGATIVE else str((out / row.mask).resolve())
            yield json.dumps([str((out / row.file).resolve()), mask], ensure_ascii=False)

    write_list(out, name, ("[\n" + ",\n".join(lines()) + "\n]\n").encode())


def _row(line: Mapping[str, Any]) -> PreparedImage:
    """Read one line of a manifest or a journal.

    Raises:
        ValueError: it is none.
    """
    values: dict[str, Any] = {name: str(line.get(name) or "") for name in COLUMNS}
    values["width"], values["height"] = int(values["width"] or 0), int(values["height"] or 0)
    if not values["file"] or not values["mask"]:
        raise ValueError("a line without a file")
    return PreparedImage(**values)


def as_csv(columns: tuple[str, ...], lines: Iterable[Mapping[str, object]]) -> bytes:
    """Write a table; bytes of a file's name that are of no encoding stay as they are."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue().encode("utf-8", errors="surrogateescape")
