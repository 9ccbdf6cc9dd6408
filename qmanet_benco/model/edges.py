"""Edge Supervision Module: logits of the tampered region's boundary from the RGB branch (section 3.4, Figure 2).

The paper draws one module per level and writes "an Edge Supervision Module"; MVSS-Net (Chen et al. 2021), whose weights
0.2 and 0.8 the loss has, fuses all levels into one map. Both are here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.decoder import upsample
from qmanet_benco.model.libraries.timm_layers import LayerNorm2d


class EdgeSupervision(nn.Module):
    """Edge logits of one level (CHOICE: two layers)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, inner, 3, padding=1), LayerNorm2d(inner), nn.GELU(), nn.Conv2d(inner, 1, 1)
        )

    def forward(self, rgb: Tensor) -> Tensor:
        """B x C_i x h x w -> B x 1 x h x w."""
        return self.layers(rgb)


class LevelEdges(nn.ModuleList):
    """One edge map for each level."""

    def __init__(self, config: QMANetConfig) -> None:
        super().__init__(EdgeSupervision(width, config.edge_head_width) for width in config.widths)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """R_i of the four levels, B x C_i x h_i x w_i -> B x 1 x h_i x w_i of each."""
        return tuple(head(level) for head, level in zip(self, levels, strict=True))


class FusedEdges(nn.Module):
    """One edge map of all levels, at the first level's size."""

    def __init__(self, config: QMANetConfig) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(width, config.edge_head_width, 1) for width in config.widths)
        self.head = EdgeSupervision(len(config.widths) * config.edge_head_width, config.edge_head_width)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """R_i of the four levels, B x C_i x h_i x w_i -> one map B x 1 x h_1 x w_1."""
        size = levels[0].shape[2:]
        maps = [upsample(layer(level), size) for layer, level in zip(self.projections, levels, strict=True)]
        return (self.head(torch.cat(maps, dim=1)),)


EDGE_SUPERVISION_CLASSES = {"levels": LevelEdges, "fused": FusedEdges}
