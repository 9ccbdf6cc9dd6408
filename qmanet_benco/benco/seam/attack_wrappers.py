"""The framework's robustness wrappers, one transform at a time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import albumentations
from IMDLBenCo.transforms import robustness_wrapper


@lru_cache(maxsize=64)
def wrapped(name: str, level: float) -> Any:
    """Make the transform that a wrapper makes of a level, as the stock robustness script applies it.

    Args:
        name: a class of ``IMDLBenCo.transforms.robustness_wrapper``.
        level: in the wrapper's unit.

    Returns:
        An ``albumentations.Compose``, to be called with ``image``.
    """
    whole = int(level) if level == int(level) else level
    ((_, transform),) = list(getattr(robustness_wrapper, name)([whole]))
    return albumentations.Compose([transform])
