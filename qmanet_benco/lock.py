"""One run at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qmanet_benco.errors import RequestError


@contextmanager
def locked(folder: Path, meant: Path | None = None) -> Iterator[None]:
    """Hold a folder, which is made, until the end of the context; the kernel lets go of it when the process is killed.

    The lock is on the folder itself, so no file of its own is left, and it stays with the folder that is renamed.

    Args:
        folder: to lock; a file system without locks (some network ones) locks nothing.
        meant: the folder to speak of in the error.

    Raises:
        RequestError: another run holds it.
    """
    handle = _held(folder, meant or folder)
    try:
        yield
    finally:
        os.close(handle)


def _held(folder: Path, meant: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise RequestError(
                f"another run works in {meant}", "one at a time", "wait, or name another folder"
            ) from None
        except OSError:
            return handle
        if _is_still(folder, handle):
            return handle
        os.close(handle)  # the run that held it has just put it into its place


def _is_still(folder: Path, handle: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
