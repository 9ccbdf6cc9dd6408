"""Which of CASIA v1's pairs and photos the study trains on, and which it validates on.

A photo's identity stands in CASIA's file names (``Sp_D_CNN_A_ani0049_ani0084_0266`` was made from ``Au_ani_0049`` and
``Au_ani_0084``). Pairs that share an identity, directly or through others, go to the same split, and so do the photos.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qmanet_benco.errors import RequestError

IDENTITY = re.compile(r"([a-z]{3})_?(\d{4,5})")
VALIDATION_PART = 0.25
"""Part of the real pairs that is held out."""


@dataclass(frozen=True)
class RealPair:
    """A real forgery."""

    image: Path
    mask: Path
    identities: tuple[str, ...]


def identities_of(name: str) -> tuple[str, ...]:
    """``Sp_D_CNN_A_ani0049_cha0084_0266`` -> ``("ani0049", "cha0084")``; ``Au_ani_0049`` -> ``("ani0049",)``."""
    return tuple(dict.fromkeys(kind + number for kind, number in IDENTITY.findall(Path(name).stem)))


def real_pairs(casia: Path) -> list[RealPair]:
    """The pairs of ``casia/Tp`` and ``casia/Gt``.

    Raises:
        RequestError: there are none, or an image has no mask or no identity in its name.
    """
    images = sorted((casia / "Tp").glob("*"))
    if not images:
        raise RequestError(f"{casia / 'Tp'} has no images", "tampered images of CASIA v1")
    pairs = []
    for image in images:
        mask, names = casia / "Gt" / f"{image.stem}.png", identities_of(image.name)
        if not mask.is_file() or not names:
            raise RequestError(f"{image}", "a name as in CASIA v1, and a mask of the same stem in Gt")
        pairs.append(RealPair(image, mask, names))
    return pairs


def validation_identities(pairs: Sequence[RealPair], seed: int) -> set[str]:
    """Identities of the validation split: whole groups that are linked by pairs, until a quarter of the pairs."""
    groups = linked([pair.identities for pair in pairs])
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{min(group)}".encode()).digest())
    chosen: set[str] = set()
    taken, wanted = 0, VALIDATION_PART * len(pairs)
    for group in order:
        count = sum(pair.identities[0] in group for pair in pairs)
        if taken + count <= wanted:
            chosen |= group
            taken += count
    return chosen


def linked(memberships: Iterable[Sequence[str]]) -> list[set[str]]:
    """Groups of names: two are in one group if a chain of memberships links them."""
    groups: list[set[str]] = []
    for names in memberships:
        touched = [group for group in groups if group & set(names)]
        groups = [group for group in groups if not group & set(names)]
        groups.append(set(names).union(*touched))
    return groups
