"""Finds out what is installed here, what is corrected in the framework, and what is missing, without importing it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from qmanet_benco.benco.launch.requirements import absent_packages
from qmanet_benco.benco.resume.determinism import CAUSES, Cause

PACKAGES = (
    "qmanet-benco",
    "imdlbenco",
    "torch",
    "torchvision",
    "timm",
    "mmsegmentation",
    "mmcv-lite",
    "mmengine",
    "albumentations",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "pillow",
    "scikit-learn",
)
PACKAGE = PACKAGES[0]
FRAMEWORK = "imdlbenco==0.1.45"
"""The release that the corrections are written for; setup.py asks for it."""


@dataclass(frozen=True)
class Patch:
    """A row of :mod:`~qmanet_benco.benco.corrections.cpu` or ``.table``, and its state on this machine."""

    kind: str
    name: str
    stock: str
    why: str
    active: bool
    found: bool | None
    """Whether the installed framework still has the stock line; None if it is not installed."""


@dataclass(frozen=True)
class Missing:
    """Something that is not here, and the command that gets it."""

    what: str
    command: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `qmanet doctor` shows."""

    python: str
    packages: dict[str, str | None]
    devices: list[str]
    cores: int
    memory_gb: float
    opencv: str
    """Its version, or why it cannot be imported."""
    patches: list[Patch]
    weights: list[dict[str, str]] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    nondeterministic: list[Cause] = field(default_factory=lambda: list(CAUSES))
    """What makes two trainings with one seed differ on CUDA, on any machine."""

    @property
    def healthy(self) -> bool:
        """Whether the framework can run as it is meant to: all imports work and every stock line is where it was."""
        return self.opencv[:1].isdigit() and all(patch.found for patch in self.patches)

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as plain values."""
        return {"healthy": self.healthy, **asdict(self)}


def diagnose() -> Diagnosis:
    """Look at this machine."""
    import torch

    from qmanet_benco.model.weights.pretrained import published_status

    opencv = _opencv()
    weights = published_status()
    cuda = torch.cuda.is_available()
    return Diagnosis(
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        devices=[torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else ["CPU"],
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        opencv=opencv,
        patches=_patches(cuda),
        weights=weights,
        missing=[
            *([] if opencv[:1].isdigit() else [Missing("a working OpenCV", opencv_cure())]),
            *_missing_packages(),
            *_missing_extras(),
            *(
                Missing(f"weights {row['name']}", f"qmanet weights fetch {row['name']}")
                for row in weights
                if not row["path"]
            ),
        ],
    )


def verdict(diagnosis: Diagnosis) -> str:
    """Sum the diagnosis up in a line that agrees with the exit code."""
    if diagnosis.healthy:
        return "Healthy: `qmanet predict` and `qmanet benco` run here; what is missing is for some commands only."
    if not diagnosis.opencv[:1].isdigit():
        return f"Not healthy: OpenCV {diagnosis.opencv}. Cure: {opencv_cure()}"
    if diagnosis.packages["imdlbenco"] is None:
        return f"Not healthy: the framework is not installed. Cure: pip install {FRAMEWORK}"
    unlike = sum(not patch.found for patch in diagnosis.patches)
    return (
        f"Not healthy: {unlike} of {len(diagnosis.patches)} corrected lines are not where {FRAMEWORK} has them; "
        f"the corrections may not fit. Cure: pip install {FRAMEWORK}"
    )


def opencv_cure() -> str:
    """Name the command for a machine without libGL: OpenCV without windows, in the release that is installed."""
    version = _version("opencv-python-headless") or _version("opencv-python")
    return f"pip install --force-reinstall --no-deps opencv-python-headless{f'=={version}' if version else ''}"


def stock_line(location: str, pattern: str) -> bool | None:
    """Tell whether the installed framework still has a stock line.

    Args:
        location: ``file:line`` inside IMDLBenCo.
        pattern: regular expression for the line.

    Returns:
        None if the framework is not installed.
    """
    name, _, number = location.rpartition(":")
    lines = _stock_lines(name)
    if lines is None:
        return None
    index = int(number) - 1
    return index < len(lines) and re.search(pattern, lines[index]) is not None


@cache
def _stock_lines(name: str) -> list[str] | None:
    spec = importlib.util.find_spec("IMDLBenCo")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], name)
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _patches(cuda: bool) -> list[Patch]:
    from qmanet_benco.benco.corrections import cpu as compat
    from qmanet_benco.benco.corrections import table as hardening

    kinds = (("hardening", hardening.ROWS, True), ("compat", compat.ROWS, not cuda))
    return [
        Patch(kind, row.name, row.stock, row.why, active, stock_line(row.stock, row.pattern))
        for kind, rows, active in kinds
        for row in rows
    ]


def _opencv() -> str:
    try:
        return str(importlib.import_module("cv2").__version__)
    except ImportError as error:
        return f"fails: {error}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _missing_packages() -> list[Missing]:
    absent = absent_packages(PACKAGE)
    return [Missing(f"packages: {', '.join(absent)}", f"pip install --no-deps {' '.join(absent)}")] if absent else []


def _missing_extras() -> list[Missing]:
    """List the extras of which a package is not installed."""
    try:
        requirements = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return [Missing(PACKAGE, "pip install -e .")]
    missing = []
    for extra, names in _extras(requirements).items():
        absent = [name for name in names if _version(name) is None]
        if absent:
            missing.append(Missing(f"{extra}: {', '.join(absent)}", f'pip install "{PACKAGE}[{extra}]"'))
    return missing


def _extras(requirements: Iterable[str]) -> dict[str, list[str]]:
    """Read ``['a>=1 ; extra == "x"']`` as ``{"x": ["a"]}``."""
    extras: dict[str, list[str]] = {}
    for requirement in requirements:
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", requirement)
        name = re.match(r"[\w.-]+", requirement)
        if extra and name:
            extras.setdefault(extra.group(1), []).append(name.group())
    return extras
