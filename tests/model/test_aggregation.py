"""Tamper-aware queries and MFAM against torch's own multi-head attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import tiny
from torch import Tensor, nn

from qmanet_benco.model.aggregation import HEAD_WIDTH, MFAM, Attention, QueryAggregation, TransformerBlock
from qmanet_benco.model.config import VARIANTS

CHANNELS = 3 * HEAD_WIDTH
QUERIES = 5


def disturb(module: nn.Module) -> nn.Module:
    """Random values in every parameter, also in the norms'."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.1)
    return module


def level() -> tuple[Tensor, Tensor, Tensor]:
    """Queries B x N x C and both modalities B x C x h x w."""
    return torch.randn(2, QUERIES, CHANNELS), torch.randn(2, CHANNELS, 4, 6), torch.randn(2, CHANNELS, 4, 6)


def torch_attention(ours: Attention) -> nn.MultiheadAttention:
    """torch's layer with the same weights."""
    layer = nn.MultiheadAttention(CHANNELS, ours.heads, batch_first=True)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        layer.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros(CHANNELS), ours.value.bias]))
        layer.out_proj.load_state_dict(ours.projection.state_dict())
    return layer


def naive_block(block: TransformerBlock, queries: Tensor, keys: Tensor | None, values: Tensor | None) -> Tensor:
    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        return F.layer_norm(x, (CHANNELS,), layer.weight, layer.bias, layer.eps)

    normed = norm(block.query_norm, queries)
    keys = normed if keys is None else keys
    attended, _ = torch_attention(block.attention)(normed, keys, keys if values is None else values)
    queries = queries + attended
    first, second = block.feed_forward.fc1, block.feed_forward.fc2
    hidden = F.gelu(F.linear(norm(block.feed_forward_norm, queries), first.weight, first.bias))
    return queries + F.linear(hidden, second.weight, second.bias)


def naive_mfam(mfam: MFAM, queries: Tensor, rgb: Tensor, noise: Tensor, first_values: str) -> Tensor:
    tokens = {}
    for name, layer, x in (("rgb", mfam.rgb_norm, rgb), ("noise", mfam.noise_norm, noise)):
        rows = x.permute(0, 2, 3, 1).reshape(len(x), -1, CHANNELS)
        tokens[name] = F.layer_norm(rows, (CHANNELS,), layer.weight, layer.bias, layer.eps)
    queries = naive_block(mfam.from_rgb, queries, tokens["rgb"], tokens[first_values])
    queries = naive_block(mfam.from_noise, queries, tokens["noise"], tokens["noise"])
    return naive_block(mfam.from_queries, queries, None, None)


@pytest.mark.parametrize(("literal", "first_values"), [(False, "rgb"), (True, "noise")])
def test_mfam_attends_to_rgb_then_noise_then_the_queries(literal: bool, first_values: str) -> None:
    mfam = disturb(MFAM(CHANNELS, tiny(VARIANTS["paper"], literal_first_block=literal)))
    inputs = level()
    expected = naive_mfam(mfam, *inputs, first_values)
    torch.testing.assert_close(mfam(*inputs), expected, rtol=1e-4, atol=1e-5)


def test_literal_first_block_changes_what_is_retrieved() -> None:
    choice, literal = (MFAM(CHANNELS, tiny(VARIANTS["paper"], literal_first_block=value)) for value in (False, True))
    literal.load_state_dict(disturb(choice).state_dict())
    inputs = level()
    assert (choice(*inputs) - literal(*inputs)).abs().max() > 1e-2


def test_a_bias_on_the_keys_would_change_nothing() -> None:
    attention = disturb(Attention(CHANNELS))
    layer = torch_attention(attention)
    with torch.no_grad():
        layer.in_proj_bias[CHANNELS : 2 * CHANNELS].normal_()
    queries, keys = torch.randn(2, QUERIES, CHANNELS), torch.randn(2, 24, CHANNELS)
    torch.testing.assert_close(attention(queries, keys, keys), layer(queries, keys, keys)[0], rtol=1e-4, atol=1e-5)


def test_queries_do_not_depend_on_the_order_of_the_pixels() -> None:
    mfam = disturb(MFAM(CHANNELS, tiny(VARIANTS["paper"])))
    queries, rgb, noise = level()
    torch.testing.assert_close(
        mfam(queries, rgb.flip(2, 3), noise.flip(3)), mfam(queries, rgb, noise), rtol=1e-4, atol=1e-5
    )


def test_feed_forward_has_the_configured_ratio() -> None:
    mfam = MFAM(CHANNELS, tiny(VARIANTS["paper"], query_ffn_ratio=3))
    for block in (mfam.from_rgb, mfam.from_noise, mfam.from_queries):
        assert block.feed_forward.fc1.weight.shape == (3 * CHANNELS, CHANNELS)


@pytest.mark.parametrize("variant", ["q4", "q8", "paper", "q32"])
def test_every_image_starts_with_the_same_queries(variant: str) -> None:
    config = tiny(VARIANTS[variant])
    aggregation = QueryAggregation(config)
    initial = aggregation.initial(3)
    assert initial.shape == (3, config.num_queries, config.widths[0])
    for queries in initial:
        assert torch.equal(queries, aggregation.tamper_queries)


def test_queries_differ_from_each_other_at_the_start() -> None:
    queries = QueryAggregation(tiny(VARIANTS["paper"])).tamper_queries
    distances = torch.cdist(queries, queries) + 10 * torch.eye(len(queries))
    assert distances.min() > 1


def test_queries_take_the_width_of_the_next_level() -> None:
    config = tiny(VARIANTS["paper"])
    aggregation = QueryAggregation(config)
    queries = aggregation.initial(2)
    for index, width in enumerate(config.widths[1:]):
        queries = aggregation.next_level(index, queries)
        assert queries.shape == (2, config.num_queries, width)
