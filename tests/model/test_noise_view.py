"""MNFM: SRM against scipy, BayarConv's constraint, de-normalisation, and the view as the network uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import albumentations
import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.data import astronaut
from tiny_networks import forgery, tiny_network
from torch import Tensor

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import NOISE_SOURCES, VARIANTS
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.noise_view import NOISEPRINT_UNIT, SRM, BayarConv, Denormalise, NoiseView
from qmanet_benco.model.weights.builder import create_model

PHOTO = astronaut()[0:96, 40:168]


def normalised(rgb: np.ndarray) -> Tensor:
    """H x W x 3 in uint8 -> 1 x 3 x H x W as the framework's datasets deliver it."""
    image = albumentations.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])(image=rgb)["image"]
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def srm_kernels() -> list[np.ndarray]:
    """Zhou et al. 2018, figure 4, built from the second difference that two of them repeat."""
    second = np.array([1.0, -2.0, 1.0])
    square = np.array(
        [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
    )
    return [-np.outer(second, second) / 4, square / 12, second[None] / 2]


def test_denormalisation_undoes_albumentations() -> None:
    rgb = Denormalise()(normalised(PHOTO))
    expected = torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(rgb, expected, rtol=0, atol=1e-6)


def test_denormalisation_takes_half_precision_to_float32() -> None:
    assert Denormalise()(normalised(PHOTO).half()).dtype == torch.float32


def test_srm_is_scipy_s_correlation_of_the_grey_photo() -> None:
    grey = PHOTO.astype(np.float64).mean(axis=2)
    residual = SRM()(torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255)[0].numpy()
    for channel, kernel in zip(residual, srm_kernels(), strict=True):
        expected = scipy.ndimage.correlate(grey, kernel, mode="nearest") / 8
        np.testing.assert_allclose(channel, expected.clip(-3, 3), atol=1e-4)
    assert np.abs(residual).max() == 3, "the photo has edges beyond the truncation"


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_srm_ignores_autocast(precision: torch.dtype) -> None:
    rgb = torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255
    expected = SRM()(rgb)
    with torch.autocast("cpu", precision):
        assert torch.equal(SRM()(rgb), expected)


def constraint_error(layer: BayarConv) -> tuple[float, float]:
    """How far the centres are from -1 and the sums of the others from 1."""
    weight = layer.weight().detach().double()
    centre = weight[..., 2, 2]
    others = weight.sum(dim=(2, 3)) - centre
    return (centre + 1).abs().max().item(), (others - 1).abs().max().item()


@given(arrays(np.float32, (3, 3, 24), elements=st.floats(-100, 100, width=32)))
def test_bayar_s_constraint_holds_for_any_raw_weights(raw: np.ndarray) -> None:
    layer = BayarConv()
    layer.raw.data = torch.from_numpy(raw)
    centre, others = constraint_error(layer)
    assert centre == 0
    assert others < 1e-3  # 24 sums of numbers up to 100 in float32


@pytest.mark.parametrize("total", [0.0, 1e-30, -1e-8, 1.0])
def test_bayar_has_no_pole_where_the_raw_weights_sum_to_nothing(total: float) -> None:
    layer = BayarConv()
    with torch.no_grad():
        layer.raw -= layer.raw.mean(dim=-1, keepdim=True)
        layer.raw += total / 24
    assert max(constraint_error(layer)) < 1e-5
    assert layer.weight().abs().max() <= 1 + 1e-5
    layer(torch.rand(1, 3, 8, 8)).square().sum().backward()
    assert layer.raw.grad.isfinite().all()


def test_bayar_s_constraint_survives_training() -> None:
    layer = BayarConv()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.05)
    before = layer.weight().detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        layer(torch.rand(2, 3, 16, 16)).square().mean().backward()
        optimizer.step()
    assert max(constraint_error(layer)) < 1e-5
    assert (layer.weight() - before).abs().max() > 0.05


def test_bayar_s_kernels_have_the_gradient_of_the_constraint() -> None:
    layer = BayarConv(1, 2)
    raw = layer.raw.detach().double().requires_grad_()

    def weight(x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"raw": x}, torch.eye(5)[None, None] / 32).double()

    # the layer is float32 and linear in the raw weights, so the differences may be wide
    assert torch.autograd.gradcheck(weight, (raw,), eps=1e-1, atol=1e-4)


def test_bayar_is_the_error_of_a_prediction() -> None:
    flat = BayarConv()(torch.full((1, 3, 16, 16), 0.7))
    assert flat.abs().max() < 1e-4, "a constant image is predicted exactly"


@pytest.mark.parametrize("sources", [("srm",), ("bayar",), ("noiseprint",), ("srm", "noiseprint"), NOISE_SOURCES, ()])
def test_view_fuses_the_chosen_sources(sources: tuple[str, ...]) -> None:
    view = NoiseView(sources)
    image = normalised(PHOTO)
    rgb = torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255
    parts = []
    if "srm" in sources:
        parts.append(SRM()(rgb))
    if "bayar" in sources:
        parts.append(view.bayar(rgb))
    if "noiseprint" in sources:
        view.noiseprint.randomise()
        parts.append(view.noiseprint(rgb) / NOISEPRINT_UNIT)
    expected = view.fusion(torch.cat(parts, dim=1) if parts else image)
    torch.testing.assert_close(view(image), expected, rtol=1e-4, atol=1e-3)


