"""Alignment and DFCM against equations 2 to 4 written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import tiny
from torch import Tensor, nn

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import VARIANTS
from qmanet_benco.model.interaction import DFCM, CrossAttention, FeatureAlignment, GroupConvolution, Interaction

PAPER = tiny(VARIANTS["paper"])


def features(stage: int, height: int = 9, width: int = 14) -> tuple[Tensor, Tensor]:
    shape = (2, PAPER.widths[stage], height, width)
    return torch.randn(shape), torch.randn(shape)


def disturb(module: nn.Module) -> nn.Module:
    """Random values in every parameter, also in those that start at zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.2)
    return module


def test_alignment_starts_as_the_identity() -> None:
    rgb, _ = features(0)
    assert torch.equal(FeatureAlignment(rgb.shape[1])(rgb), rgb)


def test_alignment_is_x_plus_a_convolution_of_the_normed_x() -> None:
    rgb, _ = features(1)
    align = disturb(FeatureAlignment(rgb.shape[1]))
    normed = F.layer_norm(rgb.permute(0, 2, 3, 1), (rgb.shape[1],), eps=1e-6)
    weight = align.projection.weight[:, :, 0, 0]
    expected = rgb + (normed @ weight.T + align.projection.bias).permute(0, 3, 1, 2)
    torch.testing.assert_close(align(rgb), expected, rtol=1e-5, atol=1e-5)


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 2, 3, 4, 8]))
def test_group_convolution_reduces_to_the_ceiling(height: int, width: int, stride: int) -> None:
    reduced = GroupConvolution(8, 8, stride)(torch.zeros(1, 8, height, width))
    assert reduced.shape == (1, 8, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_group_convolution_overlooks_no_pixel(stride: int) -> None:
    convolution = GroupConvolution(8, 8, stride)
    nn.init.ones_(convolution.weight)
    image = torch.zeros(1, 8, 21, 34, requires_grad=True)
    convolution(image).sum().backward()
    assert (image.grad > 0).all()


def naive_attention(attention: CrossAttention, asking: Tensor, asked: Tensor, groups: int, stride: int) -> Tensor:
    """Equation 4's Attn with every product written out."""

    def convolved(layer: nn.Conv2d, x: Tensor, stride: int) -> Tensor:
        kernel = layer.weight.shape[-1]
        return F.conv2d(x, layer.weight, stride=stride, padding=kernel // 2, groups=groups)

    q = convolved(attention.query, asking, 1)
    k, v = convolved(attention.key, asked, stride), convolved(attention.value, asked, stride)
    batch, channels, height, width = q.shape
    size = channels // attention.heads
    retrieved = torch.zeros(batch, channels, height * width)
    for head in range(attention.heads):
        part = slice(head * size, (head + 1) * size)
        scores = torch.einsum("bcl,bcs->bls", q[:, part].flatten(2), k[:, part].flatten(2)) / size**0.5
        weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        retrieved[:, part] = torch.einsum("bls,bcs->bcl", weights, v[:, part].flatten(2))
    return attention.projection(retrieved.view(batch, channels, height, width))


@pytest.mark.parametrize("stage", range(4))
def test_cross_attention_is_equation_4(stage: int) -> None:
    heads, groups, stride = PAPER.heads[stage], PAPER.gcm_groups, PAPER.reductions[stage]
    attention = disturb(CrossAttention(PAPER.widths[stage], heads, groups, stride))
    rgb, noise = features(stage)
    expected = naive_attention(attention, rgb, noise, groups, stride)
    torch.testing.assert_close(attention(rgb, noise), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_dfcm_is_recalibration_attention_both_ways_and_residuals(shared: bool) -> None:
    config = tiny(VARIANTS["paper"], shared_gcm=shared)
    dfcm = disturb(DFCM(config, 1))
    rgb, noise = features(1)
    rgb_middle = rgb * _gate(dfcm.rgb_recalibration, rgb)
    noise_middle = noise * _gate(dfcm.noise_recalibration, noise)
    groups, stride = config.gcm_groups, config.reductions[1]
    first, last = dfcm.attentions[0], dfcm.attentions[-1]
    expected = (
        rgb + naive_attention(first, rgb_middle, noise_middle, groups, stride),
        noise + naive_attention(last, noise_middle, rgb_middle, groups, stride),
    )
    torch.testing.assert_close(dfcm(rgb, noise), expected, rtol=0, atol=1e-5)


def _gate(recalibration: nn.Module, x: Tensor) -> Tensor:
    """Gamma of equation 3: average pooling, a projection head with a bottleneck, sigmoid."""
    pooled = x.mean(dim=(2, 3), keepdim=True)
    hidden = F.relu(F.conv2d(pooled, recalibration.fc1.weight, recalibration.fc1.bias))
    return F.conv2d(hidden, recalibration.fc2.weight, recalibration.fc2.bias).sigmoid()


def test_recalibration_has_the_configured_bottleneck() -> None:
    dfcm = DFCM(tiny(VARIANTS["paper"], recalibration_reduction=2), 3)
    channels = PAPER.widths[3]
    assert dfcm.rgb_recalibration.fc1.weight.shape == (channels // 2, channels, 1, 1)


def test_modalities_have_their_own_recalibration() -> None:
    dfcm = DFCM(PAPER, 0)
    assert dfcm.rgb_recalibration is not dfcm.noise_recalibration


@pytest.mark.parametrize("stage", range(4))
def test_dfcm_whose_attention_returns_nothing_is_the_identity(stage: int) -> None:
    dfcm = DFCM(PAPER, stage)
    for attention in dfcm.attentions:
        nn.init.zeros_(attention.projection.weight)
        nn.init.zeros_(attention.projection.bias)
    rgb, noise = features(stage)
    rgb_after, noise_after = dfcm(rgb, noise)
    assert torch.equal(rgb_after, rgb)
    assert torch.equal(noise_after, noise)


def test_shared_gcm_has_one_set_of_weights_and_separate_has_two() -> None:
    shared, separate = (DFCM(tiny(VARIANTS["paper"], shared_gcm=value), 0) for value in (True, False))
    assert len(shared.attentions) == 1
    first, second = separate.attentions
    assert not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert not torch.equal(first.query.weight, second.query.weight)


def test_only_rgb_goes_back_aligned_and_the_last_stage_has_nowhere_to_go() -> None:
    assert isinstance(Interaction(PAPER, 0).align_back, FeatureAlignment)
    assert isinstance(Interaction(PAPER, 3).align_back, nn.Identity)


def test_interaction_guides_the_aligned_rgb_with_the_noise() -> None:
    interaction = disturb(Interaction(PAPER, 1))
    rgb, noise = features(1)
    expected = interaction.cross_guide(interaction.align(rgb), noise)
    torch.testing.assert_close(interaction(rgb, noise), expected)
    assert not torch.allclose(interaction.align(rgb), rgb)


def test_groups_that_do_not_divide_the_widths_are_refused() -> None:
    with pytest.raises(RequestError, match="gcm_groups 7"):
        Interaction(tiny(VARIANTS["paper"], gcm_groups=7), 0)
