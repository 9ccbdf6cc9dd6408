"""The whole network: the paper's budget, numbers that stay sane, and weights that only fit their own architecture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_networks import forgery, gradients, tiny, tiny_network, training_losses
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import VARIANTS
from qmanet_benco.model.network import QMANetwork, image_score
from qmanet_benco.model.weights.trained import TRAINING_FIELDS

pytestmark = pytest.mark.compat

DECODERS = ("paper", "cd", "mlp", "sl")


def attention_cost(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Two products of B x heads x L x S x D; torch's counter knows CUDA's kernels but not the CPU's."""
    batch, heads, length, width = query
    return 4 * batch * heads * length * key[2] * width


@pytest.fixture(scope="module")
def paper() -> QMANetwork:
    """The paper's network without values in its tensors: only shapes are asked for."""
    with torch.device("meta"):
        network = QMANetwork(VARIANTS["paper"])
    network.to_empty(device="cpu")
    network.noise_view.noiseprint.filled = True
    return network.eval()


@pytest.fixture(scope="module")
def paper_cost(paper: QMANetwork) -> dict[str, float]:
    """Multiply-adds of each module in G at 1 x 3 x 512 x 512, scaled_dot_product_attention included."""
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={fused: attention_cost})
    with FakeTensorMode(allow_non_fake_inputs=True), counter, torch.no_grad():
        paper(torch.empty(1, 3, 512, 512))
    counts = counter.get_flop_counts()
    assert counts["Global"][fused] > 0
    return {name.removeprefix("QMANetwork."): sum(ops.values()) / 2e9 for name, ops in counts.items()}


def test_paper_s_network_has_114_million_parameters(paper: QMANetwork) -> None:
    total = sum(parameter.numel() for parameter in paper.parameters()) / 1e6
    assert total == pytest.approx(114.0, rel=0.01)


def test_paper_s_network_takes_230_billion_multiply_adds(paper_cost: dict[str, float]) -> None:
    assert paper_cost["Global"] == pytest.approx(230.0, rel=0.02)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("noise_view", 0.56),
        ("gae", 44.07),
        ("lae", 44.07),
        ("interactions", 2.72),
        ("aggregation", 14.5),
        ("decoder", 6.73),
        ("edge_heads", 0.59),
    ],
)
def test_parameters_are_where_the_design_puts_them(paper: QMANetwork, name: str, millions: float) -> None:
    part = sum(parameter.numel() for parameter in paper.get_submodule(name).parameters()) / 1e6
    assert part == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize(("name", "billions"), [("noise_view", 145.7), ("decoder", 5.4)])
def test_multiply_adds_are_where_the_design_puts_them(paper_cost: dict[str, float], name: str, billions: float) -> None:
    assert paper_cost[name] == pytest.approx(billions, rel=0.05)


@pytest.mark.parametrize("variant", ["paper", "cd", "mlp"])
@pytest.mark.parametrize("truth", ["authentic", "all tampered", "one pixel", "mixed"])
@pytest.mark.parametrize("picture", ["noise", "constant"])
def test_numbers_stay_sane(variant: str, truth: str, picture: str) -> None:
    network = tiny_network(variant, noise_sources=("srm", "bayar"))
    image, mask = forgery(2 if truth == "mixed" else 1, 64, 64)
    if picture != "noise":
        image = torch.full_like(image, 2.5)
    if truth == "mixed":
        mask[0] = 0
    else:
        mask = torch.full_like(mask, float(truth == "all tampered"))
        mask[0, 0, 30, 40] = float(truth != "authentic")
    losses = training_losses(network, image, mask, network.config)
    for loss in (losses.total, losses.segmentation, *losses.edge_levels):
        assert 0 <= loss.item() <= 1
    losses.total.backward()
    for name, gradient in gradients(network).items():
        assert gradient.isfinite().all(), f"gradient of {name} is not finite"
    assert all(gradient.abs().max() > 1e-6 for name, gradient in gradients(network).items() if "decoder.head" in name)


