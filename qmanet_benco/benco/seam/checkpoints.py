"""Checkpoints of the stock scripts: read without running code, written whole, checked before a test starts."""

from __future__ import annotations

import argparse
import logging
import os
import re
import zipfile
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qmanet_benco.benco.seam.patches import Stock
from qmanet_benco.errors import RequestError
from qmanet_benco.files import sha256_of, write_atomically, write_text_atomically
from qmanet_benco.model.weights.files import read_checkpoint, refuse_bomb, sum_path, verify_sum

logger = logging.getLogger(__name__)

STOCK_NAME = re.compile(r"[^-]*-(\d+)([.-].*)?\.pth")
"""Names that the stock test script can read an epoch from (test.py:254 takes what stands behind the first hyphen)."""
SAFE_GLOBALS: list[Any] = [
    argparse.Namespace,  # the trainer's flags
    # a learning rate or a best score that was computed by numpy
    np.core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]
"""What a checkpoint's pickle may name beside tensors; none of them runs code."""


def safe_globals() -> Any:
    """Make a context in which ``weights_only=True`` accepts :data:`SAFE_GLOBALS`."""
    return torch.serialization.safe_globals(SAFE_GLOBALS)


def safe_load(stock: Stock, f: Any, *args: Any, allow_pickle: bool, **kwargs: Any) -> Any:
    """Stand in for ``torch.load``: it never runs code from a file, or always may.

    Args:
        stock: the ``torch.load`` to call.
        f: as for it; so are ``args`` and ``kwargs``.
        allow_pickle: the user trusts every file of this run.

    Raises:
        RequestError: the file is missing, damaged, or would run code; a caller that asks for ``weights_only=True``
            itself gets ``torch.load``'s own errors.
    """
    path = Path(f) if isinstance(f, str | os.PathLike) else None
    careful = bool(kwargs.pop("weights_only", False))
    if path is not None:
        verify_sum(path)
        if not allow_pickle and path.is_file():
            refuse_bomb(path)
    try:
        with safe_globals():
            return stock(f, *args, weights_only=not allow_pickle, **kwargs)
    except Exception as error:  # the unpickler raises whatever foreign bytes provoke
        if careful or path is None:
            raise
        if not allow_pickle:
            read_checkpoint(path)  # says what is wrong with the file, in one line
        raise RequestError(f"{f} cannot be read ({error})", "an undamaged checkpoint", "copy it again") from error


def save_atomically(content: Any, path: str | Path) -> None:
    """Write a checkpoint beside its place, flush it to the disk and move it there.

    The temporary name does not end in ``.pth``: the stock test script reads every such file of a folder. It is always
    the same, so that what a kill leaves behind is overwritten. The SHA-256 is put beside the file after it: a kill
    between the two leaves a whole file without a sum, never a sum of another file.

    Raises:
        RequestError: it cannot be written; an earlier file of this name is as it was.
    """
    path = Path(path)
    digests = []

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())  # whole before the sum of an earlier file goes
        digests.append(sha256_of(temporary))
        sum_path(path).unlink(missing_ok=True)

    try:
        write_atomically(path, write, only_writer=True)
        write_text_atomically(sum_path(path), f"{digests[0]}  {path.name}\n")
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(
            f"{path} cannot be written ({reason})",
            "a folder with room to write in",
            "earlier checkpoints are as they were",
        ) from error


def check_checkpoint(path: Path, origin: str, allow_pickle: bool) -> None:
    """Check that a file is a checkpoint of the framework's trainer.

    Args:
        path: the file.
        origin: the flag that named it.
        allow_pickle: the file may run code, so it is not opened here.

    Raises:
        RequestError: it is missing, damaged, would run code, or has no ``model``.
    """
    if not path.is_file():
        raise RequestError(f"{origin} {path} is not a file", "a checkpoint-N.pth of the trainer", "check the path")
    verify_sum(path)
    with path.open("rb") as stream:
        start = stream.read(2)
    if start != b"PK" and start[:1] != b"\x80":  # a zip archive, or a pickle of protocol 2 and later
        raise RequestError(f"{origin} {path} cannot be read as a checkpoint", "a file of torch.save", "check the path")
    if allow_pickle:
        return
    refuse_bomb(path)
    content = mapped(path)
    if not isinstance(content, dict) or "model" not in content:
        raise RequestError(
            f"{origin} {path} has no entry 'model'",
            "a checkpoint of the framework's trainer",
            "store bare weights as torch.save({'model': weights}, 'checkpoint-0.pth')",
        )


def check_folder(folder: Path, origin: str, allow_pickle: bool) -> None:
    """Check a folder whose every ``.pth`` file the stock test script is going to test.

    Raises:
        RequestError: it is no folder, it has no checkpoint, or a file that the script cannot name or read.
    """
    if not folder.is_dir():
        cure = f"--checkpoint_path {folder.parent}" if folder.is_file() else "check the path"
        raise RequestError(f"{origin} {folder} is not a folder", "the folder with checkpoint-N.pth files", cure)
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".pth"))
    if not names:
        raise RequestError(f"{origin} {folder} has no .pth file", "checkpoint-N.pth files", "train first")
    for name in names:
        if not STOCK_NAME.fullmatch(name):
            raise RequestError(
                f"{folder / name} has no epoch in its name",
                "checkpoint-N.pth",
                "rename it to checkpoint-0.pth, or move it to another folder",
            )
    for name in names:
        check_checkpoint(folder / name, origin, allow_pickle)


def epochs_in(folder: Path) -> dict[int, Path]:
    """List the checkpoints of a folder by epoch, in order."""
    by_epoch = {}
    for path in folder.glob("checkpoint-*.pth"):
        match = re.fullmatch(r"checkpoint-(\d+)\.pth", path.name)
        if match:
            by_epoch[int(match.group(1))] = path
    return dict(sorted(by_epoch.items()))


def newest_checkpoint(folder: Path, since: float = 0.0, epochs: Container[int] | None = None) -> Path | None:
    """Find the undamaged checkpoint of the latest epoch.

    Args:
        folder: with ``checkpoint-N.pth`` files. Damaged ones are named in the log and passed over.
        since: seconds of the epoch; what was written before does not count.
        epochs: those that count; by default all.
    """
    for epoch, path in reversed(epochs_in(folder).items()):
        if path.stat().st_mtime < since or (epochs is not None and epoch not in epochs):
            continue
        try:
            check_checkpoint(path, "resume:", allow_pickle=False)
        except RequestError as error:
            logger.warning("passed over: %s", error)
            continue
        return path
    return None


def mapped(path: Path) -> Any:
    """Open a checkpoint's structure; its tensors stay on the disk where the format allows it."""
    try:
        with safe_globals():
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception:  # the unpickler raises whatever foreign bytes provoke
        return read_checkpoint(path)  # says what is wrong with the file, in one line
