"""Names the pretrained weights that a training of each model wants, and what of it starts from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from qmanet_benco.benco.zoo.baselines import BASELINES
from qmanet_benco.benco.zoo.row import Weights

OWN = "QMANet"
OWN_WEIGHTS = (
    Weights("backbone_weights", "SegFormer encoders, ImageNet-1K", "`qmanet weights fetch mit_b3`"),
    Weights("noiseprint_weights", "NoisePrint++ (non-profit use only)", "`qmanet weights fetch noiseprint++`"),
)
NOTHING = ("", "random", "false", "none")


def weights_of(model: str) -> tuple[Weights, ...]:
    """The pretrained weights that a training of a model wants; nothing for models that are not known here."""
    if model == OWN:
        return OWN_WEIGHTS
    return BASELINES[model].weights if model in BASELINES else ()


def started_from_nothing(model: str, flags: Mapping[str, Any]) -> list[str]:
    """Say which parts of a model have no pretrained weights, given its constructor's flags: a sentence for each.

    Args:
        model: registered name.
        flags: all of them, as the training script passes them.
    """
    if flags.get("initial_weights") or flags.get("det_resume_ckpt"):
        return []
    missing = [one for one in weights_of(model) if one.flag in flags and not _is_there(one, flags[one.flag])]
    if model == OWN and "noiseprint" not in str(flags.get("noise_sources") or "noiseprint"):
        missing = [one for one in missing if one.flag != "noiseprint_weights"]
    return [f"started from random weights, without {one.what}" for one in missing]


def _is_there(wanted: Weights, value: Any) -> bool:
    if value is None or str(value).lower() in NOTHING:
        return False
    if not wanted.key:
        return True
    try:
        content = yaml.safe_load(Path(str(value)).read_text(encoding="utf-8"))
        return Path(str(content["MODEL"][wanted.key])).is_file()
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return False
