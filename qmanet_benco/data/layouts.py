"""A finder for each set that is read file by file: the archive's real layout in, pairs of image and mask out."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage

from qmanet_benco.data.archive import IMAGE_ENDINGS, Archive, Found, Pair
from qmanet_benco.data.masks import ARRAY_ENDINGS
from qmanet_benco.data.pairing import (
    LeftOut,
    Matching,
    digits_key,
    image_key,
    mask_key,
    match,
    number_key,
    without_copies,
)
from qmanet_benco.data.sets import AUTHENTIC, COPY_MOVE, GENERATED, REMOVAL, SPLICE

NO_MASK = "no mask in the archive belongs to this image"
NO_IMAGE = "no image in the archive belongs to this mask"


@dataclass(frozen=True)
class FindOptions:
    """What the user may choose."""

    jpeg_level: int = 100
    """AutoSplice is given out in three qualities: 100, 90, 75."""


Finder = Callable[[Archive, FindOptions], Found]


def find_casiav1(archive: Archive, _options: FindOptions) -> Found:
    """CASIA v1, whose images have 106 names that its masks correct."""
    forged, masks, authentic = _casia_files(archive, "sp_")
    found = Found()
    matching, hosts = _match_casia(archive, found, forged, masks), _casia_hosts(authentic)
    for image, mask, stage in matching.pairs:
        stem = _bare(mask)
        turn = 1 if mask_key(mask) == "sp_d_cnn_a_sec0012_ani0007_0275" else 0
        note = f"named {image.stem} in the archive" if stage else ""
        found.pairs.append(Pair(image, mask, stem, _casia_kind(archive, mask, stem), turn, note, hosts(stem)))
    known = {"0542": "its mask does not exist: the ground truth has 920 masks for 921 images (casia1groundtruth)"}
    for image in matching.images:
        found.left_out.append(LeftOut(archive.relative(image), known.get(number_key(image) or "", NO_MASK)))
    _masks_left(archive, found, matching)
    _add_authentic(found, authentic)
    return found


def find_casiav2(archive: Archive, _options: FindOptions) -> Found:
    """CASIA v2, whose names do not all agree either."""
    forged, masks, authentic = _casia_files(archive, "tp_")
    found = Found()
    matching, hosts = _match_casia(archive, found, forged, masks), _casia_hosts(authentic)
    for image, mask, stage in matching.pairs:
        note = f"mask named {mask.stem} in the archive" if stage else ""
        found.pairs.append(
            Pair(image, mask, image.stem, _casia_kind(archive, image, image.stem), 0, note, hosts(image.stem))
        )
    _images_left(archive, found, matching)
    _masks_left(archive, found, matching)
    _add_authentic(found, authentic)
    return found


def find_columbia(archive: Archive, _options: FindOptions) -> Found:
    """Columbia: of several edge masks of one image, the one that is named ``_edgemask`` and nothing more."""
    masks = [path for path in archive.images if image_key(path).endswith("_edgemask")]
    photos = [path for path in archive.images if path.suffix.lower() in TIFF]
    authentic = [path for path in photos if archive.inside(path, "4cam_auth")]
    spliced = [path for path in photos if not archive.inside(path, "4cam_auth")]
    return _simple(archive, spliced, masks, authentic, SPLICE)


def find_coverage(archive: Archive, _options: FindOptions) -> Found:
    """Coverage: ``{n}t`` is tampered, ``{n}`` is the original, ``{n}forged`` is the mask."""

    def stems(pattern: str) -> list[Path]:
        return [path for path in archive.images if re.fullmatch(pattern, image_key(path))]

    return _simple(
        archive,
        stems(r"\d+t"),
        stems(r"\d+forged"),
        stems(r"\d+"),
        COPY_MOVE,
        lambda path: image_key(path).removesuffix("t"),
        lambda path: image_key(path).removesuffix("forged"),
    )


def find_imd2020(archive: Archive, _options: FindOptions) -> Found:
    """IMD2020: everything about one original lies in one folder."""
    masks = [path for path in archive.images if image_key(path).endswith("_mask")]
    originals = [path for path in archive.images if image_key(path).endswith("_orig")]
    others = set(masks) | set(originals)
    found = Found()
    matching = match(
        (path for path in archive.images if path not in others),
        masks,
        ((lambda path: f"{path.parent}/{image_key(path)}", lambda path: f"{path.parent}/{mask_key(path)}"),),
    )
    for image, mask, _ in matching.pairs:
        found.pairs.append(Pair(image, mask, _with_folder(image, archive)))
    _images_left(archive, found, matching)
    _masks_left(archive, found, matching)
    found.pairs += [Pair(path, None, _with_folder(path, archive), AUTHENTIC) for path in originals]
    return found


def find_fantasticreality(archive: Archive, _options: FindOptions) -> Found:
    """Fantastic Reality: masks are images or arrays of class ids, whichever copy the user has."""
    masks = [
        path
        for path in archive.files
        if archive.inside(path, "segmentationfake") and path.suffix.lower() in (*IMAGE_ENDINGS, *ARRAY_ENDINGS)
    ]
    preferred: dict[str, Path] = {}
    for path in sorted(masks, key=lambda path: ((*ARRAY_ENDINGS, *IMAGE_ENDINGS).index(path.suffix.lower()), path)):
        preferred[mask_key(path)] = path
    fakes = [path for path in archive.images if archive.inside(path, "colorfakeimages")]
    real = [path for path in archive.images if archive.inside(path, "colorrealimages")]
    found = _simple(archive, fakes, preferred.values(), real, "")
    spare = set(masks) - set(preferred.values())
    found.left_out += [LeftOut(archive.relative(path), "another copy of the mask is used") for path in sorted(spare)]
    return found


def find_cocoglide(archive: Archive, _options: FindOptions) -> Found:
    """CocoGlide: by ``table.csv`` where it is there, or else by the COCO id in the names."""
    fakes = [path for path in archive.images if archive.inside(path, "fake")]
    masks = [path for path in archive.images if archive.inside(path, "mask", "masks")]
    real = [path for path in archive.images if archive.inside(path, "real")]
    table: dict[Path, str] = {}
    found = Found()
    for path in archive.files:
        if path.name.casefold() == "table.csv":
            found.lists.append(path)
            table.update(_cocoglide_table(archive, path, found))
    keys = ((table.get, table.get), (image_key, mask_key), (_coco_id, _coco_id))
    matching = match(fakes, masks, keys)
    found.pairs += [Pair(image, mask, image.stem, GENERATED) for image, mask, _ in matching.pairs]
    _images_left(archive, found, matching)
    _masks_left(archive, found, matching)
    _add_authentic(found, real)
    return found


def find_autosplice(archive: Archive, options: FindOptions) -> Found:
    """AutoSplice at one JPEG level: a mask of the image's own number, or of the photo that several images share."""
    folder = f"forged_jpeg{options.jpeg_level}"
    images = [path for path in archive.images if archive.inside(path, folder)]
    masks = {mask_key(path): path for path in archive.images if archive.inside(path, "mask", "masks")}
    found, used = Found(), set()
    for image in images:
        mask = masks.get(image_key(image)) or masks.get(image_key(image).split("_")[0])
        if mask is None:
            found.left_out.append(LeftOut(archive.relative(image), NO_MASK))
            continue
        used.add(mask)
        found.pairs.append(Pair(image, mask, image.stem, GENERATED))
    found.left_out += [LeftOut(archive.relative(path), NO_IMAGE) for path in masks.values() if path not in used]
    for path in archive.images:
        if archive.inside(path, "forged_jpeg100", "forged_jpeg90", "forged_jpeg75") and not archive.inside(
            path, folder
        ):
            found.left_out.append(LeftOut(archive.relative(path), "another JPEG level: --jpeg-level chooses"))
    _add_authentic(found, [path for path in archive.images if archive.inside(path, "authentic")])
    return found


