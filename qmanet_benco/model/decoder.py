"""QMFD, the Query-driven Multi-level Feature Decoder (equation 7, Figure 5), and Table 2's two other decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.libraries.timm_layers import LayerNorm2d


class Level(NamedTuple):
    """What one level hands to the decoder."""

    rgb: Tensor
    """R_i, B x C_i x h_i x w_i."""
    noise: Tensor
    """N_i, B x C_i x h_i x w_i."""
    queries: Tensor | None
    """Q_i, B x N x C_i; None where the decoder has no queries."""


class DCM(nn.Module):
    """Dilated Convolution Module: hybrid dilated convolutions fuse R_i and N_i (Wang et al. 2018).

    Rates 1, 2, 5 leave no holes in the receptive field (their section 3.2). CHOICE: a 1x1 convolution into an inner
    width, one residual 3x3 for each rate, a 1x1 back to C_i.

    Args:
        channels: C_i.
        inner: inner width.
        dilations: the rates.
    """

    def __init__(self, channels: int, inner: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(2 * channels, inner, 1)
        self.dilated = nn.ModuleList(
            nn.Sequential(LayerNorm2d(inner), nn.GELU(), nn.Conv2d(inner, inner, 3, padding=rate, dilation=rate))
            for rate in dilations
        )
        self.expand = nn.Conv2d(inner, channels, 1)
        self.norm = LayerNorm2d(channels)

    def forward(self, rgb: Tensor, noise: Tensor) -> Tensor:
        """R_i and N_i -> F_i^fin, all B x C_i x h x w."""
        features = self.reduce(torch.cat([rgb, noise], dim=1))
        for layer in self.dilated:
            features = features + layer(features)
        return self.norm(self.expand(features))


class QueryDecoder(nn.Module):
    """QMFD: the queries weight the fused pixels; the maps of all levels meet at stride 4 (CHOICE) and one 1x1 head."""

    def __init__(self, config: QMANetConfig) -> None:
        super().__init__()
        widths = [config.widths[level - 1] for level in config.decoder_levels]
        self.fusions = nn.ModuleList(DCM(c, round(c * config.fusion_ratio), config.dilations) for c in widths)
        self.query_norms = nn.ModuleList(nn.LayerNorm(c) for c in widths)
        self.head = nn.Conv2d(len(widths) * config.num_queries, 1, 1)

    def fuse(self, levels: Sequence[Level]) -> list[Tensor]:
        """F_i^fin of each level, B x C_i x h_i x w_i."""
        return [fusion(level.rgb, level.noise) for fusion, level in zip(self.fusions, levels, strict=True)]

    def forward(self, levels: Sequence[Level], size: Sequence[int]) -> Tensor:
        """Triplets (Q_i, R_i, N_i) -> logits B x 1 x size."""
        maps = []
        for features, norm, level in zip(self.fuse(levels), self.query_norms, levels, strict=True):
            queries = norm(level.queries) * features.shape[1] ** -0.5  # unit scale of the products at the start
            weighted = queries @ features.flatten(2)  # B x N x C times B x C x hw
            maps.append(upsample(weighted.reshape(weighted.shape[0], -1, *features.shape[2:]), size))
        return self.head(torch.cat(maps, dim=1))


class ConvDecoder(nn.Module):
    """Table 2, CD: upsampling and convolutions instead of queries."""

    def __init__(self, config: QMANetConfig) -> None:
        super().__init__()
        widths = [config.widths[level - 1] for level in config.decoder_levels]
        inner = config.decoder_width
        self.projections = nn.ModuleList(_convolution(2 * c, inner) for c in widths)
        self.fusion = _convolution(len(widths) * inner, inner)
        self.head = nn.Conv2d(inner, 1, 1)

    def forward(self, levels: Sequence[Level], size: Sequence[int]) -> Tensor:
        """R_i and N_i -> logits B x 1 x size."""
        maps = [
            upsample(projection(torch.cat([level.rgb, level.noise], dim=1)), size)
            for projection, level in zip(self.projections, levels, strict=True)
        ]
        return self.head(self.fusion(torch.cat(maps, dim=1)))


class MlpDecoder(nn.Module):
    """Table 2, MLP: SegFormer's head, a linear layer per level, one to fuse, one to predict."""

    def __init__(self, config: QMANetConfig) -> None:
        super().__init__()
        widths = [config.widths[level - 1] for level in config.decoder_levels]
        inner = config.decoder_width
        self.projections = nn.ModuleList(nn.Conv2d(2 * c, inner, 1) for c in widths)
        self.fusion = nn.Sequential(nn.Conv2d(len(widths) * inner, inner, 1), LayerNorm2d(inner), nn.GELU())
        self.head = nn.Conv2d(inner, 1, 1)

    def forward(self, levels: Sequence[Level], size: Sequence[int]) -> Tensor:
        """R_i and N_i -> logits B x 1 x size."""
        maps = [
            upsample(projection(torch.cat([level.rgb, level.noise], dim=1)), size)
            for projection, level in zip(self.projections, levels, strict=True)
        ]
        return self.head(self.fusion(torch.cat(maps, dim=1)))


DECODER_CLASSES = {"query": QueryDecoder, "conv": ConvDecoder, "mlp": MlpDecoder}


def upsample(features: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resize of B x C x h x w to B x C x size; a map that fits is returned as it is."""
    if tuple(features.shape[2:]) == tuple(size):
        return features
    return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=False)


def _convolution(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out_channels, 3, padding=1), LayerNorm2d(out_channels), nn.GELU())
