"""The files of an unpacked archive, found whatever the letter case and however deep the folders are nested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from qmanet_benco.data.prepare.pairing import LeftOut
from qmanet_benco.errors import RequestError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
SYSTEM_FILES = ("thumbs.db", "desktop.ini", ".ds_store")


@dataclass(frozen=True)
class Pair:
    """One image of a set as its finder sees it."""

    image: Path
    mask: Path | None
    """None: authentic."""
    stem: str
    """Of the prepared files."""
    kind: str = ""
    """Of manipulation; empty where the set does not say."""
    clockwise: int = 0
    """Quarter turns that a mask of transposed size needs; 0: such a mask is refused."""
    note: str = ""
    """What was corrected."""
    hosts: tuple[Path, ...] = ()
    """Authentic photos that the name gives as its sources."""


@dataclass
class Found:
    """Everything a finder made of an archive."""

    pairs: list[Pair] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    lists: list[Path] = field(default_factory=list)
    """Files that say what belongs together."""


class Archive:
    """The files below a folder; links to folders are followed, each folder once."""

    def __init__(self, root: Path) -> None:
        """Look at ``root``.

        Raises:
            RequestError: there is no such folder.
        """
        if not root.is_dir():
            raise RequestError(f"no folder {root}", "the folder of the unpacked archive", "name it with --raw")
        self.root = root.resolve()

    def __getstate__(self) -> dict[str, Path]:
        """The folder alone: workers need no list of a hundred thousand files."""
        return {"root": self.root}

    @cached_property
    def files(self) -> list[Path]:
        """All files but those that systems leave behind, sorted."""
        return sorted(path for path in self._walk() if not _of_a_system(path.relative_to(self.root)))

    @cached_property
    def images(self) -> list[Path]:
        """Files with the ending of an image."""
        return [path for path in self.files if path.suffix.lower() in IMAGE_ENDINGS]

    def relative(self, path: Path) -> str:
        """A file's place in the archive, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def folders(self, path: Path) -> tuple[str, ...]:
        """The names of the folders between the root and a file, without letter case."""
        return tuple(part.casefold() for part in path.relative_to(self.root).parts[:-1])

    def inside(self, path: Path, *names: str) -> bool:
        """Whether a folder of that name lies between the root and the file."""
        return any(part in names for part in self.folders(path))

    def named(self, base: Path, name: str) -> Path | None:
        """The file that a list in the folder ``base`` names, whatever the letter case; None where it is absent.

        Raises:
            ValueError: the name leaves the archive.
        """
        place = safe_name(name)
        return self._by_name.get((PurePosixPath(base.relative_to(self.root).as_posix()) / place).as_posix().casefold())

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        return {self.relative(path).casefold(): path for path in self.files}

    def _walk(self) -> Iterator[Path]:
        visited = set()
        for folder, below, names in os.walk(self.root, followlinks=True):
            if (real := os.path.realpath(folder)) in visited:  # a link that leads back
                below.clear()
                continue
            visited.add(real)
            for name in names:
                path = Path(folder, name)
                if path.is_file():
                    yield path


def safe_name(name: str) -> PurePosixPath:
    """A relative name out of a list.

    Raises:
        ValueError: it is empty, absolute or climbs out of its folder.
    """
    cleaned = name.strip().replace("\\", "/")
    place = PurePosixPath(cleaned)
    if not place.parts or place.is_absolute() or ".." in place.parts or ":" in place.parts[0] or "\0" in cleaned:
        raise ValueError(f"the name {name.strip()!r} leaves the archive's folder")
    return place


def _of_a_system(place: Path) -> bool:
    hidden = place.name.startswith("._") or "__macosx" in (part.casefold() for part in place.parts)
    return hidden or place.name.casefold() in SYSTEM_FILES
