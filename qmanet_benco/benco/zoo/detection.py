"""What is to be known of a baseline's answer for the whole image, its ``pred_label``."""

from __future__ import annotations

from collections.abc import Mapping

from qmanet_benco.benco.zoo.build import registered_name

_TRUFOR = (
    "its pred_label comes from a detection head that phase 2 does not train (trufor.py:35): the number is of random "
    "weights; a second training with --phase 3 trains it"
)


def image_score_note(name: str, flags: Mapping[str, object]) -> str:
    """A footnote for image-level tables; empty where nothing is to be said."""
    name = registered_name(name)
    if name in ("Trufor", "Trufor_RGB") and flags.get("phase", 2) != 3:
        return _TRUFOR
    if name == "QMANet":
        return "its pred_label is the mean of the most suspicious thousandth of the pixels; the paper has no such score"
    return ""
