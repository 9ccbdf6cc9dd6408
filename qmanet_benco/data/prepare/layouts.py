"""A finder for each set that is read file by file: the archive's real layout in, pairs of image and mask out."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from qmanet_benco.data.masks import ARRAY_ENDINGS
from qmanet_benco.data.prepare.archive import Archive, ArchivePair, Inventory, LeftOut
from qmanet_benco.data.prepare.casia import find_casiav1, find_casiav2
from qmanet_benco.data.prepare.matching import (
    NO_IMAGE,
    NO_MASK,
    Finder,
    add_authentic,
    add_leftovers,
    matched_by_name,
)
from qmanet_benco.data.prepare.nist16 import find_nist16
from qmanet_benco.data.sets import AUTHENTIC, COPY_MOVE, GENERATED, SPLICE
from qmanet_benco.images import ENDINGS, FORMATS
from qmanet_benco.pairing import grouped, image_key, mask_key, match

TIFF = (".tif", ".tiff")


def find_columbia(archive: Archive) -> Inventory:
    """Columbia: of several edge masks of one image, the one that is named ``_edgemask`` and nothing more."""
    masks = [path for path in archive.images if image_key(path).endswith("_edgemask")]
    photos = [path for path in archive.images if path.suffix.lower() in TIFF]
    authentic = [path for path in photos if archive.inside(path, "4cam_auth")]
    spliced = [path for path in photos if not archive.inside(path, "4cam_auth")]
    by_camera = grouped(authentic, lambda path: image_key(path).split("_")[0])

    def hosts(image: Path) -> tuple[Path, ...]:
        """List the photos of both cameras of ``canong3_canonxt_sub_07``; which of them the name does not say."""
        return tuple(photo for camera in image_key(image).split("_")[:2] for photo in by_camera.get(camera, ()))

    return matched_by_name(archive, spliced, masks, authentic, SPLICE, hosts=hosts)


def find_coverage(archive: Archive) -> Inventory:
    """Coverage: ``{n}t`` is tampered, ``{n}`` is the original, ``{n}forged`` is the mask."""

    def stems(pattern: str) -> list[Path]:
        return [path for path in archive.images if re.fullmatch(pattern, image_key(path))]

    def number(path: Path) -> str:
        return image_key(path).removesuffix("t").removesuffix("forged")

    originals = stems(r"\d+")
    by_number = grouped(originals, number)
    return matched_by_name(
        archive,
        stems(r"\d+t"),
        stems(r"\d+forged"),
        originals,
        COPY_MOVE,
        number,
        number,
        lambda image: tuple(by_number.get(number(image), ())),
    )


def find_imd2020(archive: Archive) -> Inventory:
    """IMD2020: everything about one original lies in one folder."""
    masks = [path for path in archive.images if image_key(path).endswith("_mask")]
    originals = [path for path in archive.images if image_key(path).endswith("_orig")]
    others = set(masks) | set(originals)
    by_folder = grouped(originals, lambda path: str(path.parent))
    inventory = Inventory()
    matching = match(
        (path for path in archive.images if path not in others),
        masks,
        ((lambda path: f"{path.parent}/{image_key(path)}", lambda path: f"{path.parent}/{mask_key(path)}"),),
    )
    for image, mask, _ in matching.pairs:
        hosts = tuple(by_folder.get(str(image.parent), ()))
        inventory.pairs.append(ArchivePair(image, mask, _with_folder(image, archive), hosts=hosts))
    add_leftovers(archive, inventory, matching, lambda _path: None, lambda _path: None)
    inventory.pairs += [ArchivePair(path, None, _with_folder(path, archive), AUTHENTIC) for path in originals]
    return inventory


def find_fantasticreality(archive: Archive) -> Inventory:
    """Fantastic Reality: masks are images or arrays of class ids, whichever copy the user has."""
    masks = [
        path
        for path in archive.files
        if archive.inside(path, "segmentationfake") and path.suffix.lower() in ENDINGS.union(ARRAY_ENDINGS)
    ]
    preferred: dict[str, Path] = {}
    worst_first = (ARRAY_ENDINGS, FORMATS["JPEG"])
    for path in sorted(masks, key=lambda path: (*(path.suffix.lower() not in each for each in worst_first), path)):
        preferred[mask_key(path)] = path
    fakes = [path for path in archive.images if archive.inside(path, "colorfakeimages")]
    real = [path for path in archive.images if archive.inside(path, "colorrealimages")]
    inventory = matched_by_name(archive, fakes, preferred.values(), real, "")
    spare = set(masks) - set(preferred.values())
    inventory.left_out += [
        LeftOut(archive.relative(path), "another copy of the mask is used") for path in sorted(spare)
    ]
    return inventory


def find_cocoglide(archive: Archive) -> Inventory:
    """CocoGlide: by ``table.csv`` where it is there, or else by the COCO id in the names."""
    fakes = [path for path in archive.images if archive.inside(path, "fake")]
    masks = [path for path in archive.images if archive.inside(path, "mask", "masks")]
    real = [path for path in archive.images if archive.inside(path, "real")]
    table: dict[Path, str] = {}
    inventory = Inventory()
    for path in archive.files:
        if path.name.casefold() == "table.csv":
            inventory.lists.append(path)
            table.update(_cocoglide_table(archive, path, inventory))
    keys = ((table.get, table.get), (image_key, mask_key), (_coco_id, _coco_id))
    matching = match(fakes, masks, keys)
    by_id = grouped(real, _coco_id)
    inventory.pairs += [
        ArchivePair(image, mask, image.stem, GENERATED, hosts=tuple(by_id.get(_coco_id(image) or "", ())))
        for image, mask, _ in matching.pairs
    ]
    add_leftovers(archive, inventory, matching, _coco_id, _coco_id)
    add_authentic(inventory, real)
    return inventory


def find_autosplice(archive: Archive, jpeg_level: int = 100) -> Inventory:
    """AutoSplice at one of three JPEG levels: a mask of the image's own number, or of the photo that several share."""
    folder = f"forged_jpeg{jpeg_level}"
    images = [path for path in archive.images if archive.inside(path, folder)]
    masks = {mask_key(path): path for path in archive.images if archive.inside(path, "mask", "masks")}
    inventory, used = Inventory(), set()
    authentic = [path for path in archive.images if archive.inside(path, "authentic")]
    by_number = grouped(authentic, image_key)
    for image in images:
        mask = masks.get(image_key(image)) or masks.get(image_key(image).split("_")[0])
        if mask is None:
            inventory.left_out.append(LeftOut(archive.relative(image), NO_MASK))
            continue
        used.add(mask)
        hosts = tuple(by_number.get(image_key(image).split("_")[0], ()))
        inventory.pairs.append(ArchivePair(image, mask, image.stem, GENERATED, hosts=hosts))
    inventory.left_out += [LeftOut(archive.relative(path), NO_IMAGE) for path in masks.values() if path not in used]
    for path in archive.images:
        if archive.inside(path, "forged_jpeg100", "forged_jpeg90", "forged_jpeg75") and not archive.inside(
            path, folder
        ):
            inventory.left_out.append(LeftOut(archive.relative(path), "another JPEG level: --jpeg-level chooses"))
    add_authentic(inventory, authentic)
    return inventory


