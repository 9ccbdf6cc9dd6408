"""NoisePrint++ against its published form: convolutions, BatchNorms and ReLUs in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from made_noiseprint import published_form, random_published_form
from qmanet_benco.errors import RequestError
from qmanet_benco.model.noiseprint import DEPTH, INPUT_SCALE, NoisePrintPP
from qmanet_benco.model.weights.encoders import read_noiseprint


@torch.no_grad()
def error(network: nn.Module, expected: Tensor, rgb: Tensor, margin: int = 0) -> float:
    """Largest difference in units of the standard deviation."""
    inside = slice(margin, -margin or None)
    output, expected = network(rgb)[..., inside, inside].double(), expected[..., inside, inside]
    return ((output - expected).abs().max() / expected.std()).item()


def filled(reference: nn.Sequential) -> NoisePrintPP:
    network = NoisePrintPP()
    network.load_published(reference.state_dict())
    return network


@pytest.mark.parametrize("offset", [0.0, 5.0, 1000.0])
def test_folding_and_centring_do_not_change_the_function(offset: float) -> None:
    reference = random_published_form(offset)
    rgb = torch.rand(2, 3, 33, 47)
    with torch.no_grad():
        expected = reference(rgb.double() * INPUT_SCALE)
    assert error(filled(reference), expected, rgb) < 1e-4


def test_centring_saves_the_digits_that_large_means_cost() -> None:
    reference = random_published_form(1000.0)
    rgb = torch.rand(1, 3, 40, 48)
    with torch.no_grad():
        expected = reference(rgb.double() * INPUT_SCALE)
    plain = nn.Sequential(_Scale(), *copy.deepcopy(reference).float())
    assert error(plain, expected, rgb, DEPTH) > 1e-3, "the means are too small to cost anything"
    assert error(filled(reference), expected, rgb, DEPTH) < 0.2 * error(plain, expected, rgb, DEPTH)


class _Scale(nn.Module):
    def forward(self, rgb: Tensor) -> Tensor:
        return rgb * INPUT_SCALE


def test_golden_figure_is_met(shared_data: Callable[[str], Path]) -> None:
    golden = np.load(shared_data("golden/noiseprint_astronaut_0_96.npz"))
    network = NoisePrintPP()
    network.load_published(read_noiseprint(shared_data("noiseprint++.th")))
    rgb = torch.from_numpy(golden["rgb"]).permute(2, 0, 1)[None].float() / 255
    output = network(rgb).numpy().reshape(golden["output"].shape)
    assert np.abs(output - golden["output"]).max() < 1e-4


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_precision_around_it_does_not_matter(precision: torch.dtype) -> None:
    network, rgb = filled(random_published_form(1000.0)), torch.rand(1, 3, 32, 32)
    expected = network(rgb)
    with torch.autocast("cpu", precision):
        output = network(rgb)
    assert output.dtype == torch.float32
    assert torch.equal(output, expected)


@pytest.mark.parametrize(("arithmetic", "inside"), [("fp32", "ieee"), ("tf32", "tf32"), ("tf32x3", "tf32")])
@pytest.mark.parametrize("outside", ["ieee", "tf32"])
def test_cudnn_s_precision_is_the_arithmetic_s_inside_and_as_it_was_afterwards(
    outside: str, arithmetic: str, inside: str
) -> None:
    cudnn = torch.backends.cudnn
    if not cudnn.is_available():
        pytest.skip("this build of torch has no cuDNN, so there is no switch to restore")
    network = NoisePrintPP()
    network.randomise()
    network.set_arithmetic(arithmetic)
    seen, layer, former = [], network._layer, cudnn.conv.fp32_precision
    network._layer = lambda *given: seen.append(cudnn.conv.fp32_precision) or layer(*given)
    try:
        cudnn.conv.fp32_precision = outside  # alone, so that the older switch can no longer be read
        network(torch.rand(1, 3, 16, 16))
        assert cudnn.conv.fp32_precision == outside
    finally:
        cudnn.conv.fp32_precision = former
    assert seen == [inside] * DEPTH


def test_an_unknown_arithmetic_is_refused() -> None:
    with pytest.raises(RequestError, match=r"noiseprint_arithmetic 'fp16'; expected one of fp32, tf32, tf32x3"):
        NoisePrintPP().set_arithmetic("fp16")


def test_the_arithmetic_is_part_of_what_names_kept_residuals() -> None:
    network = NoisePrintPP()
    network.randomise()
    names = set()
    for arithmetic in ("fp32", "tf32", "tf32x3"):
        network.set_arithmetic(arithmetic)
        names.add(network.fingerprint())
    assert len(names) == 3


def test_no_gradient_is_kept() -> None:
    network = NoisePrintPP()
    network.randomise()
    assert not network(torch.rand(1, 3, 16, 16, requires_grad=True)).requires_grad
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_stays_in_eval_mode_as_part_of_a_trained_module() -> None:
    parent = nn.Sequential(NoisePrintPP()).train()
    assert parent.training
    assert not any(module.training for module in parent[0].modules())


@pytest.mark.parametrize("training", [True, False])
def test_missing_weights_are_an_error_that_names_the_cure(training: bool) -> None:
    network = NoisePrintPP().train(training)
    with pytest.raises(
        RequestError, match=r"no weights; .*--noiseprint_weights FILE .*qmanet weights fetch noiseprint\+\+"
    ):
        network(torch.rand(1, 3, 16, 16))


def test_missing_weights_are_not_numbers_that_could_pass_for_weights() -> None:
    for layer in NoisePrintPP().layers:
        assert layer.weight.isnan().all()


def test_state_dict_fills_another_one() -> None:
    network, twin = filled(random_published_form(5.0)), NoisePrintPP()
    twin.load_state_dict(network.state_dict())
    rgb = torch.rand(1, 3, 16, 16)
    assert torch.equal(twin(rgb), network(rgb))


def test_checkpoint_saved_without_weights_is_refused() -> None:
    network = NoisePrintPP()
    with pytest.raises(RequestError, match=r"the checkpoint holds no NoisePrint\+\+ weights .*--noiseprint_weights"):
        network.load_state_dict(NoisePrintPP().state_dict())
    assert not network.filled


def test_other_tensors_are_not_noiseprint() -> None:
    weights = published_form().state_dict()
    cases = {
        r"first 0\.weight of shape none; expected \(64, 3, 3, 3\)": {
            n: t for n, t in weights.items() if n != "0.weight"
        },
        r"first extra of shape \(1,\); expected None": weights | {"extra": torch.ones(1)},
        r"first 47\.bias of shape \(2,\); expected \(1,\)": weights | {"47.bias": torch.ones(2)},
    }
    for message, wrong in cases.items():
        network = NoisePrintPP()
        with pytest.raises(RequestError, match=rf"not NoisePrint\+\+ weights: 1 tensors differ, {message}"):
            network.load_published(wrong)
        assert not network.filled


def test_random_weights_keep_the_signal_s_size() -> None:
    network = NoisePrintPP()
    network.randomise()
    output = network(torch.rand(1, 3, 64, 64))
    assert output.isfinite().all()
    assert 1e-3 < output.std() < 1e3


def test_fingerprint_names_the_weights() -> None:
    first, second = NoisePrintPP(), NoisePrintPP()
    first.randomise()
    second.load_state_dict(first.state_dict())
    assert first.fingerprint() == second.fingerprint()
    assert len(first.fingerprint()) == 12
    with torch.no_grad():
        bias = second.layers[DEPTH - 1].bias
        bias.copy_(torch.nextafter(bias, torch.tensor(math.inf)))
    assert first.fingerprint() != second.fingerprint()


@pytest.mark.parametrize("size", [(96, 40), (97, 130), (40, 33)])
def test_strips_and_fused_operators_change_nothing(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    network, rgb = filled(random_published_form(1000.0)), torch.rand(2, 3, *size)
    plain = network._residual(rgb * INPUT_SCALE)
    assert torch.allclose(network(rgb), plain, rtol=0, atol=1e-5 * float(plain.abs().max()))
    monkeypatch.setattr("qmanet_benco.model.noiseprint_cpu.PART_PIXELS", 36 * size[1])
    assert torch.allclose(network(rgb), plain, rtol=0, atol=1e-5 * float(plain.abs().max()))
