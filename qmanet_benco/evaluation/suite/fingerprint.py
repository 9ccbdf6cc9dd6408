"""Hashes all that a record depends on: weights, flags, data, code, libraries, settings."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from qmanet_benco.errors import RequestError
from qmanet_benco.files import sha256_of

LIBRARIES = (
    *("imdlbenco", "torch", "torchvision", "numpy", "opencv-python", "opencv-python-headless"),
    *("albumentations", "pillow", "timm", "mmsegmentation", "scipy"),
)
PACKAGE = Path(__file__).resolve().parents[2]
SOURCES = ("model", "benco", "evaluation", "images.py", "pixels.py")
"""Rooms and files of the package that images and scores go through."""
READERS = ("report", "published.py", "cost.py")
"""What of the evaluation reads records and does not make them."""


def fingerprint(parts: Mapping[str, Any]) -> str:
    """SHA-256 of a description, the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def environment() -> dict[str, str]:
    """Versions of what computes the numbers."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("qmanet-benco", *LIBRARIES):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def code_version() -> str:
    """SHA-256 of this package's files that take part in making a record."""
    digest = hashlib.sha256()
    for source in SOURCES:
        for path in sorted((PACKAGE / source).rglob("*.py")) or [PACKAGE / source]:
            if source != "evaluation" or path.relative_to(PACKAGE / source).parts[0] not in READERS:
                digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        RequestError: it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror})", "a file", "check the path") from error


def hash_weights(checkpoint: str) -> str:
    """SHA-256 of a checkpoint, which every cell of a model asks for: read again only where it has changed.

    Raises:
        RequestError: it cannot be read.
    """
    path = Path(checkpoint)
    known = path.stat() if path.is_file() else None
    return _hash_unchanged(path, known and (known.st_size, known.st_mtime_ns))


@lru_cache(maxsize=64)
def _hash_unchanged(path: Path, _: object) -> str:
    return hash_file(path)


def hash_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Flags, in which the name of a file stands for its content."""
    hashed = {}
    for name, value in flags.items():
        is_file = isinstance(value, str) and value != "" and Path(value).is_file()
        hashed[name] = hash_file(Path(value)) if is_file else value
    return hashed


def hash_pairs(pairs: Sequence[Iterable[str]]) -> str:
    """SHA-256 of a set's images and masks: their stems and bytes, in order; not of where they lie."""
    files = [path for pair in pairs for path in pair]
    with ThreadPoolExecutor(2) as threads:  # hashing releases the interpreter's lock
        hashes = list(threads.map(_content, files))
    digest = hashlib.sha256()
    for path, content in zip(files, hashes, strict=True):
        digest.update(f"{Path(path).stem}\0{content}\0".encode())
    return digest.hexdigest()


def _content(path: str) -> str:
    return hash_file(Path(path)) if Path(path).is_file() else path  # "Negative" names no file
