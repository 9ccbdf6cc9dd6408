"""The one error that a user can mend."""

from __future__ import annotations


class RequestError(ValueError):
    """The request was wrong: what was got, what was expected and what to do, in one line.

    The command line prints the message without a traceback and ends with exit code 2.
    """

    def __init__(self, got: str, expected: str = "", cure: str = "") -> None:
        """Compose ``got; expected ...; cure`` into one line (line breaks become spaces)."""
        parts = [got, f"expected {expected}" if expected else "", cure]
        super().__init__("; ".join(" ".join(part.split()) for part in parts if part))
