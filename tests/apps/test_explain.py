"""Grad-CAM by the library equals Grad-CAM by hand; looking into a network leaves it as it was."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from qmanet_benco import VARIANTS, create_model, load_model, predict
from qmanet_benco.apps.engines.conversion import frozen
from qmanet_benco.apps.explain.explain import Explanation, draw, explain, labels, write_explanation
from qmanet_benco.apps.explain.panels import overlay
from qmanet_benco.apps.explain.probes import attention_weights, probed, without_interaction
from qmanet_benco.apps.predict import normalised
from qmanet_benco.cli.main import app
from qmanet_benco.errors import RequestError
from qmanet_benco.model.aggregation import Attention
from qmanet_benco.model.decoder import Level
from qmanet_benco.model.network import QMANetwork

pytest.importorskip("pytorch_grad_cam", reason="needs the extra [explain]")

SIDE = 64


def network(variant: str = "miniature", seed: int = 0, **changes: Any) -> QMANetwork:
    """A shrunk variant whose biases and branches are no longer at their symmetric start."""
    torch.manual_seed(seed)
    sizes = dict(embed_dim=8, depths=(1, 1, 1, 1), drop_path=0.0, decoder_width=16, edge_head_width=4)
    made = create_model(variant, backbone_weights="checkpoint", noise_sources="srm,bayar", **(sizes | changes))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    made.image_size = SIDE
    return made.eval()


def photo(height: int = 90, width: int = 120) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def mask(height: int = 90, width: int = 120) -> np.ndarray:
    plane = np.zeros((height, width), np.uint8)
    plane[10:50, 20:70] = 255
    return plane


def square(pixels: np.ndarray) -> Tensor:
    return normalised(cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))


def stretched(plane: Tensor) -> np.ndarray:
    """At the image's size, min-max scaled."""
    large = cv2.resize(plane.detach().numpy(), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return (large - large.min()) / (large.max() - large.min())


class Sum(nn.Module):
    def forward(self, rgb: Tensor, noise: Tensor) -> Tensor:
        return rgb + noise


class TwoChannels(nn.Module):
    """A decoder whose logit is 2 a - b of the first two channels of R_1 + N_1."""

    def __init__(self) -> None:
        super().__init__()
        self.fusions = nn.ModuleList([Sum()])

    def forward(self, levels: list[Level], size: Any) -> Tensor:
        fused = self.fusions[0](levels[0].rgb, levels[0].noise)
        return 2 * fused[:, :1] - fused[:, 1:2]


def test_panel_of_a_known_decoder_is_what_pencil_and_paper_give() -> None:
    """The gradients are 2 and -1 times one constant, so the panel is the positive part of 2 a - b."""
    model = network(decoder_levels=(1,))
    model.decoder = TwoChannels()
    found = explain(model, photo(), np.ones((90, 120)))
    with torch.no_grad():
        level = model.localize(square(photo()), edges=False).levels[0]
    first, second = (level.rgb + level.noise)[0, :2]
    expected = stretched((2 * first - second).clamp(min=0))
    assert not found.panels["RGB 4"].any()  # this decoder does not use it
    np.testing.assert_allclose(found.panels["fused 1"], expected, atol=1e-4)


class Logits(nn.Module):
    def __init__(self, model: QMANetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model.localize(image, edges=False).mask_logits


def tokens_as_map(tokens: Tensor) -> Tensor:
    side = int(tokens.shape[1] ** 0.5)
    return tokens.reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("variant", ["cp", "cd", "mlp"])
def test_panels_equal_the_library_s_own_run_on_each_layer_alone(variant: str) -> None:
    from pytorch_grad_cam import GradCAM

    model, target = network(variant), cv2.resize(mask(), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0
    panels = explain(model, photo(), mask()).panels
    fusions: Any = model.decoder.fusions if variant == "cp" else model.decoder.projections
    layers = {f"fused {level}": (fusion, None) for level, fusion in enumerate(fusions, 1)}
    if variant == "cp":
        layers |= {f"RGB {i + 1}": (model.gae.mit.layers[i][2], tokens_as_map) for i in range(4)}
        layers |= {f"noise {i + 1}": (model.lae.mit.layers[i][2], tokens_as_map) for i in range(4)}
    positive = 0
    for name, (layer, reshape) in layers.items():
        cam = GradCAM(Logits(model), [layer], reshape_transform=reshape)
        alone = cam(square(photo()), [lambda logits: logits[0][torch.from_numpy(target)].sum()])[0]
        cam.activations_and_grads.release()
        positive += alone.max() > 0.5
        np.testing.assert_allclose(panels[name], alone, atol=1e-3, err_msg=name)
    assert positive > len(layers) / 2


@settings(max_examples=15)
@given(st.sampled_from([8, 32, 64]), st.integers(1, 5), st.integers(1, 30), st.integers(0, 99))
def test_attention_weights_are_those_that_the_module_attends_with(
    channels: int, queries: int, keys: int, seed: int
) -> None:
    torch.manual_seed(seed)
    module, asking, asked = Attention(channels), torch.randn(2, queries, channels), torch.randn(2, keys, channels)
    weights = attention_weights(module, asking, asked)
    assert weights.shape == (2, module.heads, queries, keys)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, module.heads, queries))
    values = module.value(asked).unflatten(-1, (module.heads, -1)).transpose(1, 2)
    expected = module.projection((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(module(asking, asked, asked), expected, atol=1e-5, rtol=1e-4)


def test_queries_look_where_the_only_matching_token_is() -> None:
    """Keys equal the tokens, the queries equal token 5 of a 4 x 4 map: all of the attention is there."""
    model = network()
    attention = model.aggregation.levels[0].from_noise.attention
    tokens = torch.zeros(1, 16, 8)
    tokens[0, 5] = 1
    with torch.no_grad(), probed(model) as probes:
        attention.query.weight.copy_(torch.eye(8))
        attention.query.bias.zero_()
        attention.key.weight.copy_(torch.eye(8))
        attention(9 * torch.ones(1, 3, 8), tokens, tokens)
    expected = torch.zeros(1, 16)
    expected[0, 5] = 1
    torch.testing.assert_close(probes.attention["queries on noise 1"], expected, atol=1e-6, rtol=0)


def names(model: QMANetwork) -> set[str]:
    kinds = {f"{branch} {stage}" for branch in ("RGB", "noise") for stage in range(1, 5)}
    found = kinds | {f"fused {level}" for level in model.config.decoder_levels} | {"probability"}
    return found | ({f"queries on {kind}" for kind in kinds} if model.aggregation is not None else set())


def hooks_of(model: nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.modules()
    )


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_variant_has_its_panels_in_range_and_is_unchanged_bit_for_bit(variant: str) -> None:
    model = network(variant)
    model.gae.train()  # a mixture of modes, of trained parameters and of gradients survives
    model.lae.requires_grad_(False)
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = [parameter.requires_grad for parameter in model.parameters()]
    found = explain(model, photo(), mask())
    assert set(found.panels) == names(model)
    for name, panel in found.panels.items():
        assert panel.shape == (SIDE, SIDE), name
        assert panel.dtype == np.float32, name
        assert panel.min() >= 0, name
        assert panel.max() <= 1, name
    brightest = [panel.max() for name, panel in found.panels.items() if name != "probability"]
    assert set(brightest) <= {0, 1}
    assert np.mean(brightest) > 0.7
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == trained
    assert (model.gae.training, model.training) == (True, False)
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in list(model.parameters())[1:])
    assert hooks_of(model) == 0


def test_hooks_are_gone_after_a_failure_too() -> None:
    model = network()
    with pytest.raises(RequestError, match="without a tampered pixel"):
        explain(model, photo(), np.zeros((90, 120)))
    with pytest.raises(KeyError), probed(model), frozen(model):
        raise KeyError
    assert hooks_of(model) == 0
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_probability_is_the_model_s_own_also_for_a_caller_in_inference_mode() -> None:
    model = network()
    with torch.inference_mode():
        found = explain(model, photo()).panels["probability"]
    own = predict(model, cv2.resize(photo(), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)).probability
    np.testing.assert_allclose(found, own, atol=1e-6)


def with_bias(model: QMANetwork, bias: float) -> QMANetwork:
    with torch.no_grad():
        model.decoder.head.bias.fill_(bias)
    return model


def test_target_is_what_the_model_calls_tampered_or_the_mask_or_the_most_suspicious() -> None:
    model = network()
    model = with_bias(model, 0.0)
    with torch.no_grad():
        logits = model.localize(square(photo()), edges=False).mask_logits[0, 0]
    middle = float(logits.median())
    called = (predict(with_bias(model, -middle), photo(SIDE, SIDE)).mask).astype(np.uint8)
    assert 0.05 < called.mean() < 0.95
    by_itself, given = explain(model, photo(SIDE, SIDE)), explain(model, photo(SIDE, SIDE), called)
    assert "calls tampered" in by_itself.target
    assert "given mask" in given.target
    for name, panel in given.panels.items():
        np.testing.assert_allclose(by_itself.panels[name], panel, atol=1e-4, err_msg=name)
    nothing = explain(with_bias(model, -100.0), photo())
    assert "calls none tampered" in nothing.target
    assert "(1.0% of the image)" in nothing.target
    assert nothing.panels["fused 4"].max() > 0


def test_interaction_switched_off_is_the_network_that_has_none() -> None:
    model, bare = network(), network(interaction_stages=())
    state = {n: t for n, t in model.state_dict().items() if not n.startswith("interactions") and n != "_extra_state"}
    bare.load_state_dict(state | {"_extra_state": bare.state_dict()["_extra_state"]})
    image = square(photo())
    with torch.no_grad():
        expected, whole = bare(image), model(image)
        with without_interaction(model):
            torch.testing.assert_close(model(image), expected)
        assert (expected - whole).abs().max() > 1e-3
        assert torch.equal(model(image), whole)
    with without_interaction(model):
        off = explain(model, photo(), mask()).panels
    for name, panel in explain(bare, photo(), mask()).panels.items():
        np.testing.assert_allclose(off[name], panel, atol=1e-3, err_msg=name)
    with pytest.raises(RequestError, match="no interaction"), without_interaction(bare):
        pass


def test_a_prediction_in_another_thread_is_neither_seen_nor_changed() -> None:
    model, image, seen = network(), square(photo()), []
    with torch.no_grad():
        expected = model(image)

    def work() -> None:
        with torch.no_grad():
            seen.append(model(image))

    with probed(model) as probes, without_interaction(model):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert torch.equal(seen[0], expected)
    assert not probes.features
    assert not probes.attention


# figures and files


def test_overlay_is_red_where_the_panel_is_one_and_blue_where_it_is_zero() -> None:
    panel = np.zeros((8, 8), np.float32)
    panel[:, 4:] = 1
    covered = overlay(np.full((16, 20, 3), 128, np.uint8), panel).astype(int)
    assert covered.shape == (16, 20, 3)
    assert (covered[:, -1, 0] > covered[:, -1, 2] + 40).all()
    assert (covered[:, 0, 2] > covered[:, 0, 0] + 40).all()


@pytest.mark.parametrize("shape", [(90, 120), (400, 30), (700, 900)])
def test_figure_shows_photo_mask_predictions_and_every_panel(shape: tuple[int, int]) -> None:
    found = {"a": explain(network("sl"), photo(*shape)), "b": explain(network("cd"), photo(*shape))}
    figure = draw(found, photo(*shape), mask(*shape))
    pictures = [axis for part in figure.subfigs for axis in part.axes if axis.images]
    assert len(pictures) == 4 + (8 + 1 + 8) + (8 + 4)  # photo, mask, two predictions; sl decodes one level
    words = [axis.get_title() for axis in pictures]
    assert {"photo", "mask", "prediction of a", "RGB (GAE) 1", "noise (LAE) 4", "fused 4"} <= set(words)
    assert "target" in figure.get_supxlabel()
    with pytest.raises(RequestError, match="no explanation"):
        draw({}, photo(), None)
    with pytest.raises(RequestError, match="mask of shape"):
        draw(found, photo(*shape), photo(*shape))


def test_explanation_of_two_models_with_and_without_interaction_is_one_file(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "p.png")
    Image.fromarray(mask()).save(tmp_path / "m.png")
    models = {"full": network(), "cp": network("cp")}
    found = write_explanation(
        tmp_path / "p.png", tmp_path / "out.png", models, mask=tmp_path / "m.png", interaction_off=True
    )
    assert list(found) == ["full", "full, interaction off", "cp"]
    assert all(isinstance(each, Explanation) and "given mask" in each.target for each in found.values())
    with Image.open(tmp_path / "out.png") as picture:
        assert min(picture.size) > 500
    assert {path.name for path in tmp_path.iterdir()} == {"p.png", "m.png", "out.png"}


def test_requests_that_make_no_sense_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(photo()).save(tmp_path / "p.png")
    with pytest.raises(RequestError, match=r"\.png, \.pdf, \.svg"):
        write_explanation(tmp_path / "p.png", tmp_path / "out.bmp", {"a": network()})
    for name in ("p.png", "./sub/../p.png"):
        with pytest.raises(RequestError, match="also read"):
            write_explanation(tmp_path / "p.png", tmp_path / name, {"a": network()})
    with pytest.raises(RequestError, match="have none"):
        write_explanation(tmp_path / "p.png", tmp_path / "o.png", {"a": network("cp")}, interaction_off=True)
    with pytest.raises(RequestError, match="64 pixels"):
        explain(network(), photo(), image_size=32)
    with pytest.raises(RequestError, match="mask of shape"):
        explain(network(), photo(), photo())
    with pytest.raises(RequestError, match=r"mask of shape \(120, 90\).*\(90, 120\)"):
        explain(network(), photo(), mask(120, 90))
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(RequestError, match=r"qmanet-benco\[explain\]"):
        explain(network(), photo())
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_labels_tell_models_apart() -> None:
    assert labels(["demo"]) == ["demo"]
    assert labels(["runs/a.pth", "owner/name"]) == ["a", "owner/name"]
    assert len(set(labels(["a/model.pth", "b/model.pth"]))) == len(set(labels(["demo", "demo"]))) == 2


def test_command_writes_the_figure_and_names_the_target(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "p.jpg")
    torch.save(network("ss").state_dict(), tmp_path / "ss.pth")
    command = f"explain {tmp_path}/p.jpg --weights demo --compare {tmp_path}/ss.pth --out {tmp_path}/e.png"
    ended = CliRunner().invoke(app, [*command.split(), "--image-size", "64"])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == f"{tmp_path}/e.png\n"
    assert "ss: 21 panels; Grad-CAM's target: " in ended.stderr
    assert (tmp_path / "e.png").is_file()


def test_demonstration_model_explains_a_photo() -> None:
    demo = load_model("demo")
    assert explain(demo, photo()).panels["RGB 1"].shape == (demo.image_size, demo.image_size)
