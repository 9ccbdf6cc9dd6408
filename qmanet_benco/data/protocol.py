"""Writes Protocol-CAT, what the paper trains on and tests on, as the framework's two lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qmanet_benco.data.prepare.manifest import HEADER, keep_aside
from qmanet_benco.data.sets import SETS, data_set
from qmanet_benco.errors import RequestError
from qmanet_benco.files import write_atomically

PARTS = ("sp", "cm", "bcm", "bcmc")
TRAINING = ("casiav2", "fantasticreality", "imd2020", "tampcoco")
"""In the order of the framework's BalancedDataset."""
TESTS = tuple(row.name for row in SETS.values() if row.role == "test")
TRAIN_LIST, TEST_LIST = "train.json", "test.json"


@dataclass(frozen=True)
class Protocol:
    """The outcome of :func:`write_protocol`."""

    train: Path
    """``[["ManiDataset" | "JsonDataset", path], ...]`` for a BalancedDataset."""
    test: Path
    """``{name: path}``; a name in the paper's spelling, and in brackets which version of the set it is."""
    entries: int
    """Entries of the training list: seven when nothing is missing."""
    tests: int
    missing: Mapping[str, str]
    """Set or part of one, and the command that prepares it."""


def write_protocol(root: Path, out: Path) -> Protocol:
    """Write both lists from the sets that are prepared below ``root``.

    Args:
        root: prepared sets, each in a folder below it; their names do not matter, their own record tells the set.
        out: folder for ``train.json`` and ``test.json``; other files in it are left alone, and lists of these names
            that say something else are kept as ``NAME.old-1``.

    Raises:
        RequestError: no prepared set is there, or two folders hold the same one.
    """
    if not root.is_dir():
        raise RequestError(f"no folder {root}", "the folder of prepared sets", "name it with --root")
    prepared = _prepared_sets(root)
    if not prepared:
        raise RequestError(f"{root} holds no prepared set", "folders made by `qmanet data prepare`")
    missing: dict[str, str] = {}
    train: list[list[str]] = []
    for name in TRAINING:
        train += _entries(name, prepared.get(name), root, missing)
    tests = {}
    for name in TESTS:
        versions = [key for key in prepared if key.partition(" (")[0] == name] or [name]
        for key in versions:
            for _, path in _entries(name, prepared.get(key), root, missing):
                tests[key.replace(name, SETS[name].title, 1)] = path
    _write(out / TRAIN_LIST, train)
    _write(out / TEST_LIST, tests)
    return Protocol(out / TRAIN_LIST, out / TEST_LIST, len(train), sum(name not in missing for name in TESTS), missing)


def _prepared_sets(root: Path) -> dict[str, Path]:
    """Folders directly below the root whose record names a set and that are finished.

    The key of a test set says in brackets how it differs from the archive, e.g. ``nist16 (long side 1024)``.
    """
    sets: dict[str, Path] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        name = _set_of(folder)
        if name is None:
            continue
        if name in sets:
            raise RequestError(f"{sets[name]} and {folder} both hold {name}", "each set once")
        sets[name] = folder
    return sets


def _set_of(folder: Path) -> str | None:
    """Tell the set by the record of `qmanet data prepare`, or by the folder's name where others made it."""
    finished = (folder / "manifest.csv").is_file()
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        row, version = data_set(header["set"]), _version(header)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, RequestError):
        try:
            row, version = data_set(folder.name), ""
        except RequestError:
            return None
        finished = (folder / "Tp").is_dir() and (folder / "Gt").is_dir()
    return f"{row.name}{version if row.role == 'test' else ''}" if finished else None


def _version(header: Mapping[str, object]) -> str:
    """Say in brackets how the prepared images differ from the archive's; empty where they do not."""
    words = [f"long side {header['long_side']}"] if header.get("long_side") else []
    words += [f"JPEG {header['jpeg_level']}"] if header.get("jpeg_level", 100) != 100 else []
    return f" ({', '.join(words)})" if words else ""


def _entries(name: str, folder: Path | None, root: Path, missing: dict[str, str]) -> list[list[str]]:
    command = f"qmanet data prepare {name} --raw ARCHIVE --out {root / name}"
    if folder is None:
        missing[name] = command
        return []
    if name == "tampcoco":
        lists = {part: folder / f"{part}_COCO_list.json" for part in PARTS}
        missing.update({f"tampcoco {part}": command for part, path in lists.items() if not path.is_file()})
        return [["JsonDataset", str(path.resolve())] for path in lists.values() if path.is_file()]
    if (folder / "Tp").is_dir():
        return [["ManiDataset", str(folder.resolve())]]
    return [["JsonDataset", str((folder / "list.json").resolve())]]


def _write(path: Path, content: object) -> None:
    def write(part: Path) -> None:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        keep_aside(path, part)

    write_atomically(path, write)
