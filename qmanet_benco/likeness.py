"""Tells which image files show one photo: by equal bytes, or by a hash of the picture that small changes survive."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from qmanet_benco.images import UnusableFileError, load_whole, open_image, read_file
from qmanet_benco.pixels import upright_rgb

BITS, BANDS = 64, 4
NEAR = 3
"""Bits that may differ: two hashes that close agree in one of four bands of 16 bits, so that no pair is missed."""
NEAR_ENOUGH = 8
"""Bits that may differ where a band agrees and so does the second opinion; CASIA v1's strangers have 17 and more."""
FLAT = 2.0
"""Standard deviation (of 255) of the hashed plane below which a picture has nothing to be recognised by."""
SIDE = 16
AGREEMENT = 0.9
"""Correlation of two pictures at 16 x 16 pixels: a second opinion, since hashes of 64 bits meet by chance in a large
set. Copies that were compressed or scaled have 0.98 and more, strangers of CASIA v1 at most 0.8."""
READ_AT = 128
"""A JPEG is decoded at so many pixels a side or more, which is enough for a signature."""


@dataclass(frozen=True)
class Signature:
    """What a photo is recognised by, also in a copy."""

    sha256: str
    """SHA-256 of the bytes."""
    bits: int | None
    """Perceptual hash; None where the picture is flat or unreadable."""
    small: bytes = b""
    """The picture at 16 x 16 pixels, grey."""


def perceptual_hash(image: Image.Image) -> int | None:
    """Compute a difference hash of the upright picture: is each of 8 x 8 areas brighter than its left neighbour?

    It survives scaling, recompression and small changes, forgeries among them. See N. Krawetz, "Kind of Like That",
    2013, https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html

    Raises:
        UnusableFileError: the image cannot be decoded.
    """
    return _hashed(_grey(image))


def load_small(image: Image.Image) -> Image.Image:
    """Decode all of an opened image, a JPEG at a fraction of its size that is enough for a signature.

    Raises:
        UnusableFileError: truncated or broken.
    """
    image.draft(None, (READ_AT, READ_AT))
    return load_whole(image)


def signature_of_file(path: Path) -> Signature | None:
    """Compute the signature of a file; None where it cannot be read at all."""
    try:
        content = read_file(path)
    except UnusableFileError:
        return None
    digest = hashlib.sha256(content).hexdigest()
    try:
        with open_image(path, content) as image:
            grey = _grey(load_small(image))
    except UnusableFileError:
        return Signature(digest, None)
    return Signature(digest, _hashed(grey), _small(grey))


def signature_of(pixels: NDArray[np.uint8]) -> Signature:
    """Compute the signature of a picture in memory, H x W x 3."""
    grey = Image.fromarray(pixels).convert("L")
    return Signature(hashlib.sha256(pixels.tobytes()).hexdigest(), _hashed(grey), _small(grey))


def signatures_of_files(paths: Sequence[Path], threads: int = 4) -> list[Signature | None]:
    """Compute the signatures of many files, in threads."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(signature_of_file, paths))


def alike(signatures: Sequence[Signature | None]) -> Iterator[tuple[int, int]]:
    """Yield pairs of positions that show one photo: not all pairs, but enough to link all that belong together."""
    same: dict[str, list[int]] = defaultdict(list)
    bands: dict[tuple[int, int], list[int]] = defaultdict(list)
    for position, signature in enumerate(signatures):
        if signature is None:
            continue
        same[signature.sha256].append(position)
        if signature.bits is not None and len(same[signature.sha256]) == 1:
            for band in banded(signature.bits):
                bands[band].append(position)
    for group in same.values():
        yield from ((group[0], other) for other in group[1:])
    for group in bands.values():
        for place, one in enumerate(group):
            for other in group[place + 1 :]:
                if _is_near(signatures[one], signatures[other]):
                    yield one, other


def banded(bits: int) -> list[tuple[int, int]]:
    """Cut a hash into its bands, each with its place: near hashes have one in common."""
    return [(band, bits >> (band * BITS // BANDS) & 0xFFFF) for band in range(BANDS)]


def linked(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Group the positions 0 to ``count`` - 1: two are in one group if a chain of pairs links them."""
    links = np.array(list(pairs), int).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(links)), links.T), (count, count))
    groups: dict[int, list[int]] = defaultdict(list)
    for position, label in enumerate(connected_components(graph, directed=False)[1]):
        groups[label].append(position)
    return list(groups.values())


def same_label(labels: Sequence[Iterable[Hashable]]) -> Iterator[tuple[int, int]]:
    """Yield pairs of positions that share a label, enough to link all that do."""
    first: dict[Hashable, int] = {}
    for position, names in enumerate(labels):
        for name in names:
            if first.setdefault(name, position) != position:
                yield first[name], position


def _is_near(one: Signature | None, other: Signature | None) -> bool:
    if one is None or other is None or one.bits is None or other.bits is None:
        return False
    if (one.bits ^ other.bits).bit_count() > NEAR_ENOUGH:
        return False
    planes = np.stack([np.frombuffer(each.small, np.uint8).astype(np.float64) for each in (one, other)])
    return float(np.corrcoef(planes)[0, 1]) >= AGREEMENT


def _grey(image: Image.Image) -> Image.Image:
    return upright_rgb(image).convert("L")


def _hashed(grey: Image.Image) -> int | None:
    plane = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.float64)
    if plane.std() < FLAT:
        return None
    return int.from_bytes(np.packbits(plane[:, 1:] > plane[:, :-1]).tobytes(), "big")


def _small(grey: Image.Image) -> bytes:
    return grey.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
