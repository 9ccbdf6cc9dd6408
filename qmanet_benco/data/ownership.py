"""What in a prepared folder is ours: a second run replaces and removes only files that an earlier one wrote.

A file is ours if the manifest or the journal names it and it still has the recorded SHA-256, or if it holds exactly
what would be written now (the half of a pair that a kill left behind). Everything else is the user's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from qmanet_benco.data.manifest import NEGATIVE, Row
from qmanet_benco.errors import RequestError

PAIRED = ("Tp", "Gt")
"""The framework pairs all files of these two folders by their position: a stranger there would shift the pairs."""

Written = Mapping[str, frozenset[str]]
"""Name relative to the prepared folder, and the SHA-256 of everything that earlier runs wrote there."""


def written_by(rows: Iterable[Row]) -> Written:
    """What the rows of a manifest and a journal say was written; images that stayed in the archive are not in it."""
    names: dict[str, frozenset[str]] = {}
    for row in rows:
        for name, digest in ((row.file, row.image_sha256), (row.mask, row.mask_sha256)):
            if name != NEGATIVE and not Path(name).is_absolute():
                names[name] = names.get(name, frozenset()) | {digest}
    return names


def is_to_write(out: Path, name: str, content: bytes, written: Written) -> bool:
    """Whether ``out/name`` has to be written; False where it holds the content already.

    Raises:
        RequestError: it holds something that this command did not write.
    """
    path = out / name
    if not os.path.lexists(path):
        return True
    if path.is_file() and not path.is_symlink():
        there = path.read_bytes()
        if there == content:
            return False
        if hashlib.sha256(there).hexdigest() in written.get(name, ()):
            return True
    raise _foreign([path])


def refuse_strangers(out: Path, known: Collection[str]) -> None:
    """Look for files in ``Tp`` and ``Gt`` that are not of the set.

    Args:
        out: the prepared folder.
        known: names relative to it.

    Raises:
        RequestError: there are some; they are left as they are.
    """
    folders = [out / folder for folder in PAIRED if (out / folder).is_dir()]
    strangers = [path for folder in folders for path in sorted(folder.iterdir()) if _name(out, path) not in known]
    if strangers:
        raise _foreign(strangers)


def remove_stale(out: Path, written: Written, known: Collection[str]) -> None:
    """Remove what earlier runs wrote and the set no longer has.

    Raises:
        RequestError: one of these files was changed since; it is left as it is.
    """
    for name in sorted(written.keys() - set(known)):
        path = out / name
        if not os.path.lexists(path):
            continue
        ours = path.is_file() and not path.is_symlink()
        if not ours or hashlib.sha256(path.read_bytes()).hexdigest() not in written[name]:
            raise _foreign([path])
        path.unlink()


def _name(out: Path, path: Path) -> str:
    return path.relative_to(out).as_posix()


def _foreign(paths: list[Path]) -> RequestError:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return RequestError(
        f"{', '.join(map(str, paths[:3]))}{more}: not as this command wrote it, and it never replaces files of yours",
        "only its own files there",
        "move it elsewhere, or remove it, and give the command again",
    )
