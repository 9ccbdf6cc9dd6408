"""Checks a prepared set: pairing, sizes, mask values, counts, files that two sets share."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from qmanet_benco.data.check.duplicates import Seen, alike_across_sets, equal_files
from qmanet_benco.data.prepare.manifest import NEGATIVE, read_manifest
from qmanet_benco.data.sets import SETS, DataSet, data_set
from qmanet_benco.errors import RequestError
from qmanet_benco.folders import as_on_disk, files_in
from qmanet_benco.images import UnusableFileError, load_whole, open_image, orientation_of, read_file
from qmanet_benco.likeness import load_small, perceptual_hash
from qmanet_benco.pairing import match_names
from qmanet_benco.pixels import mask_colours

FAILURE, NOTE = "failure", "note"
FULL_MASK = 0.999
DARK = 64
"""Grey level: a mask whose values are all below is hardly told from a black one by eye."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a set, or worth knowing."""

    level: str
    """``failure``: figures on this set would be wrong. ``note``: worth knowing."""
    what: str
    file: str = ""


@dataclass
class SetReport:
    """One checked path."""

    path: str
    set: str = ""
    """Name of the set it was compared with, if any."""
    tampered: int = 0
    authentic: int = 0
    expected: int | None = None
    """Tampered images by Tables 3 and 4."""
    kinds: dict[str, int] = field(default_factory=dict)
    """By the manifest, where there is one."""
    smallest: tuple[int, int] | None = None
    """Width and height of the image with the fewest pixels."""
    largest: tuple[int, int] | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether something would make figures wrong."""
        return any(finding.level == FAILURE for finding in self.findings)


def check(
    paths: Sequence[Path],
    name: str | None = None,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[SetReport]:
    """Check prepared sets.

    Args:
        paths: ManiDataset folders (``Tp``, ``Gt``) or JSON lists.
        name: of the set that the one path holds; otherwise the folder's own record tells it.
        workers: threads.
        progress: called with checked and all images.

    Returns:
        One report for each path; files that two paths share, or that occur twice, are named in both.

    Raises:
        RequestError: a path is neither a ManiDataset folder nor a JSON list.
    """
    if name is not None and len(paths) > 1:
        raise RequestError(f"--set with {len(paths)} paths", "one path", "check the others by themselves")
    listed = [(path, pairs_of(path)) for path in paths]
    total, done = sum(len(pairs) for _, (pairs, _) in listed), 0
    reports: list[SetReport] = []
    seen: list[Seen] = []
    for index, (path, (pairs, findings)) in enumerate(listed):
        row = data_set(name) if name else _recorded_set(path)
        report = SetReport(str(path), row.name if row else "", findings=findings)
        report.tampered = sum(mask is not None for _, mask in pairs)
        report.authentic = len(pairs) - report.tampered
        for image, found in _look_at_all(index, pairs, workers):
            done += 1
            progress(done, total)
            report.findings += found
            seen.append(image)
        sizes = [image.size for image in seen if image.index == index and image.size is not None]
        report.smallest = min(sizes, key=math.prod, default=None)
        report.largest = max(sizes, key=math.prod, default=None)
        _compare(report, row, path, FAILURE if name else NOTE)
        reports.append(report)
    _report_shared(reports, seen)
    return reports


def to_json(reports: Sequence[SetReport]) -> dict[str, Any]:
    """Return one document: ``{"ok": bool, "sets": [...]}``."""
    sets = [{**asdict(report), "ok": not report.failed} for report in reports]
    return {"ok": not any(report.failed for report in reports), "sets": sets}


def pairs_of(path: Path) -> tuple[list[tuple[Path, Path | None]], list[Finding]]:
    """Image and mask by what their names say, and what is wrong with that.

    Raises:
        RequestError: neither a ManiDataset folder nor a JSON list.
    """
    if path.is_file():
        return _of_list(path)
    if not (path / "Tp").is_dir() and (path / "list.json").is_file():
        return _of_list(path / "list.json")
    parts = [_of_list(part) for part in sorted(path.glob("*_COCO_list.json"))]
    if parts:
        return [pair for pairs, _ in parts for pair in pairs], [
            finding for _, findings in parts for finding in findings
        ]
    if not ((path / "Tp").is_dir() and (path / "Gt").is_dir()):
        cure = "prepare it with `qmanet data prepare`"
        raise RequestError(f"{path} holds no Tp and Gt", "a ManiDataset folder or a JSON list", cure)
    listings = [files_in(path / folder) for folder in ("Tp", "Gt")]
    images, masks = (listing.files for listing in listings)
    findings = [
        Finding(NOTE, f"passed over {listing.told()}", folder)
        for folder, listing in zip(("Tp", "Gt"), listings, strict=True)
        if listing.foreign
    ]
    if len(images) != len(masks):
        findings.append(Finding(FAILURE, f"{len(images)} images in Tp, {len(masks)} masks in Gt"))
    matching = match_names(images, masks)
    for folder, left in (("Tp", matching.images), ("Gt", matching.masks)):
        what = "no mask has its name" if folder == "Tp" else "no image has its name"
        findings += [Finding(FAILURE, what, f"{folder}/{file.name}") for file in left]
    if matching.images or matching.masks:
        own = {(image, mask) for image, mask, _ in matching.pairs}
        shifted = (pair for pair in zip(images, masks, strict=False) if pair not in own)
        findings += [
            Finding(FAILURE, f"by position the framework pairs it with {mask.name}", f"Tp/{image.name}")
            for image, mask in shifted
        ]
    return [(image, mask) for image, mask, _ in matching.pairs], findings


def _of_list(path: Path) -> tuple[list[tuple[Path, Path | None]], list[Finding]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        pairs = [
            (Path(as_on_disk(image)), None if mask == NEGATIVE else Path(as_on_disk(mask))) for image, mask in entries
        ]
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise RequestError(f"{path} is not a list of pairs ({error})", '[[image, mask or "Negative"], ...]') from None
    findings = [] if pairs else [Finding(FAILURE, "the list is empty")]
    repeated = len(pairs) - len(set(pairs))
    if repeated:
        findings.append(Finding(NOTE, f"{repeated} entries repeat an earlier one"))
    relative = next((image for image, _ in pairs if not image.is_absolute()), None)
    if relative is not None:
        findings.append(Finding(NOTE, "paths are relative: they hold only in the folder they were written for"))
    return pairs, findings


def _recorded_set(path: Path) -> DataSet | None:
    try:
        return SETS.get(json.loads((path / ".prepared.json").read_text(encoding="utf-8"))["set"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _look_at_all(
    index: int, pairs: Sequence[tuple[Path, Path | None]], workers: int
) -> Iterator[tuple[Seen, list[Finding]]]:
    look = partial(_look, index)
    if workers == 1:
        yield from map(look, pairs)
        return
    with ThreadPoolExecutor(workers) as pool:
        rest = iter(pairs)
        while batch := list(islice(rest, 64 * workers)):
            yield from pool.map(look, batch)


def _look(index: int, pair: tuple[Path, Path | None]) -> tuple[Seen, list[Finding]]:
    """Read one pair of files of the set at ``index``: what the image shows, and what is wrong with the pair."""
    image_path, mask_path = pair
    findings: list[Finding] = []
    size, digest, bits, orientation = None, "", None, 1
    try:
        content = read_file(image_path)
        digest = hashlib.sha256(content).hexdigest()
        image = open_image(image_path, content)
        size = image.size
        bits = perceptual_hash(load_small(image))
        orientation = orientation_of(image)
    except UnusableFileError as error:
        findings.append(Finding(FAILURE, f"image: {error}", str(image_path)))
    if mask_path is not None:
        findings += _look_at_mask(mask_path, size, orientation)
    return Seen(index, str(image_path), digest, bits, size), findings


def _look_at_mask(path: Path, size: tuple[int, int] | None, orientation: int) -> Iterator[Finding]:
    try:
        mask = load_whole(open_image(path))
        values = mask_colours(mask).sum(axis=2, dtype=np.uint16)
    except UnusableFileError as error:
        yield Finding(FAILURE, f"mask: {error}", str(path))
        return
    if size is not None and mask.size != size:
        what = f"the mask has {mask.size[0]} x {mask.size[1]} pixels, the image {size[0]} x {size[1]}"
        yield Finding(FAILURE, what, str(path))
    if orientation_of(mask) != orientation != 1:
        yield Finding(NOTE, f"the image has EXIF orientation {orientation}, which the framework ignores", str(path))
    tampered = float((values > 3 * 127.5).mean())
    between = float(((values > 3 * 2) & (values < 3 * 253)).mean())
    if tampered == 0:
        brightest = values.max() / 3
        shade = "mid-grey" if brightest >= DARK else "nearly black"
        what = f"the mask is {shade}: empty for the framework, nothing in it is brighter than {brightest:.0f}"
        what = what if brightest else "the mask is empty"
        yield Finding(FAILURE, what, str(path))
    elif between > 0:
        yield Finding(FAILURE, f"{between:.2%} of the mask is neither 0 nor 255", str(path))
    if tampered >= FULL_MASK:
        yield Finding(NOTE, "the mask is full: all of the image is tampered", str(path))


def _compare(report: SetReport, row: DataSet | None, path: Path, level: str) -> None:
    """Compare a set with Tables 3 and 4; a count that differs is a failure where the comparison was asked for."""
    kinds: dict[str, int] = defaultdict(int)
    for line in read_manifest(path) if path.is_dir() else []:
        if line.mask != NEGATIVE and line.kind:
            kinds[line.kind] += 1
    report.kinds = dict(sorted(kinds.items()))
    if row is None:
        return
    report.expected = row.tampered
    if report.tampered != row.tampered:
        report.findings.append(Finding(level, f"{report.tampered} tampered images; the paper has {row.tampered}"))
    if row.kinds and report.kinds and report.kinds != dict(row.kinds):
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(row.kinds.items()))
        here = ", ".join(f"{count} {kind}" for kind, count in report.kinds.items())
        report.findings.append(Finding(NOTE, f"kinds: {here}; the paper has {said}"))
    for what, here_size, said_size in (
        ("smallest", report.smallest, row.smallest),
        ("largest", report.largest, row.largest),
    ):
        if here_size and said_size and sorted(here_size) != sorted(said_size):
            text = f"{what} image: {here_size[0]} x {here_size[1]}; the paper has {said_size[0]} x {said_size[1]}"
            report.findings.append(Finding(NOTE, text))


def _report_shared(reports: list[SetReport], seen: list[Seen]) -> None:
    """Equal bytes twice in one set are a note; in two sets they are a leak. Likeness is a note: have a look."""
    for image, other in equal_files(seen):
        if image.index != other.index:
            finding = Finding(FAILURE, f"the same file is in another set: {other.name}", image.name)
        else:
            finding = Finding(NOTE, f"the same file twice: {other.name}", image.name)
        reports[image.index].findings.append(finding)
    for image, other, distance in alike_across_sets(seen):
        finding = Finding(NOTE, f"looks like {other.name} of another set ({distance} of 64 bits differ)", image.name)
        reports[image.index].findings.append(finding)
