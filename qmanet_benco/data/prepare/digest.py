"""Computes one hash of a prepared set, by which two laboratories know that they have the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qmanet_benco.data.prepare.manifest import PreparedImage


def pair_digest(image: bytes, mask: NDArray[np.bool_] | None) -> str:
    """Hash an image and its mask, whatever wrote the mask's PNG.

    Args:
        image: bytes of the file; the pixels' bytes where it was scaled.
        mask: H x W; None for an authentic image.

    Returns:
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256(hashlib.sha256(image).digest())
    if mask is not None:
        digest.update(f"{mask.shape[1]}x{mask.shape[0]}".encode() + np.packbits(mask).tobytes())
    return digest.hexdigest()


def set_digest(rows: Iterable[PreparedImage]) -> str:
    """Hash a set: names without folders and endings, and what :func:`pair_digest` gave, sorted."""
    lines = sorted(f"{Path(row.file).stem}\t{row.content_sha256}\n" for row in rows)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def lists_digest(lists: Iterable[Path]) -> str:
    """Hash JSON lists ``[[image, mask], ...]`` by the last two parts of each path, in order; no file is read."""
    digest = hashlib.sha256()
    for path in lists:
        digest.update(f"{path.name}\n".encode())
        for pair in json.loads(path.read_text(encoding="utf-8", errors="surrogateescape")):
            names = "\t".join("/".join(Path(name).parts[-2:]) for name in pair)
            digest.update(f"{names}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
