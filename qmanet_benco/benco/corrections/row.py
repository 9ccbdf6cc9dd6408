"""Declares what a correction is: a row with the stock line, what is wrong there, and the patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pkgutil import resolve_name
from typing import Any

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


Patch = Callable[[Patches, Request], None]


@dataclass(frozen=True)
class Correction:
    """One defect and its patch."""

    name: str
    stock: str
    """``file:line`` inside IMDLBenCo."""
    pattern: str
    """Regular expression that the stock line matches as long as the defect is there."""
    why: str
    scripts: tuple[str, ...]
    apply: Patch


class Rows(list[Correction]):
    """The corrections of one part of the framework, in the order in which they are applied."""

    def add(
        self, name: str, stock: str, pattern: str, why: str, scripts: tuple[str, ...] = SCRIPTS
    ) -> Callable[[Patch], Patch]:
        """Make the decorator that adds a row with the patch below it; the arguments are a :class:`Correction`'s."""

        def with_patch(apply: Patch) -> Patch:
            self.append(Correction(name, stock, pattern, why, scripts, apply))
            return apply

        return with_patch


def around(target: str) -> Callable[[Callable[..., Any]], Patch]:
    """Make the decorator that turns a function into the patch that calls it in place of another one.

    Args:
        target: ``module:name`` or ``module:Class.name`` of what it stands for; the module is imported where the patch
            is applied. The function gets that first, and then the arguments of the call.
    """
    module, _, path = target.partition(":")
    owner, _, name = path.rpartition(".")

    def as_patch(stand_in: Callable[..., Any]) -> Patch:
        @wraps(stand_in)
        def apply(patches: Patches, _: Request) -> None:
            patches.wrap(resolve_name(f"{module}:{owner}"), name, stand_in)

        return apply

    return as_patch


def nothing(_: Patches, __: Request) -> None:
    """Change nothing: the launcher itself keeps the promise of the row, before the script starts."""
