"""tampCOCO, 800,000 pairs: its text lists become JSON lists line by line, in little memory; nothing is copied."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from qmanet_benco.data.prepare import manifest
from qmanet_benco.data.prepare.archive import safe_name
from qmanet_benco.data.prepare.digest import lists_digest
from qmanet_benco.data.prepare.manifest import Prepared
from qmanet_benco.data.sets import COPY_MOVE, SPLICE, data_set
from qmanet_benco.errors import RequestError
from qmanet_benco.files import locked, sha256_of
from qmanet_benco.folders import as_on_disk
from qmanet_benco.images import ENDINGS, UnusableFileError, load_whole, open_image
from qmanet_benco.pixels import THRESHOLD, mask_colours

log = logging.getLogger(__name__)

PARTS = {"sp": SPLICE, "cm": COPY_MOVE, "bcm": COPY_MOVE, "bcmc": COPY_MOVE}
"""The four entries; CAT-Net's names for CM RAISE and CM-JPEG RAISE are bcm and bcmc."""
LONGEST_LINE = 10_000
"""Characters of a text list's line: two paths have 4,096 bytes each at most."""
COLUMNS = ("list", "pairs", "left_out", "sha256", "kind", "source")
SAMPLE_EVERY = 10_000
"""Every so many pairs one is decoded whole; the rest is proven to exist, which is what the time allows. After the first
that is wrong all are decoded."""


@dataclass
class _Part:
    """What became of one entry."""

    name: str
    source: str
    pairs: int = 0
    left_out: int = 0
    repeated: int = 0
    """Pairs that an earlier line said already. They stay, since a list may mean to show them often."""
    sha256: str = ""

    @property
    def file(self) -> str:
        return f"{self.name}_COCO_list.json"


def prepare_lists(raw: Path, out: Path, progress: Callable[[int, int], None]) -> Prepared:
    """Write ``{sp,cm,bcm,bcmc}_COCO_list.json``.

    Args:
        raw: the unpacked archive, with or without CAT-Net's text lists.
        out: new or empty folder, or one that this request began.
        progress: called with the pairs so far; their total is not known beforehand (0).

    Raises:
        RequestError: neither lists nor folders of tampCOCO are there, or ``out`` is in use.
    """
    sources = _sources(raw)
    if not sources:
        row = data_set("tampcoco")
        raise RequestError(f"{raw} holds no list or folder of tampCOCO", row.layout, f"the archive: {row.source}")
    with locked(out):
        return _prepared(raw, out, sources, progress)


def _prepared(raw: Path, out: Path, sources: dict[str, Path], progress: Callable[[int, int], None]) -> Prepared:
    manifest.claim(out, {"set": "tampcoco"})
    manifest.begin(out)
    parts = []
    partial = manifest.partial_of(out, manifest.LEFT_OUT)
    with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        refused = csv.writer(stream, lineterminator="\n")
        refused.writerow(("file", "reason", "failed"))

        def refuse(file: str, reason: str) -> None:
            refused.writerow((file, reason, "yes"))

        def count(now: int) -> None:
            progress(done + now, 0)

        done = 0
        for name, source in sources.items():
            part = _Part(name, source.relative_to(raw).as_posix())
            _write_part(raw, out, source, part, refuse, count)
            parts.append(part)
            done += part.pairs + part.left_out
    manifest.put_list(out, manifest.LEFT_OUT)
    _write_manifest(out, parts)
    manifest.clear_partial(out)
    tampered, left_out = sum(part.pairs for part in parts), sum(part.left_out for part in parts)
    for part in parts:
        if part.repeated:
            log.warning("%s: %d lines repeat an earlier one, and count once more", part.source, part.repeated)
    lists = tuple(out / part.file for part in parts)
    return Prepared("tampcoco", out, tampered, 0, left_out, left_out, lists, lists_digest(lists))


def _sources(raw: Path) -> dict[str, Path]:
    """Find a text list for each part, or else its folder of images.

    A whole list goes before a training split, then the one in the outermost folder.
    """
    lists: dict[str, list[tuple[bool, int, Path]]] = {name: [] for name in PARTS}
    folders: dict[str, Path] = {}
    for folder, below, names in os.walk(raw):
        below.sort()
        for name in names:
            named = re.fullmatch(r"(sp|cm|bcm|bcmc)_coco(_train)?(_list)?\.(txt|csv)", name.casefold())
            if named:
                path = Path(folder, name)
                lists[named.group(1)].append((named.group(2) is not None, len(path.parts), path))
        for name in list(below):
            named = re.fullmatch(r"(sp|cm|bcm|bcmc)_(images|masks)", name.casefold())
            if named:
                below.remove(name)  # hundreds of thousands of files that the list names
                if named.group(2) == "images":
                    folders.setdefault(named.group(1), Path(folder, name))
    chosen = {name: min(candidates)[2] for name, candidates in lists.items() if candidates}
    return {name: chosen.get(name) or folders[name] for name in PARTS if name in chosen or name in folders}


