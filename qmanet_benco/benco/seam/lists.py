"""Reads what a path to data names: the pairs of a folder or of a JSON list, or several sets of them."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from qmanet_benco.benco.seam.pairs import NEGATIVE, Pair, pair_folder
from qmanet_benco.errors import RequestError
from qmanet_benco.folders import as_on_disk

logger = logging.getLogger(__name__)

FOLDER = "a ManiDataset folder (images in Tp, masks in Gt)"
PAIR_LIST = 'a JSON list of ["image", "mask"] pairs, "Negative" in place of an authentic image\'s mask'
BALANCED_LIST = 'a JSON list of ["ManiDataset" or "JsonDataset", "path"] entries'
NAMED_SETS = 'JSON {"name": "path of a ManiDataset folder or of a JSON list"}'
BALANCED_SAMPLES = 1840
"""Images that the framework draws from each set of a balanced list in an epoch (balanced_dataset.py)."""


def read_set(path: Path, origin: str) -> list[Pair]:
    """Read the pairs of a ManiDataset folder or of a JSON list.

    Raises:
        RequestError: it is neither.
    """
    must_exist(path, origin, f"{FOLDER}, or {PAIR_LIST}")
    return pair_folder(path, origin) if path.is_dir() else read_pair_list(path, origin)


def read_pair_list(path: Path, origin: str) -> list[Pair]:
    """Read the pairs of a JSON list.

    Raises:
        RequestError: it is missing, no JSON, empty, or no such list.
    """
    content = _read_json(path, origin, PAIR_LIST)
    if not isinstance(content, list) or not content:
        raise RequestError(f"{origin} {path} holds {_kind(content)}", PAIR_LIST)
    for number, entry in enumerate(content, start=1):
        if not isinstance(entry, list) or len(entry) < 2 or not all(isinstance(word, str) for word in entry[:2]):
            raise RequestError(f"{origin} {path}, entry {number}: {_shown(entry)}", PAIR_LIST)
    pairs = [
        Pair(as_on_disk(entry[0]), entry[1] if entry[1] == NEGATIVE else as_on_disk(entry[1])) for entry in content
    ]
    for number, pair in enumerate(pairs, start=1):
        for file in pair:
            if file != NEGATIVE and not os.path.isfile(file):  # noqa: PTH113 - a Path for each of 100,000 names is slow
                raise RequestError(
                    f"{origin} {path}, entry {number}: {file} does not exist", "image files", _cure_of_path(file)
                )
    repeated = len(pairs) - len(set(pairs))
    if repeated:
        logger.warning("%s %s: %d entries repeat an earlier one, and count once more", origin, path, repeated)
    return pairs


def _cure_of_path(file: str) -> str:
    if re.match(r"[A-Za-z]:|\\\\", file) and os.sep == "/":
        return "that is a path of Windows: write it as this system names the file"
    return "" if Path(file).is_absolute() else f"relative paths start from the current folder, {Path.cwd()}"


def is_balanced_list(path: Path) -> bool:
    """Tell whether a JSON file is meant as a balanced list: its first entry begins with a data set class."""
    content = _read_json(path, "--data_path", f"{PAIR_LIST}, or {BALANCED_LIST}")
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, list) and bool(first) and str(first[0]).endswith("Dataset")


def read_balanced_list(path: Path, origin: str) -> list[tuple[str, list[Pair]]]:
    """Read the sets of a balanced list, by path.

    Raises:
        RequestError: it is no such list, or one of its sets is wrong.
    """
    sets = []
    for number, entry in enumerate(_read_json(path, origin, BALANCED_LIST), start=1):
        where = f"{origin} {path}, entry {number}:"
        if not isinstance(entry, list) or len(entry) != 2 or entry[0] not in ("ManiDataset", "JsonDataset"):
            raise RequestError(f"{where} {_shown(entry)}", BALANCED_LIST)
        target = Path(str(entry[1]))
        read = pair_folder if entry[0] == "ManiDataset" else read_pair_list
        if not (target.is_dir() if entry[0] == "ManiDataset" else target.is_file()):
            kind = "folder" if entry[0] == "ManiDataset" else "file"
            raise RequestError(f"{where} {target} is not a {kind}", BALANCED_LIST, "check the path")
        sets.append((str(target), read(target, where)))
    return sets


def read_named_sets(path: Path, origin: str) -> dict[str, list[Pair]]:
    """Read the test sets of a JSON dictionary.

    Raises:
        RequestError: it is no such dictionary, or one of its sets is wrong.
    """
    content = _read_json(path, origin, NAMED_SETS)
    if not isinstance(content, dict) or not content:
        raise RequestError(f"{origin} {path} holds {_kind(content)}", NAMED_SETS)
    sets = {}
    for name, target in content.items():
        if not isinstance(target, str):
            raise RequestError(f"{origin} {path}, {name!r}: {_shown(target)}", NAMED_SETS)
        sets[name] = read_set(Path(target), f"{origin} {path}, {name!r}:")
    return sets


def read_test_sets(path: Path, origin: str) -> dict[str, list[Pair]]:
    """Read the test sets of a training: one folder, or a JSON dictionary."""
    must_exist(path, origin, f"{FOLDER}, or {NAMED_SETS}")
    return {"test_dataset": pair_folder(path, origin)} if path.is_dir() else read_named_sets(path, origin)


class TrainingSet(NamedTuple):
    """What a training reads: one set, or those of a balanced list."""

    sets: list[tuple[str, list[Pair]]]
    """Each with what it is called in messages."""
    is_balanced: bool

    def images(self) -> int:
        """Images of one epoch."""
        return BALANCED_SAMPLES * len(self.sets) if self.is_balanced else len(self.sets[0][1])


def read_training_set(path: Path) -> TrainingSet:
    """Read what ``--data_path`` names.

    Raises:
        RequestError: it is no training set.
    """
    origin = "--data_path"
    must_exist(path, origin, f"{FOLDER}, {PAIR_LIST}, or {BALANCED_LIST}")
    if not path.is_dir() and is_balanced_list(path):
        return TrainingSet(read_balanced_list(path, origin), True)
    return TrainingSet([(origin, read_set(path, origin))], False)


def _read_json(path: Path, origin: str, expected: str) -> Any:
    if path.is_dir():
        raise RequestError(f"{origin} {path} is a folder", expected)
    must_exist(path, origin, expected)
    if not path.is_file():  # a pipe would wait for a writer, a device has no end
        raise RequestError(f"{origin} {path} is not a file", expected)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise RequestError(f"{origin} {path} is not JSON ({error})", expected) from error


def must_exist(path: Path, origin: str, expected: str) -> None:
    if not path.exists():
        raise RequestError(f"{origin} {path} does not exist", expected, "check the path")


def _kind(content: Any) -> str:
    empty = "an empty " if isinstance(content, list | dict) and not content else "a "
    return empty + {"dict": "dictionary", "str": "string"}.get(type(content).__name__, type(content).__name__)


def _shown(entry: Any) -> str:
    return json.dumps(entry)[:80]
