"""Lists the files of an unpacked archive, whatever the letter case and however deep the folders are nested."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from qmanet_benco.errors import RequestError
from qmanet_benco.folders import Listing, files_below


@dataclass(frozen=True)
class LeftOut:
    """A file of the archive that is not in the prepared set, and why."""

    file: str
    """Relative to the archive's folder."""
    reason: str
    failed: bool = False
    """It should have been usable: the command then ends with exit code 1."""


@dataclass(frozen=True)
class ArchivePair:
    """One image of a set with its mask, as a finder sees them."""

    image: Path
    mask: Path | None
    """None: authentic."""
    stem: str
    """The prepared files' common name without its ending."""
    kind: str = ""
    """The kind of manipulation; empty where the set does not say."""
    clockwise: int = 0
    """Quarter turns that a mask of transposed size needs; 0: such a mask is refused."""
    note: str = ""
    """What was corrected."""
    hosts: tuple[Path, ...] = ()
    """Authentic photos that the name gives as its sources."""


@dataclass
class Inventory:
    """What a finder makes of an archive: pairs, files that belong to none, and lists."""

    pairs: list[ArchivePair] = field(default_factory=list)
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
        """Return the folder alone: workers need no list of a hundred thousand files."""
        return {"root": self.root}

    @cached_property
    def listing(self) -> Listing:
        """The user's files, and how many of other programs were passed over."""
        return files_below(self.root)

    @property
    def files(self) -> list[Path]:
        """All files but those of other programs, sorted."""
        return self.listing.files

    @cached_property
    def images(self) -> list[Path]:
        """Files with the ending of an image."""
        return self.listing.images()

    def relative(self, path: Path) -> str:
        """Return a file's place in the archive, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def folders(self, path: Path) -> tuple[str, ...]:
        """Return the names of the folders between the root and a file, without letter case."""
        return tuple(part.casefold() for part in path.relative_to(self.root).parts[:-1])

    def inside(self, path: Path, *names: str) -> bool:
        """Tell whether a folder of that name lies between the root and the file."""
        return any(part in names for part in self.folders(path))

    def named(self, base: Path, name: str) -> Path | None:
        """Return the file that a list in the folder ``base`` names, whatever the letter case; None where it is absent.

        Raises:
            ValueError: the name leaves the archive.
        """
        place = safe_name(name)
        return self._by_name.get(_told_by(PurePosixPath(base.relative_to(self.root).as_posix()) / place))

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        return {_told_by(PurePosixPath(self.relative(path))): path for path in self.files}


def _told_by(place: PurePosixPath) -> str:
    """Write a path without letter case, accents written as Unicode's NFC."""
    return unicodedata.normalize("NFC", place.as_posix()).casefold()


def safe_name(name: str) -> PurePosixPath:
    """Return a relative name out of a list.

    Raises:
        ValueError: it is empty, absolute or climbs out of its folder.
    """
    cleaned = name.strip().replace("\\", "/")
    place = PurePosixPath(cleaned)
    if not place.parts or place.is_absolute() or ".." in place.parts or ":" in place.parts[0] or "\0" in cleaned:
        raise ValueError(f"the name {name.strip()!r} leaves the archive's folder")
    return place