@pytest.mark.parametrize("variant", ["paper", "mlp"])
def test_authentic_images_teach_the_network_to_predict_nothing(variant: str) -> None:
    network = tiny_network(variant, noise_sources=("srm", "bayar"))
    image, mask = torch.randn(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    history = []
    for _ in range(12):
        optimizer.zero_grad()
        losses = training_losses(network, image, mask, network.config)
        losses.total.backward()
        optimizer.step()
        history.append(losses.total.item())
    assert history[-1] < 0.5 * history[0]
    with torch.inference_mode():
        assert network.eval()(image).mean() < 0.3


def test_network_learns_where_the_rectangles_are() -> None:
    network = tiny_network()
    image, mask = forgery(1, 64, 64)
    image = image + 2 * mask
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    history = []
    for _ in range(20):
        optimizer.zero_grad()
        losses = training_losses(network, image, mask, network.config)
        losses.total.backward()
        optimizer.step()
        history.append(losses.segmentation.item())
    assert history[-1] < 0.5 * history[0]


def test_alternation_is_equations_1_to_6() -> None:
    network = tiny_network("paper", noise_sources=("srm",)).eval()
    with torch.no_grad():
        for parameter in network.interactions.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # alignments start as identities
        image = torch.randn(1, 3, 64, 96)
        levels = network.localize(image).levels
        rgb, noise = image, network.noise_view(image)
        queries = network.aggregation.tamper_queries[None]
        for index, level in enumerate(levels):
            interaction, mfam = network.interactions[str(index + 1)], network.aggregation.levels[index]
            rgb, noise = network.gae.stage(index, rgb), network.lae.stage(index, noise)
            rgb, noise = interaction.cross_guide(interaction.align(rgb), noise)
            queries = mfam(queries, rgb, noise)
            torch.testing.assert_close(tuple(level), (rgb, noise, queries), rtol=1e-4, atol=1e-5)
            if index < 3:
                rgb = interaction.align_back(rgb)
                queries = network.aggregation.transitions[index](queries)


def test_eval_mode_computes_no_edges() -> None:
    network = tiny_network().eval()
    calls: list[int] = []
    for head in network.edge_heads:
        head.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        network(torch.randn(1, 3, 64, 64))
        assert not calls
        assert network.localize(torch.randn(1, 3, 64, 64), edges=False).edge_logits == ()
        assert len(network.localize(torch.randn(1, 3, 64, 64)).edge_logits) == len(calls) == 4


def test_probability_is_the_sigmoid_of_the_logits() -> None:
    network = tiny_network().eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), network.localize(image).mask_logits.sigmoid())


@pytest.mark.parametrize("variant", DECODERS)
def test_images_of_a_batch_do_not_influence_each_other(variant: str) -> None:
    network = tiny_network(variant, noise_sources=("srm", "bayar")).eval()
    images = torch.randn(3, 3, 64, 96)
    with torch.inference_mode():
        together = network(images)
        for index in range(3):
            torch.testing.assert_close(
                together[index : index + 1], network(images[index : index + 1]), rtol=0, atol=1e-5
            )


def test_stages_without_interaction_keep_the_modalities_apart() -> None:
    image = torch.randn(1, 3, 64, 64)
    apart, guided = (tiny_network(variant, noise_sources=("srm",)).eval() for variant in ("ss", "paper"))
    for network, expected in ((apart, True), (guided, False)):
        with torch.inference_mode():
            before = network.localize(image).levels
            network.noise_view.fusion.weight.add_(1)
            after = network.localize(image).levels
        assert [torch.equal(b.rgb, a.rgb) for b, a in zip(before, after, strict=True)] == [expected] * 3 + [False]


