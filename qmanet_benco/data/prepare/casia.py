"""CASIA v1 and v2: forgeries whose names were corrected for the masks only.

Names say ``Tp_D_CRN_S_N_cha00063_art00014_11818``: D two photos or S one, five letters for the techniques, the two
photos, the forgery's number (README of https://github.com/namtpham/casia2groundtruth).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from qmanet_benco.data.prepare.archive import Archive, ArchivePair, Inventory, LeftOut
from qmanet_benco.data.prepare.matching import NO_MASK, add_authentic, add_leftovers, unique
from qmanet_benco.data.sets import COPY_MOVE, SPLICE, data_set
from qmanet_benco.images import UnusableFileError, open_image
from qmanet_benco.pairing import Key, Matching, image_key, mask_key, match

NUMBER_AT_END = re.compile(r"(\d+)$")


def number_key(path: Path) -> str | None:
    """Return the digits at the end of the stem, as CASIA numbers its forgeries."""
    number = NUMBER_AT_END.search(mask_key(path))
    return number.group(1) if number else None


def digits_key(path: Path) -> str | None:
    """Return all numbers of the stem: CASIA's two source photos and the forgery, whatever the letters between them."""
    return "-".join(re.findall(r"\d+", mask_key(path))) or None


def photo_key(path: Path, photo: int) -> str | None:
    """Return the number of the first (0) or the second (1) source photo and the forgery's."""
    numbers = re.findall(r"\d+", mask_key(path))
    return f"{numbers[photo]}-{numbers[2]}" if len(numbers) == 3 else None


SUPPORTED_KEYS: tuple[tuple[Key, Key], ...] = (
    (image_key, mask_key),
    (digits_key, digits_key),
    *((key, key) for key in (partial(photo_key, photo=0), partial(photo_key, photo=1))),
)
"""The corrected name; all its numbers; the forgery's number together with one of the photos' numbers."""
CASIA_KEYS = (*SUPPORTED_KEYS, (number_key, number_key))
"""Then the forgery's number alone, which other forgeries may share: see :func:`_number_decides`."""
TRUTH_FOLDER = re.compile(r"(.*[ _-])?(gt|ground ?truth|masks?)")
TRUTH_ENDING = re.compile(r"_gt\d?$")
WITHOUT_MASK = {"0542": "its mask does not exist: the ground truth has 920 masks for 921 images (casia1groundtruth)"}
TURNED_MASK = "sp_d_cnn_a_sec0012_ani0007_0275"
"""It lies clockwise against its image, as ``Au_sec_0012`` proves: three more quarter turns set it right."""


def find_casiav1(archive: Archive) -> Inventory:
    """CASIA v1, whose images have 106 names that its masks correct."""
    inventory = Inventory()
    forged, masks, authentic = _files(archive, inventory, "sp_")
    matching, hosts = _matched(archive, inventory, forged, masks, data_set("casiav1").tampered), _hosts(authentic)
    for image, mask, stage in matching.pairs:
        stem = mask.stem.strip()[: len(mask_key(mask))]
        turn = 3 if mask_key(mask) == TURNED_MASK else 0
        note = f"named {image.stem} in the archive" if stage else ""
        inventory.pairs.append(ArchivePair(image, mask, stem, _kind(archive, mask, stem), turn, note, hosts(stem)))
    for image in [path for path in matching.images if number_key(path) in WITHOUT_MASK]:
        matching.images.remove(image)
        reason = WITHOUT_MASK[number_key(image) or ""] if len(masks) > len(matching.masks) else NO_MASK
        inventory.left_out.append(LeftOut(archive.relative(image), reason))
    add_leftovers(archive, inventory, matching, number_key, number_key)
    add_authentic(inventory, authentic)
    return inventory


def find_casiav2(archive: Archive) -> Inventory:
    """CASIA v2, whose names do not all agree either."""
    inventory = Inventory()
    forged, masks, authentic = _files(archive, inventory, "tp_")
    matching, hosts = _matched(archive, inventory, forged, masks, data_set("casiav2").tampered), _hosts(authentic)
    for image, mask, stage in matching.pairs:
        note = f"mask named {mask.stem} in the archive" if stage else ""
        photos = hosts(image.stem) or hosts(mask_key(mask))
        inventory.pairs.append(ArchivePair(image, mask, image.stem, _kind(archive, image, image.stem), 0, note, photos))
    add_leftovers(archive, inventory, matching, number_key, number_key)
    add_authentic(inventory, authentic)
    return inventory


