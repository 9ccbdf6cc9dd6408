"""Lists packages that installed ones need and that are absent, as after ``pip install --no-deps``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata

OPENCV = {"opencv-python", "opencv-python-headless"}
"""Two packages that hold the same module; one of them is enough."""
BUILDERS = {"setuptools", "wheel"}
"""Packages that others name as requirements and needed only while they were built."""


def absent_packages(name: str) -> list[str]:
    """List the packages that an installed one asks for, and those that these ask for, which are not installed.

    Args:
        name: of the package; extras are left out.

    Returns:
        Their names, sorted; nothing if the package itself is not installed.
    """
    asked = packages_below(name)
    absent = {each for each in asked if _requirements(each) is None}
    return sorted(absent - (OPENCV if absent & OPENCV != OPENCV else set()))


def packages_below(name: str) -> set[str]:
    """List the names of all packages that a package asks for, and that these ask for, as far as they are installed."""
    from packaging.requirements import Requirement

    seen, waiting = set[str](), [name]
    while waiting:
        current = _normal(waiting.pop())
        if current in seen:
            continue
        seen.add(current)
        asked = [Requirement(line) for line in _requirements(current) or ()]
        waiting += [each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    return seen - BUILDERS - {_normal(name)}


def _requirements(name: str) -> Iterable[str] | None:
    try:
        return metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