def test_equation_4_as_printed_adds_the_initial_feature() -> None:
    aligned, initial = (tiny_network("paper", residual=residual).eval() for residual in ("aligned", "initial"))
    initial.load_state_dict(aligned.state_dict() | {"_extra_state": initial.get_extra_state()})
    rgb, noise = torch.randn(1, aligned.config.widths[0], 16, 16), torch.randn(1, aligned.config.widths[0], 16, 16)
    with torch.no_grad():
        for network in (aligned, initial):
            network.interactions["1"].align.projection.weight.fill_(0.1)
        first, second = (network.interactions["1"](rgb, noise) for network in (aligned, initial))
        moved = aligned.interactions["1"].align(rgb) - rgb
    torch.testing.assert_close(first[0] - second[0], moved, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first[1], second[1])


def test_cp_may_keep_the_alignment() -> None:
    network = tiny_network("cp", keep_alignment=True)
    assert len(network.interactions) == 4
    assert all(interaction.cross_guide is None for interaction in network.interactions.values())
    network.eval()
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 1, 64, 64)


def test_edges_supervise_the_rgb_branch_only() -> None:
    network = tiny_network("cp", noise_sources=("srm", "bayar"))
    sum(edge.sum() for edge in network(torch.randn(1, 3, 64, 64)).edge_logits).backward()
    reached = {name.split(".")[0] for name in gradients(network)}
    assert reached == {"gae", "edge_heads"}


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 4, 64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        RequestError, match=rf"an image tensor of shape \({', '.join(map(str, shape))}\); expected B x 3"
    ):
        tiny_network()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("stored", "own", "message"),
    [
        (dict(num_queries=4), dict(num_queries=16), "num_queries=4; expected num_queries=16"),
        (dict(decoder="mlp"), dict(), "decoder=mlp; expected decoder=query"),
        (dict(literal_first_block=True), dict(), "literal_first_block=True; expected literal_first_block=False"),
        (
            dict(interaction_stages=()),
            dict(interaction_stages=(4,)),
            "interaction_stages=none; expected interaction_stages=4",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused_with_both_values(stored: dict, own: dict, message: str) -> None:
    state = tiny_network(**stored).state_dict()
    network = tiny_network(**own)
    before = {name: tensor.clone() for name, tensor in network.named_parameters()}
    with pytest.raises(RequestError, match=rf"the weights are of a network with {message}; pass the flags"):
        network.load_state_dict(state)
    for name, tensor in network.named_parameters():
        assert torch.equal(tensor, before[name]), f"{name} was overwritten"


def test_settings_of_training_may_differ_between_saving_and_loading() -> None:
    changes = dict(
        variant="paper",
        drop_path=0.3,
        segmentation_weight=1.0,
        edge_weight=0.0,
        bce_weight=1.0,
        edge_width=3,
        dice="batch",
    )
    assert set(changes) == TRAINING_FIELDS
    network = tiny_network()
    network.load_state_dict(QMANetwork(tiny(VARIANTS["miniature"], **changes)).state_dict())
    assert network.config == tiny(VARIANTS["miniature"])


def test_image_score_is_the_mean_of_the_most_suspicious_thousandth() -> None:
    probability = torch.zeros(2, 1, 50, 80)
    probability[0, 0, 3, :4] = torch.tensor([1.0, 0.5, 0.25, 0.25])  # 4 of 4000 pixels
    probability[1] = 0.3
    torch.testing.assert_close(image_score(probability), torch.tensor([0.5, 0.3]))


def test_image_score_of_a_small_image_is_its_maximum() -> None:
    probability = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(image_score(probability), probability.amax(dim=(1, 2, 3)))


def test_image_score_does_not_look_at_padding() -> None:
    probability, valid = torch.full((1, 1, 64, 64), 0.9), torch.zeros(1, 1, 64, 64)
    valid[..., :32, :32] = 1
    probability[..., :32, :32] = 0.1
    torch.testing.assert_close(image_score(probability, valid), torch.tensor([0.1]))
