"""Finds photos that occur in two sets: equal by their bytes, or alike by a perceptual hash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qmanet_benco.likeness import NEAR, banded


@dataclass(frozen=True)
class Seen:
    """One image of one of the checked sets."""

    index: int
    """The set's place among the checked paths."""
    name: str
    sha256: str
    bits: int | None
    """Perceptual hash; None where the picture is flat or unreadable."""
    size: tuple[int, int] | None = None
    """Width and height; None where it is unreadable."""


def equal_files(seen: Sequence[Seen]) -> Iterator[tuple[Seen, Seen]]:
    """Return each image beside another one with its bytes, preferably of another set."""
    groups: dict[str, list[Seen]] = defaultdict(list)
    for image in seen:
        if image.sha256:
            groups[image.sha256].append(image)
    for group in groups.values():
        first, second = group[0], next((image for image in group if image.index != group[0].index), None)
        for place, image in enumerate(group if len(group) > 1 else ()):
            elsewhere = first if image.index != first.index else second
            yield image, elsewhere or group[1 if place == 0 else 0]


def alike_across_sets(seen: Sequence[Seen]) -> Iterator[tuple[Seen, Seen, int]]:
    """Images of different sets whose hashes differ by ``NEAR`` bits or fewer, and by how many; equal files are not."""
    bands: dict[tuple[int, int], list[Seen]] = defaultdict(list)
    for image in seen:
        for band in banded(image.bits) if image.bits is not None else ():
            bands[band].append(image)
    told: set[tuple[int, str]] = set()
    for group in bands.values():
        if len({image.index for image in group}) < 2:
            continue
        for image in group:
            for other in group:
                if other.index <= image.index or other.sha256 == image.sha256 or (image.index, image.name) in told:
                    continue
                distance = ((image.bits or 0) ^ (other.bits or 0)).bit_count()
                if distance <= NEAR:
                    told.add((image.index, image.name))
                    yield image, other, distance
