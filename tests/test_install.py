"""What docs/install.md promises: the list for an image with torch and numpy 2 is whole."""

from __future__ import annotations

import re
from pathlib import Path

from qmanet_benco.benco.launch.requirements import OPENCV, packages_below

ROOT = Path(__file__).parents[1]
IMAGE = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "scikit-image", "scikit-learn", "matplotlib")
"""What such an image brings, beside OpenCV and Pillow; the page names the same."""


def listed() -> set[str]:
    lines = (ROOT / "runs" / "no_deps.txt").read_text(encoding="utf-8").splitlines()
    names = [re.split(r"[=<>]", line)[0] for line in lines if line and not line.startswith("#")]
    assert len(names) == len(set(names))
    return {name.replace("_", "-") for name in names}


def test_the_list_for_an_image_has_every_package_that_the_image_has_not() -> None:
    brought = {*IMAGE, *OPENCV, "pillow"}.union(*(packages_below(name) for name in IMAGE))
    assert packages_below("qmanet-benco") - brought - listed() == set()


def test_the_page_names_what_the_image_brings() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert all(re.search(rf"\b{re.escape(name)}\b", page) for name in IMAGE)


def test_the_list_brings_nothing_of_the_image() -> None:
    assert listed() & {*IMAGE, *OPENCV} == set()
