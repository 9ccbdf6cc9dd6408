"""Pairs of image and mask: which file belongs to which, and whether the framework will read what is meant.

Left to itself the framework pairs the sorted files of two folders by position, and it calls a pixel tampered where the
mean of the mask's channels is above 127.5. Each check here is for a way in which that goes wrong silently.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL.Image import Image

from qmanet_benco.errors import RequestError
from qmanet_benco.folders import files_in
from qmanet_benco.images import ENDINGS, UnusableFileError, load_whole, open_image
from qmanet_benco.pairing import Matching, match_names
from qmanet_benco.pixels import THRESHOLD, as_rgb, mask_colours

logger = logging.getLogger(__name__)

NEGATIVE = "Negative"
"""What the framework's JSON lists write in place of an authentic image's mask."""
HEADER_BOUND = 20_000
"""Pairs of a set whose headers are read; of a larger set as many, evenly spread."""
DECODE_SECONDS = 15.0
"""Time for decoding masks and images of a set, evenly spread; a JPEG is decoded at an eighth of its size."""
SHOWN = 3
"""Files of one side that an error names."""
_THREADS = 2 * (os.cpu_count() or 1)
Item = TypeVar("Item")


class Pair(NamedTuple):
    """An image and its mask; :data:`NEGATIVE` is the mask of an authentic image in a JSON list."""

    image: str
    mask: str


def pair_folder(folder: Path, origin: str) -> list[Pair]:
    """Pair the files of ``folder/Tp`` and ``folder/Gt`` by what their names say, sorted by the image's name.

    Args:
        folder: a ManiDataset folder.
        origin: what named the folder, for messages.

    Raises:
        RequestError: a folder is missing or empty, holds something else, or names do not tell what belongs together.
    """
    for name in ("Tp", "Gt"):
        if not (folder / name).is_dir():
            raise RequestError(
                f"{origin} {folder} has no folder {name}",
                "a ManiDataset folder: images in Tp, masks in Gt",
                "see `qmanet data prepare --help`",
            )
    images, masks = (_files(folder / name, origin) for name in ("Tp", "Gt"))
    if not images:
        raise RequestError(f"{origin} {folder / 'Tp'} is empty", "images", "check the path")
    matching = match_names(images, masks)
    if matching.images or matching.masks:
        raise _undecided(f"{origin} {folder}", images, masks, matching)
    return [Pair(str(image), str(mask)) for image, mask, _ in matching.pairs]


def check_pairs(pairs: Sequence[Pair], origin: str) -> None:
    """Read headers of all pairs, then decode as many as time allows, in threads.

    Args:
        pairs: what the framework is going to read.
        origin: what named the set, for messages.

    Raises:
        RequestError: a pair is missing, unreadable, of two sizes, or has a grey mask.
    """
    ordered = spread(pairs)
    headers = _check_each(_check_header, ordered[:HEADER_BOUND])
    contents = _check_each(_check_content, ordered, DECODE_SECONDS)
    for what, count in (("headers", headers), ("contents", contents)):
        if count < len(pairs):
            logger.warning(
                "%s: %s of %d of %d pairs are checked now, others while loading", origin, what, count, len(pairs)
            )


def check_mask(mask: np.ndarray, path: str) -> None:
    """Check that a mask does not turn black when the framework binarises it.

    Args:
        mask: H x W x 3, 0..255.
        path: its file, for the message.

    Raises:
        RequestError: some of it is not black, and nothing is above 127.5.
    """
    total = mask.sum(axis=2, dtype=np.uint32)
    brightest = float(total.max(initial=0)) / 3
    if 0 < brightest <= THRESHOLD:
        raise RequestError(
            f"mask {path} is nowhere brighter than {brightest:.0f}",
            f"tampered pixels above {THRESHOLD} (255 is usual), or the framework reads it as all authentic",
            "rescale its values to 0 and 255",
        )


def read_photo(path: str) -> np.ndarray:
    """Read a photo's pixels as they are stored, H x W x 3 in uint8; EXIF orientation is ignored, as by the framework.

    Raises:
        RequestError: it cannot be read.
    """
    return np.array(_decode(path, small=False))  # a copy that augmentations may write into


def read_mask(path: str) -> np.ndarray:
    """Read a mask as :func:`~qmanet_benco.pixels.mask_colours` reads it, H x W x 3 in uint8.

    Raises:
        RequestError: it cannot be read.
    """
    with _opened(path) as image:
        return np.array(mask_colours(image))  # a copy that augmentations may write into


@contextmanager
def _opened(path: str) -> Iterator[Image]:
    """Open an image; what makes it unusable comes out as a request that can be mended."""
    try:
        with open_image(path) as image:
            yield image
    except UnusableFileError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: Exception) -> RequestError:
    """Make the error for an image file that cannot be read."""
    if isinstance(error.__cause__ or error, FileNotFoundError):
        return RequestError(f"{path} does not exist", "an image file", "check the list or the path")
    reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
    return RequestError(f"{path} cannot be read ({reason})", "an undamaged image file", "replace or remove it")


def different_sizes(pair: Pair, image: tuple[int, int], mask: tuple[int, int]) -> RequestError:
    """Make the error for a mask that does not cover its image; sizes are width, height."""
    return RequestError(
        f"{pair.image} has {image[0]}x{image[1]} pixels and its mask {pair.mask} {mask[0]}x{mask[1]}",
        "equal sizes",
        "check that they belong together",
    )


def _files(folder: Path, origin: str) -> list[Path]:
    """List the image files, sorted by name; those of other programs are passed over, which is said.

    Raises:
        RequestError: one is not an image file; it may be what is missing on the other side.
    """
    listing = files_in(folder)
    if listing.foreign:
        logger.warning("%s %s: passed over %s", origin, folder, listing.told())
    for path in listing.files:
        if path.is_dir() or path.suffix.lower() not in ENDINGS:
            raise RequestError(f"{path} is not an image file", "image files only", "remove it")
    return listing.files


def _undecided(where: str, images: Sequence[Path], masks: Sequence[Path], matching: Matching) -> RequestError:
    """Make the error for files that names do not pair."""
    counts = f"{len(images)} images" + (f" and {len(masks)} masks" if len(images) != len(masks) else "")
    own = {(image, mask) for image, mask, _ in matching.pairs}
    shifted = next((pair for pair in zip(images, masks, strict=False) if pair not in own), None)
    position = f" (by position {shifted[0].name} would get {shifted[1].name})" if shifted else ""
    left = "; ".join(
        f"{name} {_shortened(files)}" for name, files in (("Tp", matching.images), ("Gt", matching.masks)) if files
    )
    return RequestError(
        f"{where} has {counts}, and names do not tell which mask belongs to which image: {left}{position}",
        "each mask named as its image, whatever its ending",
        "rename or add what is missing, or name the pairs in a JSON list",
    )


def _shortened(files: Sequence[Path]) -> str:
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(path.name for path in files[:SHOWN]) + more


def spread(items: Sequence[Item]) -> list[Item]:
    """Order items so that every beginning is spread evenly: by the fractional parts of the golden ratio."""
    order = np.argsort(np.arange(len(items)) * ((5**0.5 - 1) / 2) % 1, kind="stable")
    return [items[position] for position in np.argsort(order)]


def _check_each(check: Callable[[Pair], None], pairs: Sequence[Pair], seconds: float = math.inf) -> int:
    """Run a check over pairs in threads; the error of the first comes out.

    Returns:
        How many were checked before the time was up.
    """
    end = time.monotonic() + seconds
    checked = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[Future[None]] = deque()
        for pair in pairs:
            waiting.append(pool.submit(check, pair))
            if len(waiting) > 4 * _THREADS:
                waiting.popleft().result()
                checked += 1
            if time.monotonic() > end:
                break
        for future in waiting:
            future.result()
            checked += 1
    return checked


def _check_header(pair: Pair) -> None:
    size = size_of(pair.image)
    if pair.mask != NEGATIVE:
        mask_size = size_of(pair.mask)
        if size != mask_size:
            raise different_sizes(pair, size, mask_size)


def size_of(path: str) -> tuple[int, int]:
    """Width and height of an image, of which only the header is read.

    Raises:
        RequestError: it cannot be read.
    """
    with _opened(path) as image:
        return image.size


def _check_content(pair: Pair) -> None:
    _decode(pair.image, small=True)
    if pair.mask != NEGATIVE:
        check_mask(read_mask(pair.mask), pair.mask)


def _decode(path: str, small: bool) -> np.ndarray:
    with _opened(path) as image:
        return np.asarray(as_rgb(load_whole(image, coarse=small)))
