"""Tells which files of a prepared folder this command wrote: a second run replaces and removes only those.

A file is ours if the manifest or the journal names it and it still has the recorded SHA-256, or if it holds exactly
what would be written now (the half of a pair that a kill left behind). Everything else is the user's.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from qmanet_benco.data.prepare.manifest import PreparedImage
from qmanet_benco.errors import RequestError

PAIRED = ("Tp", "Gt")
"""The framework pairs all files of these two folders by their position: a stranger there would shift the pairs."""
INSIDE = re.compile(r"(Tp|Gt|Au)/(?!\.{1,2}$)[^/\\\0]+", re.DOTALL)
"""What an image or a mask is called in a prepared folder. A list that names anything else is not believed."""

Written = Mapping[str, frozenset[str]]
"""Name relative to the prepared folder, and the SHA-256 of everything that earlier runs wrote there."""


def written_by(rows: Iterable[PreparedImage]) -> Written:
    """List what the rows of a manifest and a journal say was written, without images that stayed in the archive."""
    names: dict[str, frozenset[str]] = {}
    for row in rows:
        for name, digest in ((row.file, row.image_sha256), (row.mask, row.mask_sha256)):
            if INSIDE.fullmatch(name):
                names[name] = names.get(name, frozenset()) | {digest}
    return names


def is_to_write(out: Path, name: str, content: bytes, written: Written) -> bool:
    """Tell whether ``out/name`` has to be written; False where it holds the content already.

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
        RequestError: some of these files were changed since; nothing is removed then.
    """
    stale = [out / name for name in sorted(written.keys() - set(known)) if os.path.lexists(out / name)]
    changed = [path for path in stale if not _is_as_written(path, written[_name(out, path)])]
    if changed:
        raise _foreign(changed)
    for path in stale:
        path.unlink()


def _is_as_written(path: Path, digests: Collection[str]) -> bool:
    plain = path.is_file() and not path.is_symlink()
    return plain and hashlib.sha256(path.read_bytes()).hexdigest() in digests


def _name(out: Path, path: Path) -> str:
    return path.relative_to(out).as_posix()


def _foreign(paths: list[Path]) -> RequestError:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return RequestError(
        f"{', '.join(map(str, paths[:3]))}{more}: not as this command wrote it, and it never replaces files of yours",
        "only its own files there",
        "move it elsewhere, or remove it, and give the command again",
    )
