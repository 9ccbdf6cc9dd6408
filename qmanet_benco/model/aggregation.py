"""Tamper-aware queries and MFAM, the Multi-domain Feature Aggregation Module (equations 5 and 6)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.libraries.timm_layers import Mlp, trunc_normal_

HEAD_WIDTH = 32
"""Channels per attention head (CHOICE)."""


class Attention(nn.Module):
    """Multi-head attention of N queries to S tokens, all of width C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD_WIDTH)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)  # a key's bias would change nothing
        self.value = nn.Linear(channels, channels)
        self.projection = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """B x N x C queries, B x S x C keys and values -> B x N x C."""
        q, k, v = (
            layer(x).reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)  # B x heads x tokens x C / heads
            for layer, x in ((self.query, queries), (self.key, keys), (self.value, values))
        )
        return self.projection(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward network (Vaswani et al. 2017; CHOICE: pre-norm, ratio 4)."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(channels)
        self.attention = Attention(channels)
        self.feed_forward_norm = nn.LayerNorm(channels)
        self.feed_forward = Mlp(channels, channels * ratio)

    def forward(self, queries: Tensor, keys: Tensor | None = None, values: Tensor | None = None) -> Tensor:
        """B x N x C queries; keys and values B x S x C, by default the queries themselves."""
        normed = self.query_norm(queries)
        keys = normed if keys is None else keys
        queries = queries + self.attention(normed, keys, keys if values is None else values)
        return queries + self.feed_forward(self.feed_forward_norm(queries))


class MFAM(nn.Module):
    """The queries attend to R_i, then to N_i, then to themselves (equation 6).

    As printed, equation 6 gives the second block the queries as values, whose count differs from the keys': keys and
    values are the level's tokens of one modality each (CHOICE; ``literal_first_block`` takes N_i as the first values).

    Args:
        channels: width C_i of the level.
        config: feed-forward ratio and the first block's reading.
    """

    def __init__(self, channels: int, config: QMANetConfig) -> None:
        super().__init__()
        self.literal_first_block = config.literal_first_block
        self.rgb_norm = nn.LayerNorm(channels)
        self.noise_norm = nn.LayerNorm(channels)
        self.from_rgb, self.from_noise, self.from_queries = (
            TransformerBlock(channels, config.query_ffn_ratio) for _ in range(3)
        )

    def forward(self, queries: Tensor, rgb: Tensor, noise: Tensor) -> Tensor:
        """Q_i^init B x N x C with R_i and N_i B x C x h x w -> Q_i B x N x C."""
        rgb_tokens = self.rgb_norm(rgb.flatten(2).transpose(1, 2))
        noise_tokens = self.noise_norm(noise.flatten(2).transpose(1, 2))
        queries = self.from_rgb(queries, rgb_tokens, noise_tokens if self.literal_first_block else None)
        queries = self.from_noise(queries, noise_tokens)
        return self.from_queries(queries)


class QueryAggregation(nn.Module):
    """Q_tag, one MFAM per level and the MLP that carries the queries to the next level's width."""

    def __init__(self, config: QMANetConfig) -> None:
        super().__init__()
        widths = config.widths
        self.tamper_queries = nn.Parameter(torch.empty(config.num_queries, widths[0]))
        trunc_normal_(self.tamper_queries, std=1.0)
        self.levels = nn.ModuleList(MFAM(channels, config) for channels in widths)
        self.transitions = nn.ModuleList(Mlp(narrow, wide, wide) for narrow, wide in pairwise(widths))

    def initial(self, batch: int) -> Tensor:
        """Q_1^init: Q_tag for each image, B x N x C_1."""
        return self.tamper_queries.repeat(batch, 1, 1)

    def next_level(self, level: int, queries: Tensor) -> Tensor:
        """Q_i of level ``level`` (0 to 2) -> Q_{i+1}^init, B x N x C_{i+1}."""
        return self.transitions[level](queries)
