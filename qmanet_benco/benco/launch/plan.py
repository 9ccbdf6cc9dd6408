"""What is to be run: one stock script with its flags."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One stock script with its flags."""

    script: str
    flags: tuple[str, ...] = ()
    stock: bool = False
    """Leave the framework's defects as they are."""
    without: tuple[str, ...] = ()
    """Corrections to leave out."""
    allow_pickle: bool = False
    levels: str = ""
    """Attacks of test_robust, e.g. ``"blur=3,7 jpeg=90"``; empty: the framework's."""
    debug: bool = False
    checked: bool = False
    """The parent process has checked the inputs."""
    processes: int = 1
    """Processes of the whole group."""
