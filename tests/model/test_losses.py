"""Dice, the edge band and the total loss against closed forms and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.edges import EdgeSupervision, FusedEdges, LevelEdges
from qmanet_benco.model.losses import batch_dice_loss, dice_loss, edge_band, reduce_band, total_loss

masks = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(
    lambda size: arrays(np.float32, (1, 1, *size), elements=st.sampled_from([0.0, 1.0]))
)


def logits_of(probability: float, shape: tuple[int, ...] = (1, 1, 8, 8)) -> Tensor:
    return torch.full(shape, math.log(probability / (1 - probability)))


def half_mask() -> Tensor:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    return mask


def test_dice_of_a_perfect_prediction_is_zero() -> None:
    mask = half_mask()
    assert dice_loss(40 * mask - 20, mask) < 1e-6


def test_dice_of_an_inverted_prediction_is_one() -> None:
    mask = half_mask()
    assert dice_loss(20 - 40 * mask, mask) > 1 - 1e-6


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dice_of_a_constant_prediction_is_the_closed_form(p: float) -> None:
    # n pixels, n / 2 tampered: overlap p n / 2, squares p^2 n + n / 2
    expected = 1 - 2 * (p / 2) / (p * p + 1 / 2)
    assert dice_loss(logits_of(p), half_mask()).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dice_of_an_authentic_image_is_that_of_the_other_class(p: float) -> None:
    loss = dice_loss(logits_of(p), torch.zeros(1, 1, 8, 8)).item()
    assert loss == pytest.approx(1 - 2 * (1 - p) / ((1 - p) ** 2 + 1), abs=1e-6)
    assert loss == pytest.approx(dice_loss(logits_of(1 - p), torch.ones(1, 1, 8, 8)).item(), abs=1e-6)


def test_dice_is_the_mean_over_images_not_over_pixels() -> None:
    mask = torch.cat([half_mask(), torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)])
    logits = torch.randn(3, 1, 8, 8)
    single = [dice_loss(logits[i : i + 1], mask[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(dice_loss(logits, mask), torch.stack(single).mean())


def test_authentic_image_teaches_even_a_network_that_is_sure_of_tampering() -> None:
    logits = torch.full((1, 1, 8, 8), 4.0, requires_grad=True)  # probability 0.982 everywhere
    optimizer = torch.optim.SGD([logits], lr=100.0)
    for _ in range(100):
        optimizer.zero_grad()
        loss = dice_loss(logits, torch.zeros(1, 1, 8, 8))
        loss.backward()
        optimizer.step()
    assert logits.sigmoid().max() < 0.1
    assert loss < 0.05


@pytest.mark.parametrize("fill", [0.0, 1.0])
@pytest.mark.parametrize("value", [-1e4, 0.0, 1e4])
def test_dice_stays_finite_where_the_sigmoid_saturates(fill: float, value: float) -> None:
    logits = torch.full((2, 1, 8, 8), value, requires_grad=True)
    loss = dice_loss(logits, torch.full((2, 1, 8, 8), fill))
    loss.backward()
    assert 0 <= loss.item() <= 1
    assert logits.grad.isfinite().all()


@given(masks, st.integers(0, 2**32 - 1))
def test_dice_is_between_zero_and_one(mask: np.ndarray, seed: int) -> None:
    logits = 10 * torch.randn(mask.shape, generator=torch.Generator().manual_seed(seed))
    assert -1e-6 <= dice_loss(logits, torch.from_numpy(mask)).item() <= 1 + 1e-6


@pytest.mark.parametrize("fill", ["empty", "half", "full"])
def test_dice_has_the_gradient_of_its_formula(fill: str) -> None:
    mask = {"empty": torch.zeros(1, 1, 8, 8), "half": half_mask(), "full": torch.ones(1, 1, 8, 8)}[fill]
    logits = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    # the loss itself is float32, so the differences are coarse
    assert torch.autograd.gradcheck(lambda x: dice_loss(x, mask).double(), (logits,), eps=1e-2, atol=1e-4)


def test_large_half_precision_maps_are_summed_in_float32() -> None:
    shape = (1, 1, 1024, 1024)  # a sum of 1,048,576 overflows float16
    logits, mask = torch.randn(shape), (torch.rand(shape) > 0.5).float()
    p, g = logits.half().double().sigmoid(), mask.double()
    expected = 1 - 2 * (p * g).sum() / (p.square() + g.square()).sum()
    for precision in (torch.float16, torch.bfloat16):
        with torch.autocast("cpu", precision):
            loss = dice_loss(logits.half(), mask)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def padded(tensor: Tensor) -> Tensor:
    return torch.nn.functional.pad(tensor, (0, 8, 0, 16), value=0.7)


@pytest.mark.parametrize("bce_weight", [0.0, 1.0])
@pytest.mark.parametrize("target", ["half", "empty"])
def test_padding_does_not_count(target: str, bce_weight: float) -> None:
    config = QMANetConfig(bce_weight=bce_weight)
    mask = half_mask() if target == "half" else torch.zeros(1, 1, 8, 8)
    logits, edge_logits = torch.randn(1, 1, 8, 8), [torch.randn(1, 1, 8, 8), torch.randn(1, 1, 4, 4)]
    band = edge_band(mask, 3)
    valid = torch.nn.functional.pad(torch.ones(1, 1, 8, 8), (0, 8, 0, 16))
    expected = total_loss(logits, edge_logits, mask, band, config)
    larger = [
        torch.nn.functional.pad(edges, (0, edges.shape[-1], 0, 2 * edges.shape[-1]), value=3.0) for edges in edge_logits
    ]
    losses = total_loss(padded(logits), larger, padded(mask), padded(band), config, valid)
    torch.testing.assert_close(losses, expected)


@given(masks, st.sampled_from([1, 3, 5, 7]))
def test_edge_band_is_scipy_s_dilation_minus_erosion(mask: np.ndarray, width: int) -> None:
    dilated = scipy.ndimage.grey_dilation(mask[0, 0], size=(width, width), mode="nearest")
    eroded = scipy.ndimage.grey_erosion(mask[0, 0], size=(width, width), mode="nearest")
    np.testing.assert_array_equal(edge_band(torch.from_numpy(mask), width)[0, 0].numpy(), dilated - eroded)


def test_edge_band_of_a_straight_boundary_lies_on_both_sides() -> None:
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 10:] = 1
    columns = edge_band(mask, 7)[0, 0, 0].nonzero().flatten().tolist()
    assert columns == [7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_image_border_is_no_boundary(fill: float) -> None:
    assert not edge_band(torch.full((1, 1, 16, 16), fill), 7).any()


@given(masks, st.integers(1, 24), st.integers(1, 24))
def test_reducing_a_band_takes_the_maximum_of_cells_that_cover_the_image(
    mask: np.ndarray, rows: int, columns: int
) -> None:
    band = mask[0, 0]
    height, width = band.shape
    rows, columns = min(rows, height), min(columns, width)
    reduced = reduce_band(torch.from_numpy(mask), (rows, columns))[0, 0].numpy()
    assert reduced.shape == (rows, columns)
    for y in range(height):
        for x in range(width):
            if band[y, x]:
                assert reduced[y * rows // height, x * columns // width] == 1
    assert reduced.any() == band.any()


def test_one_pixel_survives_to_every_level() -> None:
    band = torch.zeros(1, 1, 65, 97)
    band[0, 0, 40, 50] = 1
    for size in [(17, 25), (9, 13), (5, 7), (3, 4)]:
        assert reduce_band(band, size).sum() >= 1


def test_total_is_equation_8() -> None:
    config = QMANetConfig(segmentation_weight=0.3, edge_weight=0.5, bce_weight=0.25)
    mask, logits = half_mask(), torch.randn(1, 1, 8, 8)
    edges = [torch.randn(1, 1, size, size) for size in (8, 4, 2, 1)]
    band = edge_band(mask, 3)
    losses = total_loss(logits, edges, mask, band, config)
    levels = [dice_loss(edge, reduce_band(band, edge.shape[2:])) for edge in edges]
    torch.testing.assert_close(losses.segmentation, dice_loss(logits, mask))
    torch.testing.assert_close(losses.edge_levels, tuple(levels))
    torch.testing.assert_close(losses.edge, sum(levels) / 4)
    torch.testing.assert_close(losses.bce, torch.nn.BCEWithLogitsLoss()(logits, mask))
    torch.testing.assert_close(losses.total, 0.3 * losses.segmentation + 0.5 * losses.edge + 0.25 * losses.bce)


def test_paper_s_loss_has_no_cross_entropy() -> None:
    losses = total_loss(torch.randn(1, 1, 8, 8), [torch.randn(1, 1, 2, 2)], half_mask(), half_mask(), QMANetConfig())
    assert losses.bce == 0
    torch.testing.assert_close(losses.total, 0.2 * losses.segmentation + 0.8 * losses.edge)


def test_edge_head_keeps_the_level_s_size() -> None:
    assert EdgeSupervision(16, 8)(torch.randn(2, 16, 5, 7)).shape == (2, 1, 5, 7)


def test_batch_dice_is_the_closed_form_over_all_pixels() -> None:
    logits = torch.cat([logits_of(0.9), logits_of(0.2)])
    mask = torch.cat([half_mask(), torch.zeros(1, 1, 8, 8)])
    expected = 1 - (2 * 0.9 * 32 + 1) / (0.81 * 64 + 0.04 * 64 + 32 + 1)
    assert batch_dice_loss(logits, mask).item() == pytest.approx(expected, abs=1e-6)


def test_batch_dice_leaves_out_padding() -> None:
    logits, mask, valid = torch.randn(2, 1, 8, 8), half_mask().expand(2, 1, 8, 8), torch.ones(2, 1, 8, 8)
    valid[..., 6:] = 0
    torch.testing.assert_close(batch_dice_loss(logits, mask, valid), batch_dice_loss(logits[..., :6], mask[..., :6]))


def test_fused_edges_are_one_map_compared_at_full_size() -> None:
    config = QMANetConfig(edge_supervision="fused", edge_weight=1.0, segmentation_weight=0.0)
    levels = [torch.randn(1, width, 16 // 2**i, 16 // 2**i) for i, width in enumerate(config.widths)]
    (fused,) = FusedEdges(config)(levels)
    assert fused.shape == (1, 1, 16, 16)
    assert [edge.shape[-1] for edge in LevelEdges(config)(levels)] == [16, 8, 4, 2]
    band = torch.zeros(1, 1, 64, 64)
    band[..., 30:37] = 1
    at_full_size = torch.nn.functional.interpolate(fused, size=(64, 64), mode="bilinear", align_corners=False)
    losses = total_loss(torch.randn(1, 1, 64, 64), [fused], band, band, config)
    torch.testing.assert_close(losses.total, dice_loss(at_full_size, band))


def test_the_configured_dice_is_used() -> None:
    logits, mask = torch.randn(2, 1, 8, 8), torch.cat([half_mask(), torch.zeros(1, 1, 8, 8)])
    for dice, expected in (("image", dice_loss), ("batch", batch_dice_loss)):
        losses = total_loss(logits, [logits], mask, mask, QMANetConfig(dice=dice))
        torch.testing.assert_close(losses.segmentation, expected(logits, mask))
        torch.testing.assert_close(losses.edge, expected(logits, mask))