TIFF = (".tif", ".tiff")
TRUTH_FOLDER = re.compile(r"(.*[ _-])?(gt|ground ?truth|masks?)")
CASIA_KEYS = ((image_key, mask_key), (digits_key, digits_key), (number_key, number_key))
"""The corrected name; all numbers of the name; the number at its end alone."""


def _simple(
    archive: Archive,
    images: Iterable[Path],
    masks: Iterable[Path],
    authentic: Iterable[Path],
    kind: str,
    key: Callable[[Path], str | None] = image_key,
    key_of_mask: Callable[[Path], str | None] = mask_key,
) -> Found:
    found = Found()
    images = _unique(archive, found, images, key)
    masks = _unique(archive, found, masks, key_of_mask)
    matching = match(images, masks, ((key, key_of_mask),))
    found.pairs += [Pair(image, mask, image.stem, kind) for image, mask, _ in matching.pairs]
    _images_left(archive, found, matching)
    _masks_left(archive, found, matching)
    _add_authentic(found, authentic)
    return found


def _casia_files(archive: Archive, start: str) -> tuple[list[Path], list[Path], list[Path]]:
    """Forged images, masks and authentic images of a CASIA archive.

    Masks are named ``_gt``; in copies that dropped the ending, they are what lies in a folder of ground truth.
    """
    authentic = [path for path in archive.images if image_key(path).startswith("au_") or archive.inside(path, "au")]
    others = set(authentic)
    named = [path for path in archive.images if image_key(path).startswith(start) and path not in others]
    masks = {path for path in named if image_key(path).endswith("_gt")}
    if not masks:
        masks = {path for path in named if any(TRUTH_FOLDER.fullmatch(part) for part in archive.folders(path))}
    return [path for path in named if path not in masks], sorted(masks), authentic


