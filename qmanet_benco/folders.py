"""The files of a folder that are the user's own: one rule for every command, and what it passed over."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from qmanet_benco.images import ENDINGS

HELPERS = frozenset(
    # systems
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "__macosx", "system volume information"}
    | {"$recycle.bin", "recycler", "lost+found", "#recycle", "#snapshot", "@eadir", "@recycle", "@recently-snapshot"}
    # programs
    | {"picasa.ini", "zbthumbnail.info", "__pycache__", "lost.dir"}
)
"""Names of what systems, network storage and programs write beside a user's files, in small letters. Names that begin
with a full stop are theirs as well: .DS_Store, ._photo.jpg, .ipynb_checkpoints, .thumbnails, .Trash, .git."""
NAMED = 4
"""At most so many of the names that were passed over are written in a message."""


@dataclass
class Listing:
    """The files of a folder."""

    files: list[Path] = field(default_factory=list)
    """Sorted."""
    foreign: Counter[str] = field(default_factory=Counter)
    """How many files of other programs there are, by the name that tells them."""

    def images(self) -> list[Path]:
        """The files with the ending of an image."""
        return [path for path in self.files if path.suffix.lower() in ENDINGS]

    def told(self) -> str:
        """Say which files of other programs were passed over; empty where there were none."""
        return f"{_files(self.foreign)} of other programs ({_names(self.foreign)})" if self.foreign else ""

    def others_told(self) -> str:
        """Say which files have no image's ending; empty where there are none."""
        endings = (path.suffix.lower() for path in self.files)
        others = Counter(ending or "no ending" for ending in endings if ending not in ENDINGS)
        return f"{_files(others)} that are no images by their ending ({_names(others)})" if others else ""


def foreign_name(parts: Iterable[str]) -> str | None:
    """Find the first of a path's names that tells a file of another program; None for a file of the user's.

    Args:
        parts: names below the folder that the user named; the folder itself may be hidden.
    """
    for part in parts:
        if part.startswith(".") or part.casefold() in HELPERS:
            return part
    return None


def as_on_disk(file: str) -> str:
    """Find a listed file on the disk, where its name has accents in Unicode's other form, or backslashes.

    Returns the path as it is where no form of it leads to a file.
    """
    if os.path.isfile(file):  # noqa: PTH113 - a Path for each of 100,000 names is slow
        return file
    for name in (file, file.replace("\\", "/")):
        for form in ("NFC", "NFD"):
            written = unicodedata.normalize(form, name)
            if os.path.isfile(written):  # noqa: PTH113
                return written
    return file


def files_below(root: Path) -> Listing:
    """List all files below a folder; links to folders are followed, each folder once."""
    return _listed((path, path.relative_to(root).parts) for path in _walk(root))


def files_in(folder: Path) -> Listing:
    """List the entries of one folder, folders included; the names of other programs are passed over."""
    return _listed((path, (path.name,)) for path in folder.iterdir())


def _listed(paths: Iterable[tuple[Path, Iterable[str]]]) -> Listing:
    """Sort paths into the user's own and those of other programs, by their names below the user's folder."""
    listing = Listing()
    for path, names in paths:
        foreign = foreign_name(names)
        if foreign is None:
            listing.files.append(path)
        else:
            listing.foreign["._*" if foreign.startswith("._") else foreign] += 1
    listing.files.sort()
    return listing


def _walk(root: Path) -> Iterator[Path]:
    visited = set()
    for folder, below, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in visited:  # a link that leads back
            below.clear()
            continue
        visited.add(real)
        for name in names:
            path = Path(folder, name)
            if path.is_file():
                yield path


def _files(counts: Counter[str]) -> str:
    return "1 file" if counts.total() == 1 else f"{counts.total()} files"


def _names(counts: Counter[str]) -> str:
    shown = [name if count == 1 else f"{name} {count}" for name, count in counts.most_common(NAMED)]
    return ", ".join(shown) + (", ..." if len(counts) > NAMED else "")
