"""An untrained network that answers in milliseconds."""

from __future__ import annotations

import torch

from qmanet_benco import create_model
from qmanet_benco.model.network import QMANetwork


def miniature(image_size: int) -> QMANetwork:
    """The same weights each time, in eval mode, for images of this side."""
    torch.manual_seed(0)
    network = create_model("miniature", noise_sources="srm,bayar", backbone_weights="random").eval()
    network.image_size = image_size
    return network