def _match_casia(archive: Archive, found: Found, forged: list[Path], masks: list[Path]) -> Matching:
    forged = _unique(archive, found, forged, image_key)
    masks = _unique(archive, found, masks, mask_key)
    return match(forged, masks, CASIA_KEYS, _same_sides)


def _casia_hosts(authentic: Iterable[Path]) -> Callable[[str], tuple[Path, ...]]:
    """From a forgery's name, ``..._ani00018_sec00096_...``, to ``Au_ani_00018`` and ``Au_sec_00096``."""
    photos = {image_key(path).removeprefix("au_").replace("_", ""): path for path in authentic}

    def hosts(stem: str) -> tuple[Path, ...]:
        return tuple(photos[part] for part in stem.casefold().split("_") if part in photos)

    return hosts


def _casia_kind(archive: Archive, path: Path, stem: str) -> str:
    """S (same photo) or D (different photos) after the first underscore; the folder CM or Sp where there is neither."""
    letter = "".join(stem.split("_")[1:2]).casefold()
    by_folder = COPY_MOVE if archive.inside(path, "cm") else ""
    return {"s": COPY_MOVE, "d": SPLICE}.get(letter, by_folder)


def _same_sides(image: Path, mask: Path) -> bool:
    """Whether the sizes agree, up to a turn by 90 degrees; reads the headers only."""
    try:
        with PillowImage.open(image) as one, PillowImage.open(mask) as other:
            return sorted(one.size) == sorted(other.size)
    except (OSError, ValueError, PillowImage.DecompressionBombError):
        return False


def _coco_id(path: Path) -> str | None:
    found = re.search(r"_0*(\d+)(?:_up)?$", mask_key(path))
    return found.group(1) if found else None


def _cocoglide_table(archive: Archive, table: Path, found: Found) -> Mapping[Path, str]:
    """The line that names a file, for fakes and masks."""
    lines: dict[Path, str] = {}
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        for number, row in enumerate(csv.DictReader(stream), 2):
            try:
                files = [archive.named(table.parent, row.get(column) or "") for column in ("fake", "mask")]
            except ValueError as error:
                found.left_out.append(LeftOut(f"{archive.relative(table)}:{number}", str(error), failed=True))
                continue
            lines.update({path: f"line {number}" for path in files if path is not None})
    return lines


