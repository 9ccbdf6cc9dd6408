"""An untrained network that answers in milliseconds, and a photo for it."""

from __future__ import annotations

import numpy as np
import torch

from qmanet_benco import create_model
from qmanet_benco.model.network import QMANetwork


def miniature(image_size: int) -> QMANetwork:
    """The same weights each time, in eval mode, for images of this side."""
    torch.manual_seed(0)
    network = create_model("miniature", noise_sources="srm,bayar", backbone_weights="random").eval()
    network.image_size = image_size
    return network


def photo(height: int = 90, width: int = 130, seed: int = 0) -> np.ndarray:
    """A noisy ramp, H x W x 3."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(20, 220, width)[None, :, None] * np.ones((height, 1, 3))
    return (ramp + generator.normal(0, 9, ramp.shape)).clip(0, 255).astype(np.uint8)
