"""The one error that a user can mend."""

from __future__ import annotations


class RequestError(ValueError):
    """The request was wrong: what was got, what was expected and what to do, in one line.

    The command line prints the message without a traceback and ends with exit code 2.
    """

    def __init__(self, got: str, expected: str = "", cure: str = "") -> None:
        """Compose ``got; expected ...; cure`` into one line: breaks become spaces, the unprintable is escaped."""
        parts = [got, f"expected {expected}" if expected else "", cure]
        super().__init__("; ".join(printable(" ".join(part.split())) for part in parts if part))


def printable(text: str) -> str:
    """A text that every terminal and every log shows as it is: control characters and bytes of no encoding escaped.

    A file's name may hold both: ``\\x1b[2J`` would clear the terminal, and a lone surrogate (which stands for such a
    byte) cannot be written as UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
