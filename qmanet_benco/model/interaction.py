"""Cross-modal Feature Alignment and DFCM, the Dual-modal Feature Cross-guided Module (equations 2 to 4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.libraries.timm_layers import LayerNorm2d, SqueezeExcite, trunc_normal_


class FeatureAlignment(nn.Module):
    """delta of equation 2, and its way back: x + conv1x1(norm(x)), at the start exactly the identity (CHOICE).

    Args:
        channels: width of the level; the shape B x C x h x w is kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels, affine=False)
        self.projection = nn.Conv2d(channels, channels, 1)
        for tensor in self.projection.parameters():
            nn.init.zeros_(tensor)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.projection(self.norm(features))


class GroupConvolution(nn.Conv2d):
    """GCM: a grouped convolution in the place of a linear Q, K or V (Krizhevsky et al. 2012).

    With a stride it also reduces the map, to ceil(h / stride) x ceil(w / stride), and every pixel counts. It has no
    bias: one added to the keys would shift all scores of a query alike and change nothing.
    """

    def __init__(self, channels: int, groups: int, stride: int = 1) -> None:
        kernel = max(3, stride + 1 - stride % 2)
        super().__init__(channels, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


class CrossAttention(nn.Module):
    """Attn of equation 4: one modality asks, the other provides keys and values.

    Args:
        channels: width C of the level.
        heads: attention heads.
        groups: groups of the three group convolutions.
        reduction: stride of the keys' and values' convolutions; full attention at stride 4 would cost 68.7 G alone.
    """

    def __init__(self, channels: int, heads: int, groups: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = GroupConvolution(channels, groups)
        self.key = GroupConvolution(channels, groups, reduction)
        self.value = GroupConvolution(channels, groups, reduction)
        self.projection = nn.Conv2d(channels, channels, 1)
        trunc_normal_(self.projection.weight, std=0.02)  # small, so that a pretrained encoder is not disturbed

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """B x C x h x w of each modality -> what the asking one retrieves, B x C x h x w."""
        # B x heads x tokens x C / heads; were a token's channels apart in memory, torch would build the whole matrix
        q, k, v = (
            layer(x).flatten(2).transpose(1, 2).contiguous().unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.projection(attended.transpose(2, 3).reshape(asking.shape))


class DFCM(nn.Module):
    """Recalibration (equation 3) and bidirectional cross-attention with residuals (equation 4).

    Args:
        config: heads, reductions, groups, whether both directions share one G, and the RGB branch's residual.
        stage: 0 to 3.
    """

    def __init__(self, config: QMANetConfig, stage: int) -> None:
        super().__init__()
        channels = config.widths[stage]
        if channels % config.gcm_groups:
            widths = ", ".join(map(str, config.widths))
            raise RequestError(f"gcm_groups {config.gcm_groups}", f"a common divisor of the widths {widths}")
        ratio = 1 / config.recalibration_reduction
        self.rgb_recalibration = SqueezeExcite(channels, rd_ratio=ratio)
        self.noise_recalibration = SqueezeExcite(channels, rd_ratio=ratio)
        self.attentions = nn.ModuleList(
            CrossAttention(channels, config.heads[stage], config.gcm_groups, config.reductions[stage])
            for _ in range(1 if config.shared_gcm else 2)
        )

    def forward(self, rgb: Tensor, noise: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """R_a and N_init -> R_i and N_i; to the RGB branch's attention the residual is added, by default R_a.

        All are B x C x h x w.
        """
        rgb_middle = self.rgb_recalibration(rgb)
        noise_middle = self.noise_recalibration(noise)
        rgb_attention, noise_attention = self.attentions[0], self.attentions[-1]
        return (
            (rgb if residual is None else residual) + rgb_attention(rgb_middle, noise_middle),
            noise + noise_attention(noise_middle, rgb_middle),
        )


class Interaction(nn.Module):
    """One stage's alignment, DFCM (where the configuration has it) and way back into the RGB backbone.

    Args:
        config: as for :class:`DFCM`.
        stage: 0 to 3; after the last there is no backbone to go back to.
    """

    def __init__(self, config: QMANetConfig, stage: int) -> None:
        super().__init__()
        channels = config.widths[stage]
        self.residual = config.residual
        self.align = FeatureAlignment(channels)
        self.cross_guide = DFCM(config, stage) if stage + 1 in config.interaction_stages else None
        self.align_back = FeatureAlignment(channels) if stage < 3 else nn.Identity()

    def forward(self, rgb: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """R_init and N_init -> R_i and N_i (equation 2), all B x C x h x w."""
        aligned = self.align(rgb)
        if self.cross_guide is None:
            return aligned, noise
        # CHOICE: the aligned feature lives in the same space as what attention returns; equation 4 prints R_init
        return self.cross_guide(aligned, noise, rgb if self.residual == "initial" else None)
