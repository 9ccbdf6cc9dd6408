"""Puts an unpacked archive into the framework's format, checked file by file; may be killed and started again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from qmanet_benco.data.prepare import manifest
from qmanet_benco.data.prepare.archive import Archive, ArchivePair, Inventory, LeftOut
from qmanet_benco.data.prepare.digest import set_digest
from qmanet_benco.data.prepare.layouts import FINDERS, find_autosplice
from qmanet_benco.data.prepare.manifest import LIST, NEGATIVE, Prepared, PreparedImage
from qmanet_benco.data.prepare.ownership import Written, refuse_strangers, remove_stale, written_by
from qmanet_benco.data.prepare.tampcoco import prepare_lists
from qmanet_benco.data.prepare.writer import PrepareOptions, Writer, folder_of, names_of
from qmanet_benco.data.sets import SETS, DataSet, data_set
from qmanet_benco.errors import RequestError
from qmanet_benco.files import locked
from qmanet_benco.images import UnusableFileError
from qmanet_benco.pool import in_order

__all__ = ["LIST", "PrepareOptions", "Prepared", "Progress", "prepare", "raw_folders"]

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def prepare(
    name: str,
    raw: Path,
    out: Path,
    options: PrepareOptions | None = None,
    *,
    workers: int = 1,
    progress: Progress = lambda _done, _total: None,
) -> Prepared:
    """Prepare one of the ten sets.

    Args:
        name: of the set.
        raw: folder of the unpacked archive; nothing in it is changed.
        out: new or empty folder, or one that this request began.
        options: choices.
        workers: processes; a script that asks for several needs the guard ``if __name__ == "__main__":``.
        progress: called with finished and all images.

    Returns:
        Counts; the lists themselves are ``manifest.csv`` and ``left_out.csv`` in ``out``.

    Raises:
        RequestError: the request was wrong, and nothing was written then; or a file that this command did not write
            is in the way, and it was left as it is.
    """
    row, options = data_set(name), (options or PrepareOptions()).checked()
    if workers < 1:
        raise RequestError(f"{workers} workers", "1 or more")
    archive = Archive(raw)
    if out.resolve().is_relative_to(archive.root):
        raise RequestError(f"{out} lies inside the archive's folder {raw}", "a folder elsewhere")
    if row.name == "tampcoco":
        return prepare_lists(archive.root, out, progress)
    of_one_level = row.name == "autosplice"
    inventory = find_autosplice(archive, options.jpeg_level) if of_one_level else FINDERS[row.name](archive)
    if archive.listing.foreign:
        log.warning("%s: passed over %s", raw, archive.listing.told())
    if not any(pair.mask for pair in inventory.pairs):
        raise RequestError(f"{raw} holds no pair of {row.title}", row.layout, f"the archive: {row.source}")
    manifest.claim(out, {"set": row.name, **asdict(options)})
    with locked(out):
        return _prepared(row, archive, out, options, inventory, workers, progress)


def raw_folders(raw: Path) -> dict[str, Path]:
    """The folders of archives directly below ``raw`` by the name of their set; a folder is named after its set.

    Raises:
        RequestError: there is no such folder, or none below it is named after a set, or two are after the same.
    """
    if not raw.is_dir():
        raise RequestError(f"no folder {raw}", "the folder of the archives, one folder in it for each", "check --raw")
    prepared: dict[str, Path] = {}
    for folder in sorted(path for path in raw.iterdir() if path.is_dir()):
        try:
            name = data_set(folder.name).name
        except RequestError:
            continue
        if name in prepared:
            raise RequestError(f"{prepared[name]} and {folder} are both named after {name}", "one folder for each set")
        prepared[name] = folder
    if not prepared:
        raise RequestError(f"{raw} has no folder named after a set", "one of " + ", ".join(SETS))
    return prepared


def _prepared(
    row: DataSet,
    archive: Archive,
    out: Path,
    options: PrepareOptions,
    inventory: Inventory,
    workers: int,
    progress: Progress,
) -> Prepared:
    """Prepare the set once the folder is ours."""
    pairs = _chosen(archive, inventory, options)
    before = manifest.read_manifest(out) + manifest.read_journal(out)
    written = written_by(before)
    if not row.as_list:
        refuse_strangers(out, written.keys() | {name for pair in pairs for name in names_of(pair)})
    manifest.begin(out)
    rows, failures = _run(Writer(row, archive, out, options, written), pairs, before, workers, progress)
    left_out = sorted([*inventory.left_out, *failures], key=lambda item: (item.file.casefold(), item.file, item.reason))
    return _finish(row, out, rows, left_out, options, written)


def _chosen(archive: Archive, inventory: Inventory, options: PrepareOptions) -> list[ArchivePair]:
    """Pairs with unique stems; everything in the archive that is not among them is added to the left-out files."""
    pairs = sorted(inventory.pairs, key=lambda pair: (pair.mask is None, archive.relative(pair.image)))
    skipped = [pair for pair in pairs if pair.mask is None and not options.authentic]
    inventory.left_out += [
        LeftOut(archive.relative(pair.image), "authentic: included with --authentic") for pair in skipped
    ]
    chosen = _unique_stems([pair for pair in pairs if pair.mask is not None or options.authentic])
    told = {item.file for item in inventory.left_out}
    used = {path for pair in pairs for path in (pair.image, pair.mask)} | set(inventory.lists)
    for path in archive.files:
        if path not in used and archive.relative(path) not in told:
            inventory.left_out.append(LeftOut(archive.relative(path), "not a part of the set's layout"))
    return chosen


def _unique_stems(pairs: Iterable[ArchivePair]) -> list[ArchivePair]:
    """Stems without dots, so that images and masks sort alike, and each but once, whatever the letter case."""
    plain = [replace(pair, stem=pair.stem.strip().replace(".", "-")) for pair in pairs]
    count = Counter((folder_of(pair), pair.stem.casefold()) for pair in plain)
    seen: Counter[tuple[str, str]] = Counter()
    unique = []
    for pair in plain:
        stem = pair.stem
        if count[folder_of(pair), stem.casefold()] > 1:
            stem = f"{stem}__{pair.image.parent.name}__{pair.image.suffix.lower().strip('.')}".replace(".", "-")
        seen[folder_of(pair), stem.casefold()] += 1
        again = seen[folder_of(pair), stem.casefold()]
        unique.append(replace(pair, stem=stem if again == 1 else f"{stem}__{again}"))
    return unique


def _run(
    writer: Writer, pairs: list[ArchivePair], before: Iterable[PreparedImage], workers: int, progress: Progress
) -> tuple[list[PreparedImage], list[LeftOut]]:
    """Write what an earlier run has not written."""
    out, archive = writer.out, writer.archive
    known = {(row.source, row.source_mask): row for row in before}
    rows: list[PreparedImage] = []
    waiting: list[ArchivePair] = []
    for pair in pairs:
        key = (archive.relative(pair.image), archive.relative(pair.mask) if pair.mask else "")
        row = known.get(key)
        if row is not None and row.content_sha256 and _in_place(out, row, pair):
            rows.append(row)
        else:
            waiting.append(pair)
    failures: list[LeftOut] = []
    orphans: dict[str, str] = {}
    journal = manifest.Journal(out)
    progress(len(rows), len(pairs))
    with closing(journal), closing(in_order(partial(_outcome, writer), waiting, workers)) as outcomes:
        for pair, outcome in outcomes:
            if isinstance(outcome, PreparedImage):
                journal.add(outcome)
                rows.append(outcome)
            else:
                log.warning("left out: %s: %s", archive.relative(pair.image), outcome)
                failures.append(LeftOut(archive.relative(pair.image), str(outcome), failed=True))
                if pair.mask is not None:
                    orphans[archive.relative(pair.mask)] = archive.relative(pair.image)
            progress(len(rows) + len(failures), len(pairs))
    used = {row.source_mask for row in rows}
    failures += [LeftOut(mask, f"of {image}, which is left out") for mask, image in orphans.items() if mask not in used]
    return sorted(rows, key=lambda row: (row.mask == NEGATIVE, row.file)), failures


def _in_place(out: Path, row: PreparedImage, pair: ArchivePair) -> bool:
    """Tell whether an earlier run's files are there and still those of the archive."""
    file = out / row.file
    if row.file not in (*names_of(pair), str(pair.image)) or row.mask not in (*names_of(pair), NEGATIVE):
        return False
    if not file.is_file() or (row.mask != NEGATIVE and not (out / row.mask).is_file()):
        return False
    return "scaled from" in row.note or file.stat().st_size == pair.image.stat().st_size


def _outcome(writer: Writer, pair: ArchivePair) -> PreparedImage | UnusableFileError:
    try:
        return writer(pair)
    except UnusableFileError as error:
        return error


def _finish(
    row: DataSet,
    out: Path,
    rows: list[PreparedImage],
    left_out: list[LeftOut],
    options: PrepareOptions,
    written: Written,
) -> Prepared:
    known = written_by(rows).keys()
    remove_stale(out, written, known)
    if not row.as_list:
        refuse_strangers(out, known)
    lists: tuple[Path, ...] = ()
    if row.as_list or options.authentic:
        manifest.write_json_list(out, LIST, rows)
        lists = (out / LIST,)
    manifest.publish(out, rows, left_out)
    tampered = sum(item.mask != NEGATIVE for item in rows)
    failed = sum(item.failed for item in left_out)
    return Prepared(row.name, out, tampered, len(rows) - tampered, len(left_out), failed, lists, set_digest(rows))