def _files(archive: Archive, inventory: Inventory, start: str) -> tuple[list[Path], list[Path], list[Path]]:
    """Forged images, masks and authentic images.

    Masks are named ``_gt``; in copies that dropped the ending, they are what lies in a folder of ground truth.
    """
    authentic = [path for path in archive.images if image_key(path).startswith("au_") or archive.inside(path, "au")]
    others = set(authentic)
    named = [path for path in archive.images if image_key(path).startswith(start) and path not in others]
    masks = [path for path in named if TRUTH_ENDING.search(image_key(path))]
    if not masks:
        masks = [path for path in named if any(TRUTH_FOLDER.fullmatch(part) for part in archive.folders(path))]
    used = set(masks)
    return [path for path in named if path not in used], _first_versions(archive, inventory, masks), authentic


def _first_versions(archive: Archive, inventory: Inventory, masks: Iterable[Path]) -> list[Path]:
    """Take ``..._gt`` where there is ``..._gt3`` as well; the other versions are left out."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for mask in masks:
        by_name[mask_key(mask)].append(mask)
    kept = []
    for versions in by_name.values():
        plain = [mask for mask in versions if not image_key(mask)[-1].isdigit() or image_key(mask) == mask_key(mask)]
        chosen = plain or versions
        kept += chosen
        inventory.left_out += [
            LeftOut(archive.relative(mask), f"another version of {archive.relative(chosen[0])}")
            for mask in versions
            if mask not in chosen
        ]
    return sorted(kept)


def _matched(archive: Archive, inventory: Inventory, forged: list[Path], masks: list[Path], complete: int) -> Matching:
    forged = unique(archive, inventory, forged, image_key)
    masks = unique(archive, inventory, masks, mask_key)
    matching = match(forged, masks, SUPPORTED_KEYS, _same_sides)
    if max(len(forged), len(masks)) >= complete or _number_decides(matching):
        return match(forged, masks, CASIA_KEYS, _same_sides)
    return matching


def _number_decides(matching: Matching) -> bool:
    """Tell whether the numbers of what is unmatched agree one to one.

    Copy-moves and splices are numbered apart, so that a number occurs twice in the set. In a part of the archive the
    mask of that number may be the other forgery's; it cannot be where one of the sides is complete, nor is it likely
    where each of several files on one side has exactly one partner on the other.
    """
    images = sorted(str(number_key(path)) for path in matching.images if number_key(path) not in WITHOUT_MASK)
    return images == sorted(str(number_key(path)) for path in matching.masks) and len(set(images)) == len(images)


def _hosts(authentic: Iterable[Path]) -> Callable[[str], tuple[Path, ...]]:
    """Lead from a forgery's name, ``..._ani00018_sec00096_...``, to ``Au_ani_00018`` and ``Au_sec_00096``."""
    photos = {image_key(path).removeprefix("au_").replace("_", ""): path for path in authentic}

    def hosts(stem: str) -> tuple[Path, ...]:
        named = dict.fromkeys(stem.casefold().split("_"))
        return tuple(photos[part] for part in named if part in photos)

    return hosts


def _kind(archive: Archive, path: Path, stem: str) -> str:
    """S (same photo) or D (different photos) after the first underscore; the folder CM or Sp where there is neither."""
    letter = "".join(stem.split("_")[1:2]).casefold()
    by_folder = COPY_MOVE if archive.inside(path, "cm") else ""
    return {"s": COPY_MOVE, "d": SPLICE}.get(letter, by_folder)


def _same_sides(image: Path, mask: Path) -> bool:
    """Tell whether the sizes agree, up to a turn by 90 degrees; reads the headers only."""
    try:
        with open_image(image) as one, open_image(mask) as other:
            return sorted(one.size) == sorted(other.size)
    except UnusableFileError:
        return False