def test_residuals_that_are_known_are_not_computed() -> None:
    view = NoiseView(NOISE_SOURCES)
    view.noiseprint.randomise()
    image = normalised(PHOTO)
    rgb = view.denormalise(image)
    srm, noiseprint = view.srm(rgb), view.noiseprint(rgb)
    expected = view(image)
    calls: list[str] = []
    view.srm.register_forward_hook(lambda *_: calls.append("srm"))
    view.noiseprint.register_forward_hook(lambda *_: calls.append("noiseprint"))
    torch.testing.assert_close(view(image, srm, noiseprint), expected)
    assert calls == []
    assert (view(image, srm + 1, noiseprint) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("weights", ["random", "published"])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_network_s_noise_view_does_not_feel_autocast(
    weights: str, precision: torch.dtype, shared_data: Callable[[str], Path]
) -> None:
    file = "random" if weights == "random" else str(shared_data("noiseprint++.th"))
    network = create_model("miniature", noise_sources="srm,bayar,noiseprint", noiseprint_weights=file)
    image = normalised(PHOTO)
    with torch.no_grad():
        expected = network(image).noise_view
        with torch.autocast("cpu", precision):
            view = network(image).noise_view
    assert view.dtype == torch.float32
    for channel in range(3):
        pair = torch.stack([view[0, channel].flatten(), expected[0, channel].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.9999


@pytest.mark.parametrize("sources", [("srm", "bayar"), NOISE_SOURCES])
def test_view_compiles_as_one_graph(sources: tuple[str, ...]) -> None:
    torch._dynamo.reset()
    view = NoiseView(sources)
    if view.noiseprint is not None:
        view.noiseprint.randomise()
    image = normalised(PHOTO)
    torch.testing.assert_close(torch.compile(view, fullgraph=True, backend="aot_eager")(image), view(image))


@pytest.mark.parametrize("training", [True, False])
def test_network_without_noiseprint_weights_names_the_cure_at_the_first_forward(training: bool) -> None:
    network = create_model("miniature", noise_sources="noiseprint").train(training)
    with pytest.raises(
        RequestError, match=r"NoisePrint\+\+ has no weights.*--noiseprint_weights FILE.*--noise_sources srm,bayar"
    ):
        network(forgery(1)[0])


def test_network_checkpoint_saved_without_noiseprint_weights_is_refused() -> None:
    state = create_model("miniature", noise_sources="srm,noiseprint").state_dict()
    network = create_model("miniature", noise_sources="srm,noiseprint", noiseprint_weights="random")
    with pytest.raises(RequestError, match=r"the checkpoint holds no NoisePrint\+\+ weights"):
        network.load_state_dict(state)


@pytest.mark.parametrize(
    ("stored", "own", "message"),
    [
        ("srm,bayar", "srm", "noise_sources=srm,bayar; expected noise_sources=srm; "),
        ("none", "bayar", "noise_sources=none; expected noise_sources=bayar; "),
        ("srm,bayar,noiseprint", "srm,bayar", "noise_sources=srm,bayar,noiseprint; expected noise_sources=srm,bayar; "),
    ],
)
def test_choice_of_sources_is_stored_with_the_weights(stored: str, own: str, message: str) -> None:
    state = create_model("miniature", noise_sources=stored, noiseprint_weights="random").state_dict()
    network = create_model("miniature", noise_sources=own)
    with pytest.raises(RequestError, match=rf"{message}pass the flags that it was trained with \(variant miniature\)"):
        network.load_state_dict(state)


def test_same_shapes_do_not_hide_another_choice_of_sources() -> None:
    # none and srm both give the fusion three channels
    state = tiny_network(noise_sources=()).state_dict()
    with pytest.raises(RequestError, match="noise_sources=none; expected noise_sources=srm"):
        QMANetwork(tiny_network(noise_sources=("srm",)).config).load_state_dict(state)


def test_paper_uses_all_three_sources() -> None:
    assert VARIANTS["paper"].noise_sources == ("srm", "bayar", "noiseprint")


def test_gain_amplifies_faint_noise_and_bounds_edges() -> None:
    plain, amplified = NoiseView(("srm",)), NoiseView(("srm",), residual_gain=4.0)
    residual = torch.tensor([0.01, -0.01, 3.0]).view(1, 3, 1, 1)
    assert torch.equal(plain._amplified(residual), residual)
    torch.testing.assert_close(
        amplified._amplified(residual).flatten(), torch.tensor([0.04, -0.04, 3.0]), rtol=0, atol=3e-3
    )


def test_gain_treats_the_loader_s_residual_like_its_own() -> None:
    view, image = NoiseView(("srm",), residual_gain=4.0), torch.randn(1, 3, 16, 16)
    known = view.srm(view.denormalise(image))
    torch.testing.assert_close(view(image, srm=known), view(image))
