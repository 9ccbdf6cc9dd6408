"""The noise view keeps its digits on CUDA, whatever stands around it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.noiseprint import NoisePrintPP
from qmanet_benco.model.noiseprint_arithmetic import ARITHMETICS
from tf32 import correlation, in_float64, largest_difference

pytestmark = pytest.mark.cuda
Record = Callable[[str, object], None]
LEAST = {"fp32": 0.9999, "tf32": 0.99, "tf32x3": 0.9999}
"""Correlation with float64. Plain TF32 may fall below 0.9999; what it reaches is recorded."""


@torch.no_grad()
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_autocast_around_it_does_not_reach_the_noise_view(
    precision: torch.dtype, device: str, photo: Tensor, miniature: Callable[[], QMANetwork], record_property: Record
) -> None:
    view = miniature().noise_view.to(device)
    expected = view(photo.to(device))
    with torch.autocast(device, precision):
        output = view(photo.to(device))
    found = correlation(output, expected)
    record_property("correlation", found)
    assert output.dtype == torch.float32
    assert found > 0.9999


@torch.no_grad()
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_noiseprint_keeps_its_correlation_with_float64(
    arithmetic: str, device: str, photo: Tensor, noiseprint: NoisePrintPP, record_property: Record
) -> None:
    expected = in_float64(noiseprint, photo)
    network = copy.deepcopy(noiseprint).to(device)
    network.set_arithmetic(arithmetic)
    output = network(photo.to(device))
    record_property("correlation", correlation(output, expected))
    record_property("largest difference", largest_difference(output, expected))
    assert correlation(output, expected) > LEAST[arithmetic]


@torch.no_grad()
def test_tf32_around_it_does_not_reach_noiseprint(
    device: str, tf32: bool, photo: Tensor, noiseprint: NoisePrintPP, record_property: Record
) -> None:
    network = copy.deepcopy(noiseprint).to(device)
    found = largest_difference(network(photo.to(device)), in_float64(noiseprint, photo))
    record_property("largest difference", found)
    assert found < 1e-2
