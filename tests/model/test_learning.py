"""The sanity ladder: the network memorises, learns from noise what colour hides, and needs the noise view for it.

Each step of the ladder is a training, so all of them wait for the night.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import losses_of
from torch import Tensor

from qmanet_benco import create_model
from qmanet_benco.model.network import QMANetwork

pytestmark = pytest.mark.slow

SIDE, BATCH, STEPS = 64, 8, 120
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
Batch = tuple[Tensor, Tensor]


def planted(count: int, generator: torch.Generator) -> Batch:
    """Smooth pictures with sensor noise of one grey level, but for a rectangle that is free of it.

    The rectangle has the picture's own colours, so only the noise tells it.
    """
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    smooth = F.interpolate(coarse, SIDE, mode="bicubic").clamp(0, 1) * 200 + 25
    mask = torch.zeros(count, 1, SIDE, SIDE)
    for one in mask:
        height, width = (int(torch.randint(SIDE // 3, SIDE // 2 + 8, (), generator=generator)) for _ in range(2))
        top, left = (int(torch.randint(0, SIDE - side, (), generator=generator)) for side in (height, width))
        one[:, top : top + height, left : left + width] = 1
    noise = torch.randn(count, 3, SIDE, SIDE, generator=generator) * (1 - mask)
    return ((smooth + noise).round() / 255 - MEAN) / DEVIATION, mask


def trained(sources: str, batches: Callable[[], Batch]) -> QMANetwork:
    """A miniature after :data:`STEPS` steps."""
    torch.manual_seed(0)
    network = create_model("miniature", noise_sources=sources, backbone_weights="random").train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=STEPS, pct_start=0.1)
    for _ in range(STEPS):
        image, mask = batches()
        optimiser.zero_grad()
        losses_of(network(image), mask, network.config).total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def f1(network: QMANetwork, batch: Batch) -> float:
    """Mean F1 of the images at threshold 0.5."""
    image, mask = batch
    predicted, truth = network(image) > 0.5, mask > 0.5
    both = (predicted & truth).sum((1, 2, 3))
    return float((2 * both / (predicted.sum((1, 2, 3)) + truth.sum((1, 2, 3)))).mean())


@pytest.fixture(scope="module")
def unseen() -> Batch:
    return planted(64, torch.Generator().manual_seed(999))


@pytest.fixture(scope="module")
def with_noise_view() -> QMANetwork:
    generator = torch.Generator().manual_seed(0)
    return trained("srm", lambda: planted(BATCH, generator))


def test_overfits_eight_images() -> None:
    generator = torch.Generator().manual_seed(5)
    mask = planted(BATCH, generator)[1]
    batch = (torch.randn(BATCH, 3, SIDE, SIDE, generator=generator), mask)  # nothing to learn but the images themselves
    assert f1(trained("srm,bayar", lambda: batch), batch) > 0.95


def test_learns_a_planted_noise_inconsistency(with_noise_view: QMANetwork, unseen: Batch) -> None:
    assert f1(with_noise_view, unseen) > 0.75


def test_loses_it_when_the_noise_view_is_removed(with_noise_view: QMANetwork, unseen: Batch) -> None:
    def nothing(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return torch.zeros_like(output)

    handle = with_noise_view.noise_view.register_forward_hook(nothing)
    try:
        assert f1(with_noise_view, unseen) < 0.6  # a rectangle in the middle reaches 0.54
    finally:
        handle.remove()


def test_colour_alone_does_not_learn_it_in_the_same_steps(unseen: Batch) -> None:
    generator = torch.Generator().manual_seed(0)
    assert f1(trained("none", lambda: planted(BATCH, generator)), unseen) < 0.6
