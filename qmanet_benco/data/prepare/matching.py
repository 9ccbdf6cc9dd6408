"""Pairs an archive's images and masks for the finders of all sets; nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from qmanet_benco.data.prepare.archive import Archive, ArchivePair, Inventory, LeftOut
from qmanet_benco.data.sets import AUTHENTIC
from qmanet_benco.pairing import Key, Matching, grouped, image_key, mask_key, match, match_names, without_copies

NO_MASK = "no mask in the archive belongs to this image"
NO_IMAGE = "no image in the archive belongs to this mask"


Finder = Callable[[Archive], Inventory]


def matched_by_name(
    archive: Archive,
    images: Iterable[Path],
    masks: Iterable[Path],
    authentic: Iterable[Path],
    kind: str,
    key: Key = image_key,
    key_of_mask: Key = mask_key,
    hosts: Callable[[Path], tuple[Path, ...]] = lambda _image: (),
) -> Inventory:
    """Pair a set in which image and mask share one key.

    Args:
        archive: where they lie.
        images: tampered ones.
        masks: of all of them.
        authentic: images that nobody tampered with.
        kind: of manipulation.
        key: of an image.
        key_of_mask: of a mask.
        hosts: from an image to the authentic photos it may have been made from.
    """
    inventory = Inventory()
    images = unique(archive, inventory, images, key)
    masks = unique(archive, inventory, masks, key_of_mask)
    matching = match(images, masks, ((key, key_of_mask),))
    if (key, key_of_mask) == (image_key, mask_key):
        others = match_names(matching.images, matching.masks)
        matching = Matching(sorted([*matching.pairs, *others.pairs]), others.images, others.masks)
    inventory.pairs += [
        ArchivePair(image, mask, image.stem, kind, hosts=hosts(image)) for image, mask, _ in matching.pairs
    ]
    add_leftovers(archive, inventory, matching, key, key_of_mask)
    add_authentic(inventory, authentic)
    return inventory


def unique(archive: Archive, inventory: Inventory, paths: Iterable[Path], key: Key) -> list[Path]:
    """Files without those that hold the same bytes under the same identity, which are listed as left out."""
    kept, copies = without_copies(paths, key)
    inventory.left_out += [LeftOut(archive.relative(path), f"a copy of {archive.relative(of)}") for path, of in copies]
    return kept


def add_leftovers(
    archive: Archive, inventory: Inventory, matching: Matching, key: Key = image_key, key_of_mask: Key = mask_key
) -> None:
    """List what :func:`match` could not pair: absent on the other side, or ambiguous."""
    images, masks = grouped(matching.images, key), grouped(matching.masks, key_of_mask)
    for paths, own, others, absent in (
        (matching.images, key, masks, NO_MASK),
        (matching.masks, key_of_mask, images, NO_IMAGE),
    ):
        for path in paths:
            rivals = [archive.relative(rival) for rival in others.get(own(path) or "", ())]
            reason = f"it may belong to {' or '.join(rivals[:3])}: not guessed" if rivals else absent
            inventory.left_out.append(LeftOut(archive.relative(path), reason))


def add_authentic(inventory: Inventory, paths: Iterable[Path]) -> None:
    """Authentic images under their own names."""
    inventory.pairs += [ArchivePair(path, None, path.stem, AUTHENTIC) for path in paths]
