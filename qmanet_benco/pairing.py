"""Pairs images with masks by what their names say, never by their position in a list; used by every room.

Names say it where image and mask have one stem, whatever is put before or behind it: ``10.jpg`` and
``10_groundtruth.png``, ``img_10.jpg`` and ``mask_10.png``, ``10.jpg`` and ``10.jpg.png``. Letter case and the two ways
of writing an accent (Unicode's NFC and NFD) make no difference. What the names leave open stays unpaired.
"""

from __future__ import annotations

import filecmp
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qmanet_benco.images import ENDINGS

Key = Callable[[Path], str | None]
"""What identifies a file; None: this file has no such identity."""

_WORDS = "edge[ _.-]?mask|masks?|gt|ground[ _.-]?truth|truth|labels?|segmentation|segm?|annotation|anno|forged"
MASK_ENDING = re.compile(rf"(?<=[^ _.-])[ _.-]*({_WORDS})[ _.-]?\d{{0,2}}$")
"""A digit behind is a version of the mask: CASIA v2 has one, ``..._20094_gt3.png`` (CAT-Net's loader)."""
MASK_BEGINNING = re.compile(rf"^({_WORDS})[ _.-]*(?=.)")
IMAGE_WORDS = re.compile(r"^(image|img|im|photo|tampered|tamp|tp|fake)[ _.-]*(?=.)|[ _.-]+(tampered|tamp|tp|fake)$")


@dataclass
class Matching:
    """The outcome of :func:`match`."""

    pairs: list[tuple[Path, Path, int]] = field(default_factory=list)
    """Image, mask and the index of the key that matched them."""
    images: list[Path] = field(default_factory=list)
    """Images without a mask, or with an ambiguous one."""
    masks: list[Path] = field(default_factory=list)


def image_key(path: Path) -> str:
    """Return the stem, whatever its letter case and its way of writing accents."""
    return _plain(path.stem)


def mask_key(path: Path) -> str:
    """Return the stem without ``_gt``, ``_mask`` and the like, and without an image's ending: its :func:`image_key`."""
    return _without_ending(MASK_ENDING.sub("", _without_ending(image_key(path))))


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
        fits: a last check of each pair that a later key than the first has made, such as of equal sizes.
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


def match_names(images: Iterable[Path], masks: Iterable[Path]) -> Matching:
    """Pair the images of one folder with the masks of another, whatever the masks' names have more than the images'.

    First all names are looked at together: whether one beginning and one ending, the same for all masks, makes every
    name an image's. Otherwise each file is looked at alone: equal stems, words such as ``_gt`` or ``mask_``, and
    endings that several masks share.

    Args:
        images: paths with different names.
        masks: likewise.
    """
    images, masks = sorted(set(images)), sorted(set(masks))
    for plain in (_composed, _plain, _without_zeros):
        whole = _as_a_whole(images, masks, plain)
        if whole is not None:
            return Matching(sorted((image, mask, 0) for image, mask in whole))
    return match(images, masks, (*_FILE_BY_FILE, (lambda path: str(path), _by_shared_ending(images, masks))))


def without_copies(paths: Iterable[Path], key: Key) -> tuple[list[Path], list[tuple[Path, Path]]]:
    """Drop files that repeat another one's bytes under the same identity, as in an archive that was unpacked twice.

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
    """Group files by their identity; those without one are in no group."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        identity = key(path)
        if identity is not None:
            groups[identity].append(path)
    return groups


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    return _composed(name).strip().casefold()


def _without_zeros(name: str) -> str:
    return re.sub(r"0+(?=\d)", "", re.sub(r"\d+", lambda number: f"{int(number.group())}", _plain(name)))


def _without_ending(name: str) -> str:
    """Return ``10.jpg``, which the mask ``10.jpg.png`` has for a stem, without the image's ending."""
    stem, dot, ending = name.rpartition(".")
    return stem if stem and f"{dot}{ending}".casefold() in ENDINGS else name


def _as_a_whole(
    images: Sequence[Path], masks: Sequence[Path], plain: Callable[[str], str]
) -> list[tuple[Path, Path]] | None:
    """Make all pairs, if one beginning and one ending around all names gives the other side's names; None otherwise."""
    if len(images) != len(masks):
        return None
    for name_of_image, name_of_mask in ((_name, _name), (_name, _stem), (_stem, _stem)):
        of_images = {plain(name_of_image(path)): path for path in images}
        of_masks = {plain(name_of_mask(path)): path for path in masks}
        if len(of_images) < len(images) or len(of_masks) < len(masks):
            continue
        for image_names, mask_names in _cores(list(of_images), list(of_masks)):
            if image_names.keys() == mask_names.keys():
                return [(of_images[image_names[core]], of_masks[mask_names[core]]) for core in image_names]
    return None


