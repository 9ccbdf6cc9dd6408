"""Which way round a mask belongs: proven by what the forgery changed in the authentic photo it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qmanet_benco.data.masks import UnusableFileError, load_whole, opened, turn_clockwise

VISIBLE_CHANGE = 16
"""Of 255, the mean of the colours: above what a second JPEG compression does to most pixels."""
SURE, AHEAD = 0.5, 0.25
"""The overlap of changed and masked pixels (intersection over union) that the right turn reaches, and its lead."""


def proven_turn(image: Path, mask: NDArray[np.bool_], hosts: Iterable[Path]) -> int | None:
    """How many quarter turns clockwise lay the mask onto what was changed.

    Args:
        image: the forgery.
        mask: H x W, with sides swapped against the image's.
        hosts: authentic photos it may have been made from.

    Returns:
        1 or 3; None where no photo proves either.
    """
    try:
        forged = _pixels(image)
    except UnusableFileError:
        return None
    for host in hosts:
        try:
            before = _pixels(host)
        except UnusableFileError:
            continue
        if before.shape != forged.shape:
            continue
        changed = np.abs(before - forged).mean(axis=2) > VISIBLE_CHANGE
        overlaps = {turns: _overlap(turn_clockwise(mask, turns), changed) for turns in (1, 3)}
        best, other = sorted(overlaps, key=lambda turns: -overlaps[turns])
        if overlaps[best] >= SURE and overlaps[best] - overlaps[other] >= AHEAD:
            return best
    return None


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _pixels(path: Path) -> NDArray[np.int16]:
    return np.asarray(load_whole(opened(path)).convert("RGB"), np.int16)
