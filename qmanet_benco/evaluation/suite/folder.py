"""The folder of a run: its own, and of one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from qmanet_benco import files
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.suite.processes import Processes


def check_folder(out: Path) -> None:
    """Check that a run may write here.

    Raises:
        RequestError: it is a file, or it holds something that no run put there.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file", "a folder")
    if out.is_dir() and not (out / "suite.json").is_file():
        strangers = [path.name for path in out.iterdir() if path.name not in (".lock", "sets")]
        if strangers:
            raise RequestError(f"{out} holds {strangers[0]}", "a new folder, or that of an earlier run", "name another")


@contextmanager
def locked(out: Path, processes: Processes) -> Iterator[None]:
    """Hold a folder, which is made, for one run at a time.

    Raises:
        RequestError: another run works there, or it cannot be written.
    """
    if processes.rank:
        yield
        return
    with ExitStack() as lock:
        with files.writing(out):
            lock.enter_context(files.locked(out))
        yield