def _coco_id(path: Path) -> str | None:
    number = re.search(r"_0*(\d+)(?:_up)?$", mask_key(path))
    return number.group(1) if number else None


def _cocoglide_table(archive: Archive, table: Path, inventory: Inventory) -> Mapping[Path, str]:
    """Find the line that names a file, for fakes and masks."""
    lines: dict[Path, str] = {}
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        for number, row in enumerate(csv.DictReader(stream), 2):
            try:
                files = [archive.named(table.parent, row.get(column) or "") for column in ("fake", "mask")]
            except ValueError as error:
                inventory.left_out.append(LeftOut(f"{archive.relative(table)}:{number}", str(error), failed=True))
                continue
            lines.update({path: f"line {number}" for path in files if path is not None})
    return lines


def _with_folder(path: Path, archive: Archive) -> str:
    folder = "" if path.parent == archive.root else path.parent.name
    return path.stem if not folder or path.stem.startswith(folder) else f"{folder}_{path.stem}"


FINDERS: Mapping[str, Finder] = {
    "casiav1": find_casiav1,
    "casiav2": find_casiav2,
    "columbia": find_columbia,
    "coverage": find_coverage,
    "nist16": find_nist16,
    "imd2020": find_imd2020,
    "fantasticreality": find_fantasticreality,
    "cocoglide": find_cocoglide,
    "autosplice": find_autosplice,
}
