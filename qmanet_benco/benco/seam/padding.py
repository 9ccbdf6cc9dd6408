"""Warns of what ``--if_padding`` cuts off: the framework crops images larger than its input to their upper left."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from qmanet_benco.benco.seam.pairs import HEADER_BOUND, NEGATIVE, Pair, read_mask, size_of, spread
from qmanet_benco.errors import RequestError
from qmanet_benco.pixels import THRESHOLD

MASKS_READ = 200
"""Masks of cropped images that are read, evenly spread."""
_THREADS = 2 * (os.cpu_count() or 1)


def warn_of_cropping(pairs: Sequence[Pair], side: int, origin: str, warn: Callable[[str], None]) -> None:
    """Say how many images are larger than the network's input, and how many of them lose all that is tampered.

    Args:
        pairs: of a set.
        side: of the network's input, in pixels.
        origin: what named the set.
        warn: called once, if there are any.
    """
    looked_at = spread(pairs)[:HEADER_BOUND]
    with ThreadPoolExecutor(_THREADS) as pool:
        above = pool.map(partial(_is_above, side), looked_at)
        large = [pair for pair, is_large in zip(looked_at, above, strict=True) if is_large]
        forged = [pair for pair in large if pair.mask != NEGATIVE][:MASKS_READ]
        lost = sum(pool.map(partial(_is_lost_beyond, side), forged))
    if not large:
        return
    outside = f"; {lost} of {len(forged)} of them lose all that is tampered and count as tampered all the same"
    warn(
        f"{origin}: {len(large)} of {len(looked_at)} images are larger than --image_size {side}, and --if_padding cuts "
        f"off what lies beyond{outside if lost else ''}; use --if_resizing or a larger --image_size"
    )


def _is_above(side: int, pair: Pair) -> bool:
    try:
        return max(size_of(pair.image)) > side
    except RequestError:  # the check of the pairs says so
        return False


def _is_lost_beyond(side: int, pair: Pair) -> bool:
    try:
        tampered = read_mask(pair.mask).mean(axis=2) > THRESHOLD
    except RequestError:
        return False
    return bool(tampered.any() and not tampered[:side, :side].any())
