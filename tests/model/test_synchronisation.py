"""A training step never waits for the device: none of its operations hands a number to Python."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_networks import tiny_network
from torch.utils._python_dispatch import TorchDispatchMode

from qmanet_benco.model.losses import edge_band, total_loss

WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal")
"""Operations whose result, or its size, Python must know."""


class Waits(TorchDispatchMode):
    """Remembers the operations for which Python waits for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            part is not None and part.dtype == torch.bool for part in args[1]
        )
        if name in WAITING or by_mask:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("variant", ["paper", "cp", "mlp", "cd"])
@pytest.mark.parametrize("padded", [False, True])
def test_a_training_step_waits_for_nothing(variant: str, padded: bool) -> None:
    network = tiny_network(variant).train()
    optimiser = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], fused=True)
    image, mask = torch.randn(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    mask[..., 10:30, 20:50] = 1
    valid = torch.ones_like(mask) if padded else None
    with Waits() as waits:
        result = network(image)
        band = edge_band(mask, network.config.edge_width)
        losses = total_loss(result.mask_logits, result.edge_logits, mask, band, network.config, valid)
        losses.total.backward()
        optimiser.step()
    assert waits.seen == []


def test_what_waits_is_seen() -> None:
    values = torch.arange(4.0)
    with Waits() as waits:
        values.sum().item()
        bool((values > 1).any())
        values[values > 1]
    assert waits.seen == ["_local_scalar_dense", "_local_scalar_dense", "index"]