def find_nist16(archive: Archive, _options: FindOptions) -> Found:
    """NIST16: the reference list pairs probe and mask and knows the kind of manipulation."""
    found = Found()
    lists = [path for path in archive.files if re.fullmatch(r".*manipulation-ref.*\.csv", path.name.casefold())]
    found.lists += lists
    for reference in lists:
        base = reference.parent.parent.parent if archive.inside(reference, "reference") else reference.parent
        with reference.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
            for number, row in enumerate(csv.DictReader(stream, delimiter="|"), 2):
                _add_probe(archive, found, base, f"{archive.relative(reference)}:{number}", row)
    _refuse_two_masks(archive, found)
    return found


def _add_probe(archive: Archive, found: Found, base: Path, line: str, row: Mapping[str, str | None]) -> None:
    is_target = (row.get("IsTarget") or "").strip().upper() == "Y"
    probe_name, mask_name = row.get("ProbeFileName") or "", row.get("ProbeMaskFileName") or ""
    try:
        probe = archive.named(base, probe_name)
        mask = archive.named(base, mask_name) if is_target else None
        if is_target and mask is None:  # the list's folder for removals is not where their masks are in some copies
            mask = archive.named(base, re.sub("/manipulation/", "/removal/", mask_name, count=1))
    except ValueError as error:
        found.left_out.append(LeftOut(line, str(error), failed=True))
        return
    if probe is None or (is_target and mask is None):
        missing = probe_name if probe is None else mask_name
        found.left_out.append(LeftOut(line, f"the list names {missing}, which is not in the archive", failed=True))
        return
    found.pairs.append(Pair(probe, mask, probe.stem, _nist_kind(row) if is_target else AUTHENTIC))


def _nist_kind(row: Mapping[str, str | None]) -> str:
    columns = {"Removal": REMOVAL, "Splice": SPLICE, "CopyClone": COPY_MOVE}
    kinds = [kind for column, kind in columns.items() if (row.get(f"IsManipulationType{column}") or "").strip() == "Y"]
    return "+".join(sorted(kinds))


def _refuse_two_masks(archive: Archive, found: Found) -> None:
    """Lines that repeat a pair count once; a probe with two different masks is left out."""
    by_probe: dict[Path, dict[Path | None, Pair]] = {}
    for pair in found.pairs:
        by_probe.setdefault(pair.image, {}).setdefault(pair.mask, pair)
    found.pairs = []
    for probe, pairs in by_probe.items():
        if len(pairs) == 1:
            found.pairs += pairs.values()
        else:
            reason = f"the list gives it {len(pairs)} different masks"
            found.left_out.append(LeftOut(archive.relative(probe), reason, failed=True))


def _unique(archive: Archive, found: Found, paths: Iterable[Path], key: Callable[[Path], str | None]) -> list[Path]:
    kept, copies = without_copies(paths, key)
    found.left_out += [LeftOut(archive.relative(path), f"a copy of {archive.relative(of)}") for path, of in copies]
    return kept


def _images_left(archive: Archive, found: Found, matching: Matching) -> None:
    found.left_out += [LeftOut(archive.relative(path), NO_MASK) for path in matching.images]


def _masks_left(archive: Archive, found: Found, matching: Matching) -> None:
    found.left_out += [LeftOut(archive.relative(path), NO_IMAGE) for path in matching.masks]


def _add_authentic(found: Found, paths: Iterable[Path]) -> None:
    found.pairs += [Pair(path, None, path.stem, AUTHENTIC) for path in paths]


def _bare(mask: Path) -> str:
    """A mask's stem without its ending, in the archive's letter case."""
    return mask.stem.strip()[: len(mask_key(mask))]


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
