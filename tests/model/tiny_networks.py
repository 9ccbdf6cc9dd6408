"""Every variant, shrunk: the sizes fall, what the variant changes stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from qmanet_benco.model.config import VARIANTS, QMANetConfig
from qmanet_benco.model.losses import Losses, edge_band, total_loss
from qmanet_benco.model.network import Localization, QMANetwork


def tiny(config: QMANetConfig, **changes: Any) -> QMANetConfig:
    """The configuration with 8 or 16 channels per head and one to three blocks per stage.

    Only the paper's variant keeps NoisePrint++: its width cannot be shrunk, and no variant changes it.
    """
    sources = config.noise_sources
    if config.variant != "paper":
        sources = tuple(source for source in sources if source != "noiseprint")
    small = replace(
        config,
        embed_dim=max(8, config.embed_dim // 4),
        depths=tuple(1 + depth // 20 for depth in config.depths),
        drop_path=0.0,
        noise_sources=sources,
        decoder_width=max(8, config.decoder_width // 16),
        edge_head_width=max(4, config.edge_head_width // 8),
    )
    return replace(small, **changes)


def tiny_network(variant: str = "miniature", **changes: Any) -> QMANetwork:
    """A shrunk variant with random weights, NoisePrint++ included, in training mode."""
    network = QMANetwork(tiny(VARIANTS[variant], **changes))
    if network.noise_view.noiseprint is not None:
        network.noise_view.noiseprint.randomise()
    return network


def forgery(batch: int = 2, height: int = 64, width: int = 96) -> tuple[Tensor, Tensor]:
    """Random images B x 3 x H x W and masks B x 1 x H x W with one rectangle each."""
    mask = torch.zeros(batch, 1, height, width)
    for index in range(batch):
        mask[index, 0, 8 + index : height // 2, 16 : width // 2 + index] = 1
    return torch.randn(batch, 3, height, width), mask


def losses_of(result: Localization, mask: Tensor, config: QMANetConfig) -> Losses:
    """The losses of what a forward pass in training mode returned."""
    return total_loss(result.mask_logits, result.edge_logits, mask, edge_band(mask, config.edge_width), config)


def training_losses(network: torch.nn.Module, image: Tensor, mask: Tensor, config: QMANetConfig) -> Losses:
    """The losses of one training step; ``network`` may be wrapped."""
    return losses_of(network(image), mask, config)


def gradients(network: torch.nn.Module) -> dict[str, Tensor]:
    """The gradients that a backward pass left, by name."""
    return {name: tensor.grad for name, tensor in network.named_parameters() if tensor.grad is not None}
