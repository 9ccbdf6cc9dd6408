"""Describes what is to be run: one stock script, or a copy of it, with its flags."""

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
    file: str = ""
    """The user's own copy of the script; empty: the framework's."""
    plugins: tuple[str, ...] = ()
    """Modules and files that register models of the user's own."""

    @property
    def source(self) -> str:
        """What is executed: a file, or the name of a stock script."""
        return self.file or self.script
