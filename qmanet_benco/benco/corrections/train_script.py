"""Corrects the stock ``train.py``."""

from __future__ import annotations

from typing import Any

import torch

from qmanet_benco.benco.corrections.row import Rows, around
from qmanet_benco.benco.seam.patches import Stock

ROWS = Rows()


@ROWS.add(
    "fused-adamw",
    "training_scripts/train.py:397",
    r"optim_factory\.create_optimizer",
    "AdamW goes through the parameters several times; torch's fused AdamW does it once (equal but for rounding)",
    ("train",),
)
@around("timm.optim.optim_factory:create_optimizer")
def fuse_adamw(stock: Stock, *args: Any, **kwargs: Any) -> Any:
    made = stock(*args, **kwargs)
    if type(made) is not torch.optim.AdamW:
        return made
    return torch.optim.AdamW([{**group, "foreach": None, "fused": True} for group in made.param_groups])
