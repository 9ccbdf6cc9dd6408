"""NIST16 (Nimble Challenge 2016): a reference list pairs probe and mask, and knows kind and source.

The list of ``reference/manipulation`` has all 564 pairs; those of ``removal`` and ``splice`` repeat parts of it
(https://github.com/SunnyHaze/IML-ViT/issues/47).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from qmanet_benco.data.prepare.archive import Archive, ArchivePair, Inventory, LeftOut
from qmanet_benco.data.sets import AUTHENTIC, COPY_MOVE, REMOVAL, SPLICE

REFERENCE = re.compile(r".*manipulation-ref\.csv")
COLUMNS = ("ProbeFileName", "ProbeMaskFileName", "IsTarget")
KINDS = {"Removal": REMOVAL, "Splice": SPLICE, "CopyClone": COPY_MOVE}


def find_nist16(archive: Archive) -> Inventory:
    """Pair each probe that the list calls a target with its mask; the other probes are authentic."""
    inventory = Inventory()
    lists = [path for path in archive.files if REFERENCE.fullmatch(path.name.casefold())]
    inventory.lists += lists
    for reference in lists:
        base = reference.parent.parent.parent if archive.inside(reference, "reference") else reference.parent
        with reference.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
            lines = csv.DictReader(stream, delimiter="|")
            missing = [column for column in COLUMNS if column not in (lines.fieldnames or ())]
            if missing:
                reason = f"no column {missing[0]}; expected columns between | signs"
                inventory.left_out.append(LeftOut(archive.relative(reference), reason, failed=True))
                continue
            for number, row in enumerate(lines, 2):
                _add_probe(archive, inventory, base, f"{archive.relative(reference)}:{number}", row)
    _refuse_two_masks(archive, inventory)
    return inventory


def _add_probe(archive: Archive, inventory: Inventory, base: Path, line: str, row: Mapping[str, str | None]) -> None:
    is_target = (row.get("IsTarget") or "").strip().upper() == "Y"
    probe_name, mask_name = row.get("ProbeFileName") or "", row.get("ProbeMaskFileName") or ""
    try:
        probe = archive.named(base, probe_name)
        mask = archive.named(base, mask_name) if is_target else None
        if is_target and mask is None:  # the list's folder for removals is not where their masks are in some copies
            mask = archive.named(base, re.sub("/manipulation/", "/removal/", mask_name, count=1))
    except ValueError as error:
        inventory.left_out.append(LeftOut(line, str(error), failed=True))
        return
    if probe is None or (is_target and mask is None):
        missing = probe_name if probe is None else mask_name
        inventory.left_out.append(LeftOut(line, f"the list names {missing}, which is not in the archive", failed=True))
        return
    hosts = _host(archive, base, row.get("BaseFileName") or "") if is_target else ()
    inventory.pairs.append(ArchivePair(probe, mask, probe.stem, _kind(row) if is_target else AUTHENTIC, hosts=hosts))


def _host(archive: Archive, base: Path, name: str) -> tuple[Path, ...]:
    """Find the photo the probe was made from, if the archive has it; nothing depends on it where the sizes agree."""
    try:
        host = archive.named(base, name)
    except ValueError:
        return ()
    return () if host is None else (host,)


def _kind(row: Mapping[str, str | None]) -> str:
    kinds = [kind for column, kind in KINDS.items() if (row.get(f"IsManipulationType{column}") or "").strip() == "Y"]
    return "+".join(sorted(kinds))


def _refuse_two_masks(archive: Archive, inventory: Inventory) -> None:
    """Lines that repeat a pair count once; a probe with two different masks is left out."""
    by_probe: dict[Path, dict[Path | None, ArchivePair]] = {}
    for pair in inventory.pairs:
        by_probe.setdefault(pair.image, {}).setdefault(pair.mask, pair)
    inventory.pairs = []
    for probe, pairs in by_probe.items():
        if len(pairs) == 1:
            inventory.pairs += pairs.values()
        else:
            reason = f"the list gives it {len(pairs)} different masks"
            inventory.left_out.append(LeftOut(archive.relative(probe), reason, failed=True))