def _write_part(
    raw: Path,
    out: Path,
    source: Path,
    part: _Part,
    refuse: Callable[[str, str], None],
    progress: Callable[[int], None],
) -> None:
    partial = manifest.partial_of(out, part.file)
    lines = _listed(raw, source) if source.is_file() else _scanned(raw, source)
    with partial.open("wb") as stream:
        stream.write(b"[")
        suspicious = False
        seen: set[int] = set()
        for place, image, mask, objection in lines:
            objection = objection or _absence(image, mask)
            if not objection and (suspicious or part.pairs % SAMPLE_EVERY == 0):
                objection = _defect(image, mask)
                suspicious = suspicious or bool(objection)
            if objection:
                part.left_out += 1
                refuse(place, objection)
            else:
                part.repeated += _is_repeated(image, mask, seen)
                pair = json.dumps([image, mask], ensure_ascii=False).encode("utf-8", errors="surrogateescape")
                stream.write((b",\n" if part.pairs else b"\n") + pair)
                part.pairs += 1
            if (part.pairs + part.left_out) % 1000 == 0:
                progress(part.pairs + part.left_out)
        stream.write(b"\n]\n")
    part.sha256 = sha256_of(partial)
    manifest.put_list(out, part.file)


def _listed(raw: Path, source: Path) -> Iterator[tuple[str, str, str, str]]:
    """Place in the list, image, mask, objection."""
    name = source.relative_to(raw).as_posix()
    base = _base(raw, source)
    with source.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        for number, line in enumerate(_lines(stream), 1):
            if not line.strip():
                continue
            if len(line) > LONGEST_LINE:
                yield f"{name}:{number}", "", "", f"the line has more than {LONGEST_LINE} characters"
                continue
            image, _, rest = line.strip().partition(",")
            mask = rest.partition(",")[0]
            try:
                image, mask = (as_on_disk(f"{base}/{safe_name(listed)}") for listed in (image, mask))
                yield f"{name}:{number}", image, mask, ""
            except ValueError as error:
                yield f"{name}:{number}", "", "", str(error)


def _lines(stream: IO[str]) -> Iterator[str]:
    """Read the lines of a file; of a longer one than :data:`LONGEST_LINE` only a beginning, which is longer too."""
    while line := stream.readline(LONGEST_LINE + 1):
        yield line
        while line and not line.endswith("\n"):
            line = stream.readline(LONGEST_LINE + 1)


def _base(raw: Path, source: Path) -> Path:
    """Find the folder that the list's names start from: the first line's image tells it."""
    candidates = [source.parent, raw, *(path for path in sorted(raw.iterdir()) if path.is_dir())]
    with source.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        for line in _lines(stream):
            image = line.strip().partition(",")[0]
            for base in candidates:
                try:
                    if os.path.isfile(base / safe_name(image)):  # noqa: PTH113  # False, not an error, for a name too long
                        return base
                except ValueError:
                    break
    return source.parent


def _scanned(raw: Path, images: Path) -> Iterator[tuple[str, str, str, str]]:
    """Pair, without a list, every image of the folder with the mask of the same stem, sorted."""
    kind = images.name.casefold().removesuffix("_images")
    beside = {path.name.casefold(): path for path in images.parent.iterdir() if path.is_dir()}
    masks = beside.get(f"{kind}_masks") or beside.get("bcm_masks" if kind == "bcmc" else "")
    place = images.relative_to(raw).as_posix()
    for name in sorted(os.listdir(images)):  # noqa: PTH208  # names only: a Path each would be ten times the memory
        stem, dot, ending = name.rpartition(".")
        if f"{dot}{ending}".lower() in ENDINGS:
            mask = _mask_beside(str(masks), stem, f".{ending}") if masks else ""
            yield f"{place}/{name}", f"{images}/{name}", mask, "" if mask else "no mask of the same name"


def _mask_beside(masks: str, stem: str, ending: str) -> str:
    for candidate in (f"{stem}.png", f"{stem}{ending}", f"{stem}{ending}.png", f"{stem}_mask.png", f"{stem}.jpg"):
        path = f"{masks}/{candidate}"
        if os.path.isfile(path):  # noqa: PTH113  # a Path for each of 800,000 files takes four times as long
            return path
    return ""


def _absence(image: str, mask: str) -> str:
    for path in (image, mask):
        if not os.path.isfile(path):  # noqa: PTH113
            return f"the list names {Path(path).parent.name}/{Path(path).name}, which is not in the archive"
    return ""


def _is_repeated(image: str, mask: str, seen: set[int]) -> bool:
    """Tell whether an earlier line of the list says the same; of each line eight bytes of a hash are kept."""
    digest = hashlib.blake2b(f"{image}\0{mask}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    key = int.from_bytes(digest, "big")
    known = key in seen
    seen.add(key)
    return known


def _defect(image: str, mask: str) -> str:
    try:
        size = load_whole(open_image(image)).size
        colours = mask_colours(open_image(mask))
    except UnusableFileError as error:
        return str(error)
    height, width = colours.shape[:2]
    if (width, height) != size:
        return f"the mask has {width} x {height} pixels, the image {size[0]} x {size[1]}"
    brightest = float(colours.mean(axis=2).max())
    if brightest <= THRESHOLD:  # these files are used as they are
        return f"the mask is empty for the framework: nothing in it is brighter than {brightest:.0f}"
    return ""


def _write_manifest(out: Path, parts: list[_Part]) -> None:
    rows = [(part.file, part.pairs, part.left_out, part.sha256, PARTS[part.name], part.source) for part in parts]
    content = manifest.as_csv(COLUMNS, (dict(zip(COLUMNS, row, strict=True)) for row in rows))
    manifest.write_list(out, manifest.MANIFEST, content)
