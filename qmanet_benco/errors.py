"""The one error that a user can mend."""

from __future__ import annotations

import difflib
import importlib
import shlex
import traceback
from collections.abc import Iterable
from typing import Any

DISTRIBUTIONS = {
    "IMDLBenCo": "imdlbenco==0.1.45",
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "mmcv": "mmcv-lite==2.1.0",
    "mmengine": "mmengine==0.10.7",
    "mmseg": "mmsegmentation==1.2.2",
    "albumentations": "albumentations==1.3.0",
    "pytorch_grad_cam": "grad-cam",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""What pip installs for a module, if not a package of its name; tests compare it with setup.py."""


class RequestError(ValueError):
    """The request was wrong: what was got, what was expected and what to do, in one line.

    The command line prints the message without a traceback and ends with exit code 2.
    """

    def __init__(self, got: str, expected: str = "", cure: str = "") -> None:
        """Compose ``got; expected ...; cure`` into one line: breaks become spaces, the unprintable is escaped."""
        parts = [got, f"expected {expected}" if expected else "", cure]
        super().__init__("; ".join(printable(" ".join(part.split())) for part in parts if part))


def missing_module(error: ImportError) -> RequestError:
    """Turn a failed import into a request that can be mended: the missing package, who imports it, how to install it.

    With ``pip install --no-deps`` nothing brings the packages that dependencies import, and a dependency's own message
    does not say whose import failed.
    """
    module = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not module:
        return RequestError(f"an import fails ({error})", "", "`qmanet doctor` shows what is installed")
    frames = traceback.walk_tb(error.__traceback__)
    importers = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame, _ in frames]
    importer = next((name for name in reversed(importers) if name not in ("importlib", "", "__main__", module)), "")
    by = f", which {importer} imports," if importer else ""
    return RequestError(
        f"the module {module}{by} is not installed",
        "every package of docs/install.md",
        f"pip install {shlex.quote(DISTRIBUTIONS.get(module, module))}",
    )


def require(extra: str, *modules: str) -> Any:
    """Import what an extra of this package brings.

    Returns:
        The last of the modules.

    Raises:
        RequestError: one cannot be imported.
    """
    module: Any = None
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            cure = f"pip install 'qmanet-benco[{extra}]'"
            raise RequestError(
                f"{name} cannot be imported ({error})", f"what the extra [{extra}] brings", cure
            ) from error
    return module


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """Name the known word that is closest to a wrong one, whatever the letter case, as a cure; empty without one.

    Args:
        word: the wrong one.
        known: the right ones.
        likeness: least ratio of :mod:`difflib`, in [0, 1].
    """
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, 1, likeness)
    return f"did you mean {by_lower[close[0]]}?" if close else ""


def told(error: BaseException) -> str:
    """Describe an error in one line: a wrong request by its message, any other error with its class."""
    words = " ".join(str(error).split())
    return words if isinstance(error, RequestError) else f"{type(error).__name__}: {words[:300]}".removesuffix(": ")


def printable(text: str) -> str:
    """Make a text that every terminal and log shows as it is: control characters and bytes of no encoding escaped.

    A file's name may hold both: ``\\x1b[2J`` would clear the terminal, and a lone surrogate (which stands for such a
    byte) cannot be written as UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
