"""The mask that calls everything tampered: a model without parameters, below which no method should be."""

from __future__ import annotations

from typing import Any

import torch
from IMDLBenCo.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class AllTampered(nn.Module):
    """Probability one everywhere.

    Its mean F1 on a set says how large the forgeries are: a forgery of the fraction ``t`` gives ``2t / (1 + t)``.
    """

    def forward(self, image: Tensor, **_: Any) -> dict[str, Any]:
        """Return ``pred_mask`` B x 1 x H x W and ``pred_label`` B, all ones, for an image B x 3 x H x W."""
        mask = torch.ones_like(image[:, :1])
        return {"pred_mask": mask, "pred_label": mask[:, 0, 0, 0], "visual_loss": {}, "visual_image": {}}
