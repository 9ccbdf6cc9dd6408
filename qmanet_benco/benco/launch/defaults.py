"""Adds the flags that this machine, a script or a model needs and that the user may leave out."""

from __future__ import annotations

from collections.abc import Sequence

from qmanet_benco.benco.seam.flags import model_name, value_of
from qmanet_benco.benco.zoo import build as zoo

_DEVICE_SCRIPTS = ("train", "test", "test_robust", "test_save_images")


def with_defaults(script: str, flags: Sequence[str], cuda: bool) -> list[str]:
    """Put the flags behind those that this machine or this script needs; what the user gives comes later and wins.

    Args:
        script: a stock script.
        flags: the user's.
        cuda: whether CUDA is available; then only the models get defaults.
    """
    size = value_of(flags, "--image_size")
    defaults = zoo.script_defaults(script, model_name(flags), int(size) if size.isdecimal() and len(size) < 9 else 512)
    if not cuda and script in _DEVICE_SCRIPTS:
        defaults += ["--device", "cpu"]
    if not cuda and script == "train":
        defaults += ["--if_not_amp"]
    if model_name(flags) == "QMANet" and script == "test_complexity":
        # values do not matter for a count, and without any NoisePrint++ refuses to run
        defaults += ["--noiseprint_weights", "random", "--backbone_weights", "random"]
    elif model_name(flags) == "QMANet" and script != "train":
        defaults += ["--backbone_weights", "checkpoint"]  # nothing starts from random weights, so nothing to warn about
    return [*defaults, *flags]
