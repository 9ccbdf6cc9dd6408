"""What the tests of all rooms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # a busy one takes seconds for what takes a millisecond
settings.load_profile("any machine")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Research data that never enters the project; its README says what it is and on which terms."""


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A function from a name below ``../shared/data`` to its path; it skips the test where the file is absent."""

    def locate(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"needs ../shared/data/{name}, which is not part of the project")
        return path

    return locate
