"""A compiled network; the last of these tests, since a compiler takes its time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.noise_view import Denormalise

pytestmark = pytest.mark.cuda
SAME_PROBABILITY = 1e-2
"""torch lets convolutions use TF32 by default, and a compiler chooses other ways to compute them."""


@torch.no_grad()
def test_a_compiled_network_computes_the_same(
    device: str, photo: Tensor, miniature: Callable[[], QMANetwork], record_property: Callable[[str, object], None]
) -> None:
    network, image = miniature().eval().to(device), ((photo - Denormalise().mean) / Denormalise().deviation).to(device)
    residual = network.noise_view.noiseprint(network.noise_view.denormalise(image))
    expected = network(image, None, residual)
    compiled = torch.compile(network, backend="inductor" if device == "cuda" else "eager")
    try:
        difference = float((compiled(image, None, residual) - expected).abs().max())
    finally:
        torch.compiler.reset()
    record_property("largest difference", difference)
    assert difference < SAME_PROBABILITY
