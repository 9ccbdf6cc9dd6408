"""The network computes on CUDA what it computes on a CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.noise_view import Denormalise
from qmanet_benco.model.statistics.copies import CopyMoveField
from qmanet_benco.model.weights.builder import load_model

pytestmark = pytest.mark.cuda
Record = Callable[[str, object], None]
SAME_PROBABILITY = 1e-4
TF32_PROBABILITY = 1e-2
"""TF32 keeps 10 bits of each factor: the encoders' convolutions and products then differ by more than float32's."""


def normalised(photo: Tensor) -> Tensor:
    denormalise = Denormalise()
    return (photo - denormalise.mean) / denormalise.deviation


def largest(output: Tensor, expected: Tensor) -> float:
    return float((output.detach().float().cpu() - expected.detach().float().cpu()).abs().max())


@torch.no_grad()
def test_probabilities_of_a_trained_network_are_the_cpu_s(
    device: str, tf32: bool, photo: Tensor, record_property: Record
) -> None:
    network, image = load_model("demo"), normalised(photo)
    expected = network(image)
    assert float(expected.std()) > 1e-3, "nothing that could differ"
    difference = largest(network.to(device)(image.to(device)), expected)
    record_property("largest difference", difference)
    assert difference < (TF32_PROBABILITY if tf32 else SAME_PROBABILITY)


@torch.no_grad()
def test_copies_are_found_where_the_cpu_finds_them(
    device: str, tf32: bool, photo: Tensor, record_property: Record
) -> None:
    """Its sums are exact, with TF32 too, unless cuDNN takes an FFT."""
    field, image = CopyMoveField(), normalised(photo)
    expected = field(image)
    difference = largest(field.to(device)(image.to(device)), expected)
    record_property("largest difference", difference)
    assert difference < 1e-4


@torch.no_grad()
def test_probabilities_of_a_network_with_all_noise_sources_are_the_cpu_s(
    device: str, tf32: bool, photo: Tensor, miniature: Callable[[], QMANetwork], record_property: Record
) -> None:
    network, image = miniature().eval(), normalised(photo)
    expected = network(image)
    difference = largest(network.to(device)(image.to(device)), expected)
    record_property("largest difference", difference)
    assert difference < (TF32_PROBABILITY if tf32 else SAME_PROBABILITY)


@torch.no_grad()
def test_channels_last_changes_the_layout_only(
    device: str, photo: Tensor, miniature: Callable[[], QMANetwork], record_property: Record
) -> None:
    network, image = miniature().eval().to(device), normalised(photo).to(device)
    expected = network(image)
    network = network.to(memory_format=torch.channels_last)
    difference = largest(network(image.contiguous(memory_format=torch.channels_last)), expected)
    record_property("largest difference", difference)
    assert difference < TF32_PROBABILITY


def test_checkpointing_gives_the_same_gradients(
    device: str, photo: Tensor, miniature: Callable[[], QMANetwork], record_property: Record
) -> None:
    image = normalised(photo).repeat(2, 1, 1, 1).to(device)
    gradients = []
    for enabled in (False, True):
        network = miniature().to(device).train()
        network.set_checkpointing(enabled)
        network(image).mask_logits.square().mean().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    scale = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    difference = max(largest(gradients[1][name], gradient) for name, gradient in gradients[0].items())
    record_property("largest difference, of the largest gradient", difference / scale)
    assert difference / scale < 1e-2


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_steps_under_autocast_with_a_loss_scaler_learn(
    precision: torch.dtype, device: str, photo: Tensor, miniature: Callable[[], QMANetwork], record_property: Record
) -> None:
    network = miniature().to(device).train()
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    image = normalised(photo).repeat(2, 1, 1, 1).to(device)
    target = torch.zeros_like(image[:, :1])
    target[..., : target.shape[-1] // 2] = 1
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler(device)
    before = copy.deepcopy(network.decoder.state_dict())
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        with torch.autocast(device, precision):
            logits = network(image).mask_logits
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        losses.append(float(loss.detach()))
    record_property("losses", [round(loss, 4) for loss in losses])
    assert all(torch.isfinite(torch.tensor(losses)))
    assert losses[-1] < losses[0]
    after = network.decoder.state_dict()
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())
