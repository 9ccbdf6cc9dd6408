"""Lets the command line choose the attacks of the stock robustness script (``--levels``)."""

from __future__ import annotations

import re

from IMDLBenCo.transforms import robustness_wrapper as wrappers

from qmanet_benco.benco.seam.patches import Patches
from qmanet_benco.errors import RequestError

ATTACKS = {
    "blur": wrappers.GaussianBlurWrapper,
    "noise": wrappers.GaussianNoiseWrapper,
    "jpeg": wrappers.JpegCompressionWrapper,
}
_EXPECTED = '"blur=3,7 noise=3,11 jpeg=90,70" (odd kernel sizes, variances, qualities 2 to 100; 0: no attack)'


def parse_levels(text: str) -> dict[str, list[int]]:
    """Read ``"blur=3,7 jpeg=90"`` as ``{"blur": [3, 7], "jpeg": [90]}``.

    Raises:
        RequestError: an attack or a level is unknown.
    """
    chosen: dict[str, list[int]] = {}
    for word in text.split():
        name, _, values = word.partition("=")
        if name not in ATTACKS or not re.fullmatch("[0-9]{1,9}(,[0-9]{1,9})*", values):
            raise RequestError(f"--levels {word!r}", _EXPECTED)
        chosen[name] = [int(value) for value in values.split(",")]
        if name == "blur" and any(value and (value % 2 == 0 or value < 3) for value in chosen[name]):
            raise RequestError(f"--levels {word!r}", _EXPECTED)
        if name == "jpeg" and any(value == 1 or value > 100 for value in chosen[name]):
            raise RequestError(f"--levels {word!r}", _EXPECTED)
    if not chosen:
        raise RequestError(f"--levels {text!r}", _EXPECTED)
    return chosen


def choose_levels(patches: Patches, script: str, text: str) -> None:
    """Replace the levels that the script has written into it.

    The script runs three attacks in a row. The chosen ones take the first places, since it fails on an empty first
    one, and the remaining places get no level.

    Raises:
        RequestError: the script attacks nothing, or the text is wrong.
    """
    if script != "test_robust":
        raise RequestError(f"--levels for {script}", "test_robust")
    chosen = list(parse_levels(text).items())
    for place, stock in enumerate(ATTACKS.values()):
        name, levels = chosen[place] if place < len(chosen) else ("blur", [])
        patches.set(wrappers, stock.__name__, lambda param_list, of=ATTACKS[name], at=levels: of(at))  # noqa: ARG005
