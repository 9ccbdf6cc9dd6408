"""TF32's rounding, imitated on a CPU, and what it is predicted to cost NoisePrint++."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from qmanet_benco.model.noiseprint import NoisePrintPP
from qmanet_benco.model.noiseprint_arithmetic import convolution, rounded
from qmanet_benco.model.weights.encoders import read_noiseprint
from tf32 import correlation, cut_off, in_tf32, in_three_products, predicted, sums_toward_zero

STEP = 2.0**-10
"""Between TF32 numbers from 1 to 2."""


def test_rounding_gives_the_nearest_number_of_ten_bits() -> None:
    cases = {1.0: 1.0, 1 + 0.4 * STEP: 1.0, 1 + 0.6 * STEP: 1 + STEP, -1 - 0.6 * STEP: -1 - STEP, 0.0: 0.0}
    assert rounded(torch.tensor([*cases])).tolist() == [*cases.values()]
    assert rounded(torch.tensor([math.inf])).tolist() == [math.inf]


def test_rounding_errs_by_half_a_step_and_cutting_off_by_a_whole_one() -> None:
    x = torch.rand(100_000) + 1
    assert float((rounded(x) - x).abs().max()) <= STEP / 2
    assert STEP / 2 < float((x - cut_off(x)).max()) < STEP
    assert bool((cut_off(x) <= x).all())


def test_a_number_is_its_rounded_part_and_the_rest() -> None:
    x = torch.randn(10_000) * 1000
    assert torch.equal(rounded(x) + (x - rounded(x)), x)


def test_three_products_are_a_hundred_times_closer_than_one() -> None:
    x, weight, bias = torch.randn(2, 16, 12, 12), torch.randn(8, 16, 3, 3), torch.randn(8)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    errors = [
        float((output.double() - expected).abs().max())
        for output in (
            in_tf32(rounded)(x, weight, bias, 1),
            in_three_products(x, weight, bias, 1),
            convolution(x, weight, bias, 1, "tf32x3"),
            sums_toward_zero(rounded, three=True)(x, weight, bias, 1),
        )
    ]
    assert errors[0] > 1e-3
    assert max(errors[1:]) < errors[0] / 100


def test_the_arithmetic_keeps_the_layout_that_convolutions_are_fast_in() -> None:
    x = torch.randn(1, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    output = convolution(x, torch.randn(8, 16, 3, 3), None, 1, "tf32x3")
    assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("way", "least"),
    [
        ("tf32, rounded to nearest", 0.9999),
        ("tf32, cut off", 0.9999),
        ("tf32x3", 0.9999999),
    ],
)
def test_predicted_correlations_with_the_golden_figure(
    way: str, least: float, shared_data: Callable[[str], Path]
) -> None:
    network = NoisePrintPP()
    network.load_published(read_noiseprint(shared_data("noiseprint++.th")))
    golden = np.load(shared_data("golden/noiseprint_astronaut_0_96.npz"))
    rgb = torch.from_numpy(golden["rgb"]).permute(2, 0, 1)[None].float() / 255
    found = correlation(predicted(network, rgb, way), torch.from_numpy(golden["output"]))
    assert found > least
    if way != "tf32x3":
        assert found < 1 - 1e-6, "nothing was rounded"