def _name(path: Path) -> str:
    return path.name


def _stem(path: Path) -> str:
    return path.stem


def _cores(images: list[str], masks: list[str]) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Map what is left of each name to the name, for each way to cut something off all names of a side."""
    yield {name: name for name in images}, {name: name for name in masks}
    surplus, rest = divmod(sum(map(len, masks)) - sum(map(len, images)), max(1, len(images)))
    if surplus > 0 and not rest:
        for before in range(surplus + 1):
            start, end = masks[0][:before], masks[0][len(masks[0]) - surplus + before :]
            if all(_is_around(name, start, end) for name in masks) and (len(masks) > 1 or _is_word(start, end)):
                cores = {name[len(start) : len(name) - len(end)]: name for name in masks}
                if all(_may_stand_around(core, start, end) for core in cores):
                    yield {name: name for name in images}, cores
    if len(images) > 1:
        around_images, around_masks = _common(images), _common(masks)
        numbers = [re.findall(r"\d+", " ".join(around)) for around in (around_images, around_masks)]
        if not (all(numbers) and numbers[0] != numbers[1]):  # photos of set 1, masks of set 2
            yield _stripped(images, *around_images), _stripped(masks, *around_masks)


def _is_around(name: str, start: str, end: str) -> bool:
    return name.startswith(start) and name.endswith(end) and len(name) > len(start) + len(end)


def _is_word(start: str, end: str) -> bool:
    """Tell whether what one mask has more is set off, or a known word: one name alone does not show what they share."""
    ended = not end or bool(MASK_ENDING.search(f"x{end}")) or not end[0].isalnum()
    begun = not start or bool(MASK_BEGINNING.match(f"{start}x")) or not start[-1].isalnum()
    return ended and begun and any(map(str.isalpha, start + end))


def _may_stand_around(core: str, start: str, end: str) -> bool:
    """Tell whether a name goes on where another one ends: 1 and 10 are two numbers, not a name and its ending."""
    digits_meet = (start[-1:].isdigit() and core[0].isdigit()) or (core[-1].isdigit() and end[:1].isdigit())
    return not digits_meet


def _common(names: list[str]) -> tuple[str, str]:
    """Find what all names of a side begin and end with, cut back so that no word and no number is torn."""
    start = _shared_beginning(names)
    while start and not _ends_a_word(start, [name[len(start) : len(start) + 1] for name in names]):
        start = start[:-1]
    rest = [name[len(start) :][::-1] for name in names]
    end = _shared_beginning(rest)
    while end and not _ends_a_word(end, [name[len(end) : len(end) + 1] for name in rest]):
        end = end[:-1]
    return start, end[::-1]


def _shared_beginning(names: list[str]) -> str:
    first, last = min(names), max(names)
    length = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length]


def _ends_a_word(start: str, following: list[str]) -> bool:
    if not all(following):
        return False
    return not start[-1].isalnum() or (start[-1].isalpha() and all(map(str.isdigit, following)))


def _stripped(names: list[str], start: str, end: str) -> dict[str, str]:
    return {name[len(start) : len(name) - len(end)]: name for name in names}


def _by_shared_ending(images: Sequence[Path], masks: Sequence[Path]) -> Key:
    """Lead from a mask to the longest image name that it begins with, if several masks go on in the same way."""
    stems = grouped(images, image_key)
    chosen: dict[Path, tuple[str, str]] = {}
    for mask in masks:
        name = image_key(mask)
        for length in range(len(name) - 1, 0, -1):
            end = name[length:]
            set_off = not end[0].isalnum() or (end[0].isalpha() and name[length - 1].isdigit())
            if set_off and any(map(str.isalpha, end)) and len(stems.get(name[:length], ())) == 1:
                chosen[mask] = name[:length], end
                break
    endings = Counter(end for _, end in chosen.values())
    owners = {mask: str(stems[stem][0]) for mask, (stem, end) in chosen.items() if endings[end] > 1}
    return owners.get


_FILE_BY_FILE: tuple[tuple[Key, Key], ...] = (
    (lambda path: _composed(path.name), lambda path: _composed(path.name)),
    (lambda path: _composed(path.name), lambda path: _composed(path.stem)),
    (lambda path: _composed(path.stem), lambda path: _composed(path.stem)),
    (image_key, image_key),
    (image_key, mask_key),
    (
        lambda path: IMAGE_WORDS.sub("", image_key(path)),
        lambda path: MASK_BEGINNING.sub("", mask_key(path)),
    ),
)
