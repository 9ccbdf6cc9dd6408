"""What every variant promises, on tiny sizes."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_networks import forgery, gradients, losses_of, tiny, tiny_network, training_losses
from torch import Tensor, nn

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import STAGES, VARIANTS, QMANetConfig
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.weights.builder import load_model


@pytest.fixture(scope="module", params=VARIANTS)
def built(request: pytest.FixtureRequest) -> QMANetwork:
    torch.manual_seed(0)
    return tiny_network(request.param)


@pytest.fixture
def network(built: QMANetwork) -> QMANetwork:
    """Each variant in training mode and without gradients; tests that change its tensors work on a copy."""
    built.train()
    built.zero_grad()
    return built


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 97), (96, 160), (160, 96)])
def test_probability_has_the_size_of_the_input(network: QMANetwork, height: int, width: int) -> None:
    with torch.inference_mode():
        probability = network.eval()(torch.randn(1, 3, height, width))
    assert probability.shape == (1, 1, height, width)
    assert probability.dtype == torch.float32
    assert 0 <= probability.min() < probability.max() <= 1


def test_training_returns_what_the_losses_need(network: QMANetwork) -> None:
    result = network(torch.randn(2, 3, 65, 97))
    assert result.mask_logits.shape == (2, 1, 65, 97)
    sizes = [(17, 25), (9, 13), (5, 7), (3, 4)]
    assert [tuple(edge.shape) for edge in result.edge_logits] == [(2, 1, *size) for size in sizes]
    for level, channels, size in zip(result.levels, network.config.widths, sizes, strict=True):
        assert level.rgb.shape == level.noise.shape == (2, channels, *size)
        if network.config.decoder == "query":
            assert level.queries.shape == (2, network.config.num_queries, channels)
        else:
            assert level.queries is None
    assert result.noise_view.shape == (2, 3, 65, 97)


def test_first_backward_reaches_every_parameter(network: QMANetwork) -> None:
    training_losses(network, *forgery(), network.config).total.backward()
    for name, parameter in network.named_parameters():
        if ".noiseprint." in name:
            assert not parameter.requires_grad, f"{name} is not frozen"
            assert parameter.grad is None, f"gradient for {name}"
            continue
        assert parameter.requires_grad, f"{name} is frozen"
        assert parameter.grad is not None, f"no gradient for {name}"
        assert parameter.grad.isfinite().all(), f"gradient of {name} is not finite"
        assert parameter.grad.abs().max() > 0, f"gradient of {name} is zero"


def test_saved_weights_come_back_with_their_configuration(network: QMANetwork, tmp_path: Path) -> None:
    state = network.state_dict()
    torch.save(state, tmp_path / "model.pth")
    for name, tensor in torch.load(tmp_path / "model.pth", weights_only=True).items():
        assert torch.equal(tensor, state[name]), name
    save_file(state, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == network.config
    assert not loaded.training
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(image), network.eval()(image))


def test_checkpointing_keeps_loss_and_gradients_and_saves_memory(network: QMANetwork) -> None:
    plain, checkpointed = _with_and_without_checkpointing(network)
    torch.testing.assert_close(checkpointed.pop("loss"), plain.pop("loss"))
    assert checkpointed.pop("stored") < 0.7 * plain.pop("stored")
    torch.testing.assert_close(checkpointed, plain, rtol=1e-4, atol=1e-6)


def test_checkpointing_draws_stochastic_depth_only_once() -> None:
    network = tiny_network("b2", drop_path=0.5, depths=(2, 2, 2, 2))
    plain, checkpointed = _with_and_without_checkpointing(network)
    del plain["stored"], checkpointed["stored"]
    torch.testing.assert_close(checkpointed, plain, rtol=1e-4, atol=1e-6)


def _with_and_without_checkpointing(network: QMANetwork) -> list[dict]:
    """Loss, gradients, and how many numbers the graph stores for backward, of a training step without and with it."""
    image, mask = forgery(1, 96, 96)
    outcomes = []
    for enabled in (False, True):
        network.set_checkpointing(enabled)
        network.zero_grad()
        torch.manual_seed(1)
        stored: dict[int, int] = {}

        def keep(tensor: Tensor, stored: dict[int, int] = stored) -> Tensor:
            stored[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = training_losses(network, image, mask, network.config).total
        loss.backward()
        outcomes.append({"loss": loss.detach(), "stored": sum(stored.values()), **gradients(network)})
    network.set_checkpointing(False)
    return outcomes


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_trains_with_finite_numbers(network: QMANetwork, precision: torch.dtype) -> None:
    image, mask = forgery(1, 64, 64)
    with torch.autocast("cpu", precision):
        result = network(image)
        loss = losses_of(result, mask, network.config).total
    assert result.levels[0].rgb.dtype == precision
    assert result.noise_view.dtype == torch.float32
    assert result.mask_logits.dtype == loss.dtype == torch.float32
    loss.backward()
    for name, gradient in gradients(network).items():
        assert gradient.isfinite().all(), f"gradient of {name} is not finite"


def test_channels_last_changes_nothing(network: QMANetwork) -> None:
    image = torch.randn(1, 3, 65, 97)
    channels_last = copy.deepcopy(network).eval().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        probability = channels_last(image.to(memory_format=torch.channels_last))
        torch.testing.assert_close(probability, network.eval()(image), rtol=0, atol=1e-5)


def test_network_built_on_the_meta_device_is_filled_by_a_state_dict(network: QMANetwork) -> None:
    with torch.device("meta"):
        empty = QMANetwork(network.config)
    assert {tensor.device.type for tensor in (*empty.parameters(), *empty.buffers())} == {"meta"}
    empty.load_state_dict(network.state_dict(), assign=True)
    for name, parameter in empty.named_parameters():
        assert torch.equal(parameter, network.get_parameter(name))


def test_deepcopy_is_equal_and_independent(network: QMANetwork) -> None:
    image = torch.randn(1, 3, 64, 64)
    twin = copy.deepcopy(network)
    own, others = ({p.data_ptr() for p in part.parameters()} for part in (network, twin))
    assert not own & others
    with torch.inference_mode():
        assert torch.equal(twin.eval()(image), network.eval()(image))


@pytest.mark.parametrize(("height", "width"), [(63, 128), (128, 63)])
def test_below_64_pixels_is_refused(network: QMANetwork, height: int, width: int) -> None:
    with pytest.raises(RequestError, match=rf"{width}x{height} pixels; expected 64 or more on each side; enlarge"):
        network(torch.zeros(1, 3, height, width))


def test_training_never_moves_noiseprint() -> None:
    network = tiny_network("paper").train()
    module = network.noise_view.noiseprint
    assert not any(part.training for part in module.modules())
    before = copy.deepcopy(module.state_dict())
    # everything is handed over, as the framework's trainer does
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        training_losses(network, *forgery(), network.config).total.backward()
        optimizer.step()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name} moved"


@pytest.mark.parametrize("variant", VARIANTS)
def test_compiles_as_one_graph(variant: str) -> None:
    # sizes and depths only resize and repeat what is traced; variants that differ in nothing else share one trace,
    # which takes seconds. NoisePrint++ in a compiled noise view: test_noise_view.py
    paper = VARIANTS["paper"]
    sizes = dict(embed_dim=8, heads=paper.heads, depths=(1, 1, 1, 1), decoder_width=8, edge_head_width=4)
    config = tiny(VARIANTS[variant], variant="", num_queries=4, noise_sources=("srm", "bayar"), **sizes)
    eager, compiled = _eager_and_compiled(config)
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)


class LightEncoder(nn.Module):
    """One convolution for a stage of the encoder, with its sizes."""

    def __init__(self, config: QMANetConfig) -> None:
        super().__init__()
        widths = (3, *config.widths)
        self.layers = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, stride=2 if i else 4, padding=1) for i in range(4)
        )

    def stage(self, index: int, features: Tensor) -> Tensor:
        return self.layers[index](features)


class LightAggregation(nn.Bilinear):
    """One layer for an MFAM, with its sizes."""

    def forward(self, queries: Tensor, rgb: Tensor, noise: Tensor) -> Tensor:
        means = (x.mean(dim=(2, 3)) for x in (rgb, noise))
        return queries + super().forward(*means)[:, None]


@functools.cache
def _eager_and_compiled(config: QMANetConfig) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Loss and gradients of a training step, eager and traced; a graph break is an error."""
    torch._dynamo.reset()
    network = QMANetwork(config)
    if (config.decoder, config.decoder_levels, config.interaction_stages) != ("query", STAGES, STAGES):
        # an ablation; the encoders and MFAMs, which it does not change, are in the trace of the paper's network
        network.gae, network.lae = LightEncoder(config), LightEncoder(config)
        if network.aggregation is not None:
            network.aggregation.levels = nn.ModuleList(LightAggregation(c, c, c) for c in config.widths)
    image, mask = forgery(1, 64, 64)
    outcomes = []
    for module in (network, torch.compile(network, fullgraph=True, backend="eager")):
        network.zero_grad()
        loss = training_losses(module, image, mask, config).total
        loss.backward()
        outcomes.append({"loss": loss.detach(), **gradients(network)})
    return outcomes[0], outcomes[1]
