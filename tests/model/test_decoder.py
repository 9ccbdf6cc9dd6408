"""The three decoders against equation 7 and SegFormer's head written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import tiny
from torch import Tensor, nn

from qmanet_benco.model.config import VARIANTS, QMANetConfig
from qmanet_benco.model.decoder import DCM, DECODER_CLASSES, Level, upsample

SIZE = (17, 25)
SIZES = [SIZE, (9, 13), (5, 7), (3, 4)]


def levels_of(config: QMANetConfig) -> list[Level]:
    chosen = []
    for level in config.decoder_levels:
        channels, size = config.widths[level - 1], SIZES[level - 1]
        queries = torch.randn(2, config.num_queries, channels) if config.decoder == "query" else None
        chosen.append(Level(torch.randn(2, channels, *size), torch.randn(2, channels, *size), queries))
    return chosen


def built(variant: str) -> tuple[QMANetConfig, nn.Module]:
    """The variant's decoder with random values in every parameter."""
    config = tiny(VARIANTS[variant])
    decoder = DECODER_CLASSES[config.decoder](config)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(std=0.2)
    return config, decoder


def layer_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """Over the channels of B x C x h x w."""
    normed = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), layer.weight, layer.bias, layer.eps)
    return normed.permute(0, 3, 1, 2)


def bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, SIZE, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("variant", ["paper", "q4", "q32", "sl"])
def test_query_decoder_weights_the_fused_pixels(variant: str) -> None:
    config, decoder = built(variant)
    levels = levels_of(config)
    maps = []
    for level, fusion, norm in zip(levels, decoder.fusions, decoder.query_norms, strict=True):
        channels = level.rgb.shape[1]
        queries = F.layer_norm(level.queries, (channels,), norm.weight, norm.bias, norm.eps) / channels**0.5
        maps.append(bilinear(torch.einsum("bnc,bchw->bnhw", queries, fusion(level.rgb, level.noise))))
    stacked = torch.cat(maps, dim=1)
    assert stacked.shape[1] == len(config.decoder_levels) * config.num_queries
    expected = torch.einsum("bnhw,n->bhw", stacked, decoder.head.weight[0, :, 0, 0])[:, None] + decoder.head.bias
    torch.testing.assert_close(decoder(levels, SIZE), expected, rtol=1e-4, atol=1e-5)


def test_single_level_decoder_sees_level_4_only() -> None:
    config, decoder = built("sl")
    assert len(decoder.fusions) == 1
    assert decoder.fusions[0].reduce.in_channels == 2 * config.widths[3]


def test_dcm_adds_one_dilated_convolution_for_each_rate() -> None:
    dcm = DCM(16, 12, (1, 2, 5))
    rgb, noise = torch.randn(2, 16, 13, 11), torch.randn(2, 16, 13, 11)
    x = F.conv2d(torch.cat([rgb, noise], dim=1), dcm.reduce.weight, dcm.reduce.bias)
    for rate, (norm, _, convolution) in zip((1, 2, 5), dcm.dilated, strict=True):
        x = x + F.conv2d(F.gelu(layer_norm(norm, x)), convolution.weight, convolution.bias, padding=rate, dilation=rate)
    expected = layer_norm(dcm.norm, F.conv2d(x, dcm.expand.weight, dcm.expand.bias))
    torch.testing.assert_close(dcm(rgb, noise), expected, rtol=1e-5, atol=1e-5)


def test_dcm_sees_every_pixel_of_its_field_without_holes() -> None:
    dcm = DCM(8, 8, (1, 2, 5))
    for norm, _, _ in dcm.dilated:
        norm.forward = lambda x: x  # a norm over channels hides nothing; without it the gradients are plain sums
    dcm.norm.forward = lambda x: x
    rgb = torch.randn(1, 8, 21, 21, requires_grad=True)
    dcm(rgb, torch.randn(1, 8, 21, 21))[0, :, 10, 10].sum().backward()
    seen = rgb.grad.abs().sum(dim=1)[0] > 0
    radius = 1 + 2 + 5
    assert seen[10 - radius : 11 + radius, 10 - radius : 11 + radius].all()


def test_fusion_has_the_configured_width() -> None:
    decoder = DECODER_CLASSES["query"](tiny(VARIANTS["paper"], fusion_ratio=0.5))
    for fusion in decoder.fusions:
        assert fusion.reduce.out_channels == fusion.expand.out_channels // 2


def test_mlp_decoder_is_a_linear_layer_for_each_pixel() -> None:
    config, decoder = built("mlp")
    levels = levels_of(config)
    maps = []
    for level, layer in zip(levels, decoder.projections, strict=True):
        pixels = torch.cat([level.rgb, level.noise], dim=1).permute(0, 2, 3, 1)
        maps.append(bilinear((pixels @ layer.weight[:, :, 0, 0].T + layer.bias).permute(0, 3, 1, 2)))
    convolution, norm, _ = decoder.fusion
    x = torch.cat(maps, dim=1).permute(0, 2, 3, 1) @ convolution.weight[:, :, 0, 0].T + convolution.bias
    x = F.gelu(layer_norm(norm, x.permute(0, 3, 1, 2)))
    expected = torch.einsum("bchw,c->bhw", x, decoder.head.weight[0, :, 0, 0])[:, None] + decoder.head.bias
    torch.testing.assert_close(decoder(levels, SIZE), expected, rtol=1e-4, atol=1e-5)


def test_conv_decoder_convolves_each_level_and_their_stack() -> None:
    config, decoder = built("cd")
    levels = levels_of(config)

    def convolved(layers: nn.Sequential, x: Tensor) -> Tensor:
        convolution, norm, _ = layers
        assert convolution.kernel_size == (3, 3)
        return F.gelu(layer_norm(norm, F.conv2d(x, convolution.weight, convolution.bias, padding=1)))

    maps = [
        bilinear(convolved(layers, torch.cat([level.rgb, level.noise], dim=1)))
        for level, layers in zip(levels, decoder.projections, strict=True)
    ]
    expected = decoder.head(convolved(decoder.fusion, torch.cat(maps, dim=1)))
    torch.testing.assert_close(decoder(levels, SIZE), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["paper", "cd", "mlp"])
@pytest.mark.parametrize("modality", ["rgb", "noise"])
def test_both_modalities_of_every_level_matter(variant: str, modality: str) -> None:
    config, decoder = built(variant)
    levels = levels_of(config)
    before = decoder(levels, SIZE)
    for index, level in enumerate(levels):
        changed = list(levels)
        changed[index] = level._replace(**{modality: getattr(level, modality) + torch.randn_like(level.rgb)})
        assert (decoder(changed, SIZE) - before).abs().max() > 1e-4, f"{modality} of level {index + 1}"


def test_map_that_fits_is_returned_as_it_is() -> None:
    features = torch.randn(1, 2, *SIZE)
    assert upsample(features, SIZE) is features
    torch.testing.assert_close(upsample(features[..., ::2, ::2], SIZE), bilinear(features[..., ::2, ::2]))
