"""Dice losses, the edge band, and the total loss (section 3.4, equation 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.decoder import upsample


class Losses(NamedTuple):
    """The total loss and its parts, scalars in float32."""

    total: Tensor
    segmentation: Tensor
    edge: Tensor
    edge_levels: tuple[Tensor, ...]
    bce: Tensor


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    r"""Dice loss of Milletari et al. 2016 (V-Net), mean over the images.

    .. math:: 1 - \frac{2 \sum p g}{\sum p^2 + \sum g^2}

    with :math:`p` the sigmoid of the logits and :math:`g` the target, summed over an image's pixels. Where the target
    is empty (an authentic image) that would be 1 whatever is predicted, without a gradient; there the coefficient of
    the other class is taken, :math:`p \to 1 - p, g \to 1 - g`, which falls to 0 as the prediction empties and whose
    gradient never vanishes.

    Args:
        logits: B x 1 x H x W, any precision; computed in float32.
        target: B x 1 x H x W in {0, 1}.
        valid: B x 1 x H x W in {0, 1}; pixels with 0 (padding) do not count.

    Returns:
        Scalar in [0, 1].
    """
    with torch.autocast(logits.device.type, enabled=False):
        probability, target, weight = _in_float32(logits, target, valid)
        empty = ((target * weight).sum(dim=(1, 2, 3), keepdim=True) == 0).float()
        probability = empty * (1 - probability) + (1 - empty) * probability
        target = empty * (1 - target) + (1 - empty) * target
        overlap, total = _overlap_and_total(probability, target, weight)
        return (1 - 2 * overlap / total.clamp_min(1e-6)).mean()


def batch_dice_loss(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    r"""Dice loss with its sums over the whole batch and smoothing 1, as MVSS-Net's (Chen et al. 2021).

    .. math:: 1 - \frac{2 \sum p g + 1}{\sum p^2 + \sum g^2 + 1}

    Authentic images then only add their false alarms to the denominator.

    Args:
        logits: B x 1 x H x W, any precision; computed in float32.
        target: B x 1 x H x W in {0, 1}.
        valid: B x 1 x H x W in {0, 1}; pixels with 0 (padding) do not count.

    Returns:
        Scalar in [0, 1].
    """
    with torch.autocast(logits.device.type, enabled=False):
        overlap, total = _overlap_and_total(*_in_float32(logits, target, valid))
        return 1 - (2 * overlap.sum() + 1) / (total.sum() + 1)


def _in_float32(logits: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Turn logits into probabilities, and the valid pixels into weights; all B x 1 x H x W."""
    target = target.float()
    return logits.float().sigmoid(), target, torch.ones_like(target) if valid is None else valid.float()


def _overlap_and_total(probability: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the products and the squares of each image, B."""
    overlap = (weight * probability * target).sum(dim=(1, 2, 3))
    total = (weight * (probability.square() + target.square())).sum(dim=(1, 2, 3))
    return overlap, total


_DICE = {"image": dice_loss, "batch": batch_dice_loss}


def edge_band(mask: Tensor, width: int) -> Tensor:
    """The band of ``width`` pixels around the boundary of the tampered region.

    A pixel belongs to it where both classes occur in the square of ``width`` x ``width`` around it, inside the image:
    the image's own border is no boundary.

    Args:
        mask: B x 1 x H x W in {0, 1}.
        width: odd.

    Returns:
        B x 1 x H x W in {0, 1}.
    """
    mask = mask.float()
    dilated = F.max_pool2d(mask, width, stride=1, padding=width // 2)
    eroded = -F.max_pool2d(-mask, width, stride=1, padding=width // 2)
    return dilated - eroded


def reduce_band(band: Tensor, size: Sequence[int]) -> Tensor:
    """B x 1 x H x W -> B x 1 x size by the maximum: a thin band is never lost between the samples."""
    return F.adaptive_max_pool2d(band.float(), tuple(size))


def total_loss(
    mask_logits: Tensor,
    edge_logits: Sequence[Tensor],
    mask: Tensor,
    band: Tensor,
    config: QMANetConfig,
    valid: Tensor | None = None,
) -> Losses:
    """Equation 8: alpha times the mask's Dice plus beta times the mean of the edge maps' Dice (CHOICE: mean).

    Args:
        mask_logits: B x 1 x H x W.
        edge_logits: of each level, B x 1 x h_i x w_i, or one fused map, which is compared at full size.
        mask: B x 1 x H x W in {0, 1}.
        band: target of the edges at full size, B x 1 x H x W in {0, 1}.
        config: the weights.
        valid: B x 1 x H x W in {0, 1}, 0 where the image was padded.

    Returns:
        The total and its parts.
    """
    dice = _DICE[config.dice]
    segmentation = dice(mask_logits, mask, valid)
    if config.edge_supervision == "fused":
        edge_logits = [upsample(logits, band.shape[2:]) for logits in edge_logits]
    edge_levels = tuple(
        dice(
            logits,
            reduce_band(band, logits.shape[2:]),
            None if valid is None else reduce_band(valid, logits.shape[2:]),
        )
        for logits in edge_logits
    )
    edge = torch.stack(edge_levels).mean()
    total = config.segmentation_weight * segmentation + config.edge_weight * edge
    bce = torch.zeros_like(segmentation)
    if config.bce_weight:
        with torch.autocast(mask_logits.device.type, enabled=False):
            weight = torch.ones_like(mask_logits, dtype=torch.float32) if valid is None else valid.float()
            bce = F.binary_cross_entropy_with_logits(mask_logits.float(), mask.float(), weight, reduction="sum")
            bce = bce / weight.sum().clamp_min(1)
        total = total + config.bce_weight * bce
    return Losses(total, segmentation, edge, edge_levels, bce)
