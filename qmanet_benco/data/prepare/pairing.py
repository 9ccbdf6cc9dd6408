"""Which mask belongs to which image: by what the names say, never by position in a list."""

from __future__ import annotations

import filecmp
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Key = Callable[[Path], str | None]
"""What identifies a file; None: this file has no such identity."""

MASK_ENDING = re.compile(r"[ _-]*(gt\d?|mask|edgemask|groundtruth)$")
"""A digit after ``gt`` is a later version of the mask: CASIA v2 has one, ``..._20094_gt3.png`` (CAT-Net's loader)."""
NUMBER_AT_END = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class LeftOut:
    """A file of the archive that is not in the prepared set, and why."""

    file: str
    """Relative to the archive's folder."""
    reason: str
    failed: bool = False
    """It should have been usable: the command then ends with exit code 1."""


@dataclass
class Matching:
    """The outcome of :func:`match`."""

    pairs: list[tuple[Path, Path, int]] = field(default_factory=list)
    """Image, mask and the index of the key that matched them."""
    images: list[Path] = field(default_factory=list)
    """Images without a mask, or with an ambiguous one."""
    masks: list[Path] = field(default_factory=list)


def image_key(path: Path) -> str:
    """The stem, whatever its letter case."""
    return path.stem.strip().casefold()


def mask_key(path: Path) -> str:
    """The stem without ``_gt``, ``_mask`` and the like: the image's :func:`image_key`."""
    return MASK_ENDING.sub("", image_key(path))


def number_key(path: Path) -> str | None:
    """The digits at the end of the stem, as CASIA numbers its forgeries."""
    found = NUMBER_AT_END.search(mask_key(path))
    return found.group(1) if found else None


def digits_key(path: Path) -> str | None:
    """All numbers of the stem: CASIA's two source photos and the forgery, whatever the letters between them."""
    return "-".join(re.findall(r"\d+", mask_key(path))) or None


def first_photo_key(path: Path) -> str | None:
    """The first source photo's number and the forgery's."""
    return _photo_and_forgery(path, 0)


def second_photo_key(path: Path) -> str | None:
    """The second source photo's number and the forgery's."""
    return _photo_and_forgery(path, 1)


def _photo_and_forgery(path: Path, photo: int) -> str | None:
    numbers = re.findall(r"\d+", mask_key(path))
    return f"{numbers[photo]}-{numbers[2]}" if len(numbers) == 3 else None


def match(
    images: Iterable[Path],
    masks: Iterable[Path],
    keys: Sequence[tuple[Key, Key]] = ((image_key, mask_key),),
    fits: Callable[[Path, Path], bool] = lambda _image, _mask: True,
) -> Matching:
    """Pair images with masks, one key after the other.

    A key pairs what it identifies uniquely on both sides among the files that earlier keys left over. The order of the
    arguments has no influence.

    Args:
        images: paths of images.
        masks: paths of masks.
        keys: for each stage, the identity of an image and the identity of a mask.
        fits: a last objection to a pair of a later stage than the first, such as sizes that disagree.
    """
    matching = Matching(images=sorted(set(images)), masks=sorted(set(masks)))
    for stage, (key_of_image, key_of_mask) in enumerate(keys):
        of_images, of_masks = grouped(matching.images, key_of_image), grouped(matching.masks, key_of_mask)
        for identity, group in of_images.items():
            others = of_masks.get(identity, [])
            if len(group) == len(others) == 1 and (stage == 0 or fits(group[0], others[0])):
                matching.pairs.append((group[0], others[0], stage))
        used = {path for image, mask, _ in matching.pairs for path in (image, mask)}
        matching.images = [path for path in matching.images if path not in used]
        matching.masks = [path for path in matching.masks if path not in used]
    matching.pairs.sort()
    return matching


def without_copies(paths: Iterable[Path], key: Key) -> tuple[list[Path], list[tuple[Path, Path]]]:
    """Files without those that hold the same bytes under the same identity (an archive unpacked twice).

    Returns:
        The files to use, and (copy, what it is a copy of).
    """
    kept: list[Path] = []
    copies: list[tuple[Path, Path]] = []
    for identity, group in grouped(sorted(set(paths)), lambda path: key(path) or "").items():
        first, *rest = group
        kept.append(first)
        for path in rest:
            if identity and filecmp.cmp(first, path, shallow=False):
                copies.append((path, first))
            else:
                kept.append(path)
    return sorted(kept), copies


def grouped(paths: Iterable[Path], key: Key) -> dict[str, list[Path]]:
    """Files by their identity; those without one are in no group."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        identity = key(path)
        if identity is not None:
            groups[identity].append(path)
    return groups
