"""Fills a folder under another name, and puts it into its place when it is whole."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qmanet_benco.errors import RequestError
from qmanet_benco.files import locked


@dataclass(frozen=True)
class Contents:
    """What a command writes into its folder, so that what a killed run left is known for its own."""

    marker: str
    """Name of the file that marks an unfinished folder."""
    splits: tuple[str, ...]
    """Folders in the framework's ManiDataset format."""
    files: tuple[str, ...]
    """Lists beside them."""
    image: str
    """Pattern of the images' and masks' names."""
    folders: tuple[str, ...] = ("Tp", "Gt")
    """In each split."""

    def are_all_of(self, folder: Path) -> bool:
        """Tell whether a folder is empty, or marked and with nothing in it but what the command writes."""
        own = re.compile(
            rf"({'|'.join(self.splits)})(/({'|'.join(self.folders)})(/{self.image})?)?|"
            + "|".join(map(re.escape, (*self.files, self.marker)))
        )
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
        return not names or (self.marker in names and all(own.fullmatch(name) for name in names))


@contextmanager
def staged(out: Path, contents: Contents, check: Callable[[], None]) -> Iterator[Path]:
    """Make a folder beside ``out`` to fill, with ``Tp`` and ``Gt`` for each split; it becomes ``out`` in the end.

    Args:
        out: a new or empty folder.
        contents: what is written; what a killed run left of it is removed first.
        check: raises where ``out`` may not be used; asked again once the folder is locked, since another run may have
            filled it meanwhile.

    Yields:
        The folder to fill. After an error nothing of it is left.

    Raises:
        RequestError: another run works there, or a folder of the temporary name holds files of somebody else.
    """
    check()
    place = out.resolve()  # of a link to an empty folder, of the current folder
    unfinished = place.with_name(f".{place.name}.unfinished")
    if os.path.lexists(unfinished) and (unfinished.is_symlink() or not unfinished.is_dir()):
        raise _foreign(unfinished)
    with locked(unfinished, out):
        if not contents.are_all_of(unfinished):
            raise _foreign(unfinished)
        try:
            check()
            _begin(unfinished, contents)
            yield unfinished
            (unfinished / contents.marker).unlink()
            if place.exists():
                place.rmdir()
            unfinished.rename(place)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """Write a manifest: CSV with a header."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _begin(unfinished: Path, contents: Contents) -> None:
    """Make the empty folders of all splits; what a killed run left goes first. The locked folder itself stays."""
    for path in unfinished.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (unfinished / contents.marker).touch()
    for split in contents.splits:
        for folder in contents.folders:
            (unfinished / split / folder).mkdir(parents=True)


def _foreign(unfinished: Path) -> RequestError:
    cure = "move it elsewhere, or name another folder"
    return RequestError(f"{unfinished} holds files that this command did not write", "its own name free", cure)
