"""Corrects the stock ``train.py``."""

from __future__ import annotations

from typing import Any

import torch

from qmanet_benco.benco.corrections.row import Correction, Request
from qmanet_benco.benco.seam.patches import Patches, Stock


def fuse_adamw(patches: Patches, _: Request) -> None:
    from timm.optim import optim_factory

    def create_optimizer(stock: Stock, *args: Any, **kwargs: Any) -> Any:
        made = stock(*args, **kwargs)
        if type(made) is not torch.optim.AdamW:
            return made
        return torch.optim.AdamW([{**group, "foreach": None, "fused": True} for group in made.param_groups])

    patches.wrap(optim_factory, "create_optimizer", create_optimizer)


ROWS = (
    Correction(
        "fused-adamw",
        "training_scripts/train.py:397",
        r"optim_factory\.create_optimizer",
        "AdamW goes through the parameters several times; torch's fused AdamW does it once (equal but for rounding)",
        fuse_adamw,
        ("train",),
    ),
)
