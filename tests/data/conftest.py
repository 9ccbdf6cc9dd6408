"""The miniature archives as fixtures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import archives
import pytest


@pytest.fixture(scope="session")
def casiav1_archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The full archive of CASIA v1 in miniature, and the truth about it."""
    raw = tmp_path_factory.mktemp("casiav1")
    return raw, archives.casiav1(raw)


@pytest.fixture
def archive(tmp_path: Path) -> Callable[[str], Path]:
    """A function from a set's name to a miniature archive of it."""

    def make(name: str) -> Path:
        getattr(archives, name)(tmp_path / f"{name}_raw")
        return tmp_path / f"{name}_raw"

    return make
