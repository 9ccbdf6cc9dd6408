"""Writes files that are whole or not there, reads their SHA-256, and locks folders."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qmanet_benco.errors import RequestError

_PART = 1 << 20


def write_atomically(path: str | Path, write: Callable[[Path], object], *, only_writer: bool = False) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place; on failure nothing is left.

    Args:
        path: the file to create or replace.
        write: called with the temporary path.
        only_writer: no other process writes this file at the time. Then the temporary file has one fixed name,
            ``.NAME.part``, so that what a kill leaves behind is overwritten, and no reader of ``*.parquet`` or
            ``*.pth`` meets it. Its folder has to be there: one that went away with a lost mount is not made anew.
            Otherwise the folder is made.
    """
    path = Path(path)
    if only_writer:
        temporary = path.with_name(f".{path.name}.part")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone; then the write itself has failed
            temporary.unlink(missing_ok=True)


def write_bytes_atomically(path: str | Path, content: bytes) -> None:
    """Write a file; see :func:`write_atomically`."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomically(path, write)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8; see :func:`write_atomically`."""
    write_bytes_atomically(path, text.encode("utf-8"))


@contextmanager
def writing(path: str | Path, cure: str = "") -> Iterator[None]:
    """Turn an OSError in the block, such as a full disk or a folder without permission, into a RequestError.

    Args:
        path: what the block writes.
        cure: what to do, or what is safe.

    Raises:
        RequestError: the block raised OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError(f"{path} cannot be written ({reason})", "a folder with room to write in", cure) from error


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, which is read in parts: it may be larger than the memory."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while part := stream.read(_PART):
            digest.update(part)  # releases the interpreter's lock
    return digest.hexdigest()


@contextmanager
def locked(folder: Path, meant: Path | None = None) -> Iterator[None]:
    """Make a folder if need be, and lock it until the end of the context; a kill of the process unlocks it too.

    The lock is on the folder itself, so no file of its own is left, and it stays with the folder that is renamed.

    Args:
        folder: to lock; a file system without locks (some network ones) locks nothing.
        meant: the folder that the error names.

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
