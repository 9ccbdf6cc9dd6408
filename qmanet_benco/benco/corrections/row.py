"""Declares what a correction is: a row with the stock line, what is wrong there, and the patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from qmanet_benco.benco.resume.training import Training
from qmanet_benco.benco.seam.flags import SCRIPTS
from qmanet_benco.benco.seam.options import Options
from qmanet_benco.benco.seam.patches import Patches

TESTS = ("test", "test_robust", "test_save_images")
"""Scripts that read a trained model."""
INPUT_CHECKS, RELATIVE_CHECKPOINT = "input-checks", "relative-checkpoint"
EXACT_RESUME, FINITE_STEPS = "exact-resume", "finite-steps"
"""Corrections that the launcher's own flags are built on, or that it makes itself."""


@dataclass(frozen=True)
class Request:
    """What the patches need to know of a run."""

    script: str
    allow_pickle: bool = False
    training: Training = field(default_factory=lambda: Training(Options()))
    """What happens in a training between the script's calls."""


@dataclass(frozen=True)
class Correction:
    """One defect and its patch."""

    name: str
    stock: str
    """``file:line`` inside IMDLBenCo."""
    pattern: str
    """Regular expression that the stock line matches as long as the defect is there."""
    why: str
    apply: Callable[[Patches, Request], None]
    scripts: tuple[str, ...] = SCRIPTS


def nothing(_: Patches, __: Request) -> None:
    """Change nothing: the launcher itself keeps the promise of the row, before the script starts."""
