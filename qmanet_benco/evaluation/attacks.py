"""Attacks on a photo before it reaches a model: the framework's three, and what photos meet on their way to a reader.

All are seeded for each image: the random numbers depend on the suite's seed, the attack, the level and the image's own
pixels. A record therefore depends neither on the order of the images nor on the batch or the number of processes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qmanet_benco.errors import RequestError

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels, float, random.Random], Pixels]


@dataclass(frozen=True)
class Attack:
    """One attack at one level."""

    name: str
    level: float


NONE = Attack("none", 0.0)


@dataclass(frozen=True)
class AttackKind:
    """What a suite can ask for."""

    name: str
    unit: str
    about: str
    paper_levels: tuple[int, ...]
    """Section 4.3, Tables 7 and 8; empty where the paper has no such attack."""
    expected: str
    """The levels that make sense, in words."""
    accepts: Callable[[float], bool]
    change: Change

    def check(self, level: float) -> None:
        """Check a level.

        Raises:
            RequestError: it makes no sense.
        """
        if not self.accepts(level):
            raise RequestError(f"{self.name} {level:g}", self.expected)


class Seeded:
    """An attack as the framework's datasets want a transform; the mask stays as it is."""

    def __init__(self, attack: Attack, seed: int) -> None:
        self.attack, self.seed = attack, seed

    def __call__(self, image: Pixels, mask: NDArray[Any], **_: Any) -> dict[str, Any]:
        """Attack an image.

        Args:
            image: H x W x 3 in RGB.
            mask: H x W or H x W x C; returned as it is.

        Returns:
            ``image`` (of the same size and type) and ``mask``.
        """
        digest = hashlib.sha256(f"{self.seed} {self.attack.name} {self.attack.level} {image.shape}".encode())
        digest.update(image.tobytes())
        generator = random.Random(digest.digest())
        changed = ATTACKS[self.attack.name].change(image, self.attack.level, generator)
        return {"image": changed, "mask": mask}


def transform(attack: Attack, seed: int) -> Seeded | None:
    """Make the transform of an attack, for the framework's ``common_transforms``.

    Args:
        attack: one of :data:`ATTACKS`, or :data:`NONE`.
        seed: the suite's.

    Returns:
        None for :data:`NONE`: the images stay as they are.

    Raises:
        RequestError: the attack is unknown, or its level makes no sense.
    """
    if attack == NONE:
        return None
    if attack.name not in ATTACKS:
        raise RequestError(f"attack {attack.name!r}", f"one of {', '.join(ATTACKS)}")
    ATTACKS[attack.name].check(attack.level)
    return Seeded(attack, seed)


def _through_framework(wrapper: str) -> Change:
    """Make an attack by the framework's own wrapper, whose albumentations draw from two global generators."""

    def change(image: Pixels, level: float, generator: random.Random) -> Pixels:
        from qmanet_benco.benco.seam.attack_wrappers import wrapped

        with _global_generators(generator):
            return np.asarray(wrapped(wrapper, level)(image=image)["image"])

    return change


@contextmanager
def _global_generators(generator: random.Random) -> Iterator[None]:
    """Python's and numpy's generators seeded within the block, and as they were afterwards."""
    former, former_numpy = random.getstate(), np.random.get_state()
    random.seed(generator.getrandbits(64))
    np.random.seed(generator.getrandbits(32))
    try:
        yield
    finally:
        random.setstate(former)
        np.random.set_state(former_numpy)


def _noise_std(image: Pixels, level: float, generator: random.Random) -> Pixels:
    return _through_framework("GaussianNoiseWrapper")(image, level**2, generator)


def _resize(image: Pixels, level: float, _: random.Random) -> Pixels:
    return _scaled_back(image, level / 100, lambda small: small)


def _recompression(image: Pixels, level: float, generator: random.Random) -> Pixels:
    for _ in range(int(level)):
        image = _jpeg(image, generator.randint(60, 95))
    return image


def _social(image: Pixels, level: float, generator: random.Random) -> Pixels:
    factor = min(1.0, level / max(image.shape[:2]))
    return _scaled_back(image, factor, lambda small: _jpeg(small, generator.randint(70, 85)))


def _scaled_back(image: Pixels, factor: float, change: Callable[[Pixels], Pixels]) -> Pixels:
    """Scale down, change, and scale to the former size, so that the truth still fits."""
    height, width = image.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if size != (width, height) else image
    changed = change(np.ascontiguousarray(small))
    return np.asarray(cv2.resize(changed, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _jpeg(image: Pixels, quality: int) -> Pixels:
    """Compress as JPEG with halved colour resolution (4:2:0), as cameras and social networks do, and decode."""
    done, data = cv2.imencode(
        ".jpg",
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420],
    )
    if not done:
        raise RequestError(f"an image of {image.shape} cannot be written as JPEG", "at most 65,500 pixels a side")
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def _whole(low: float, high: float) -> Callable[[float], bool]:
    return lambda level: low <= level <= high and level == int(level)


_KERNELS = (3, 7, 11, 15, 19, 23)
_KINDS = (
    AttackKind(
        "jpeg",
        "quality",
        "JPEG by the framework's wrapper, which draws the quality from {level - 1, level}",
        (100, 90, 80, 70, 60, 50),
        "a whole quality from 2 to 100",
        _whole(2, 100),
        _through_framework("JpegCompressionWrapper"),
    ),
    AttackKind(
        "blur",
        "kernel side in pixels",
        "Gaussian blur by the framework's wrapper; OpenCV derives the sigma from the kernel",
        _KERNELS,
        "an odd kernel side from 3 to 199",
        lambda level: 3 <= level <= 199 and level % 2 == 1,
        _through_framework("GaussianBlurWrapper"),
    ),
    AttackKind(
        "noise_variance",
        "variance in grey levels squared",
        "Gaussian noise by the framework's wrapper, which takes the level for a variance",
        _KERNELS,
        "a variance above 0, up to 65025",
        lambda level: 0 < level <= 255**2,
        _through_framework("GaussianNoiseWrapper"),
    ),
    AttackKind(
        "noise_std",
        "standard deviation in grey levels",
        "Gaussian noise as the paper words it: the framework's wrapper at the square of the level",
        _KERNELS,
        "a standard deviation above 0, up to 255",
        lambda level: 0 < level <= 255,
        _noise_std,
    ),
    AttackKind(
        "resize",
        "percent of the sides",
        "scaled down (area) and back up (bicubic)",
        (),
        "percent from 5 to 100",
        lambda level: 5 <= level <= 100,
        _resize,
    ),
    AttackKind(
        "recompression",
        "times",
        "a chain of JPEG files, each of a quality from 60 to 95",
        (),
        "a whole number from 1 to 20",
        _whole(1, 20),
        _recompression,
    ),
    AttackKind(
        "social",
        "longest side in pixels",
        "what a social network does: scaled down to the longest side, then JPEG of a quality from 70 to 85 at 4:2:0",
        (),
        "pixels from 64 to 8192",
        _whole(64, 8192),
        _social,
    ),
)
ATTACKS: Mapping[str, AttackKind] = {kind.name: kind for kind in _KINDS}
"""Every attack by its name in suite files and records."""
