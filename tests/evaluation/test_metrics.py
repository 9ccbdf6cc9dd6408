"""The framework's metrics to the last digits, and the right ones to scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from qmanet_benco.evaluation.metrics import METRICS, image_metrics

KINDS = ("smooth", "few values", "binary", "constant")


def case(seed: int, kind: str, side: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """A probability map and a mask that is neither empty nor full."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(side, side, dtype=torch.float64)
    height, width = (int(torch.randint(1, side, (1,), generator=generator)) for _ in range(2))
    mask[:height, :width] = 1
    noise = torch.rand(side, side, generator=generator)
    smooth = (0.6 * noise + 0.4 * mask * torch.rand(1, generator=generator)).float()
    maps = {
        "smooth": smooth,
        "few values": (smooth * 4).round() / 4,
        "binary": (smooth > 0.45).float(),
        "constant": torch.full_like(smooth, 0.7),
    }
    return maps[kind], mask


def stock(probability: torch.Tensor, mask: torch.Tensor, valid: torch.Tensor | None) -> dict[str, float]:
    from IMDLBenCo.evaluation import PixelAUC, PixelF1, PixelIOU

    given_ = [x if x is None else x[None, None] for x in (probability, mask, valid)]
    evaluators = {
        "f1": PixelF1(0.5, "origin"),
        "permute_f1": PixelF1(0.5, "double"),
        "iou": PixelIOU(0.5, "origin"),
        "auc_stock": PixelAUC(0.5, "origin"),
    }
    return {name: float(evaluator.batch_update(*given_)) for name, evaluator in evaluators.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("padded", [False, True])
def test_framework_s_metrics_have_the_framework_s_values(seed: int, kind: str, padded: bool) -> None:
    probability, mask = case(seed, kind)
    valid = None
    if padded:
        valid = torch.zeros_like(mask)
        valid[:20, :17] = 1
    found = image_metrics(probability, mask, valid)
    for name, value in stock(probability, mask, valid).items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_framework_s_metrics_have_the_framework_s_values_on_authentic_images() -> None:
    probability, mask = case(0, "smooth")
    expected = stock(probability, torch.zeros_like(mask), None)
    found = image_metrics(probability, torch.zeros_like(mask))
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert set(expected.values()) == {0.0}


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_right_metrics_agree_with_scikit_learn(seed: int, kind: str) -> None:
    probability, mask = case(seed, kind)
    truth, scores = mask.flatten().numpy().astype(int), probability.flatten().double().numpy()
    found = image_metrics(probability, mask)
    if 0 < truth.sum() < truth.size:
        assert found["auc"] == pytest.approx(sklearn.roc_auc_score(truth, scores), abs=1e-9)
    assert found["f1"] == pytest.approx(sklearn.f1_score(truth, scores > 0.5, zero_division=0), abs=1e-6)
    assert found["iou"] == pytest.approx(sklearn.jaccard_score(truth, scores > 0.5, zero_division=0), abs=1e-6)
    assert found["mcc"] == pytest.approx(sklearn.matthews_corrcoef(truth, scores > 0.5), abs=1e-9)
    precision, recall, _ = sklearn.precision_recall_curve(truth, scores)
    with np.errstate(invalid="ignore"):
        best = np.nanmax(2 * precision * recall / (precision + recall))
    assert found["f1_best"] == pytest.approx(best, abs=1e-9)
    at_best = sklearn.f1_score(truth, scores >= found["threshold_best"])
    assert at_best == pytest.approx(found["f1_best"], abs=1e-9)


def test_constant_map_is_a_coin_toss_wherever_the_mask_lies() -> None:
    values = set()
    for rows in (slice(0, 8), slice(16, 24)):
        mask = torch.zeros(24, 24)
        mask[rows] = 1
        values.add(image_metrics(torch.full((24, 24), 0.3), mask)["auc"])
    assert values == {0.5}


def test_undefined_values_are_not_numbers_and_never_zero() -> None:
    probability, _ = case(1, "smooth")
    authentic = image_metrics(probability, torch.zeros(24, 24))
    assert math.isnan(authentic["auc"])
    assert math.isnan(authentic["f1_best"])
    everything = image_metrics(probability, torch.ones(24, 24))
    assert math.isnan(everything["auc"])
    assert everything["f1_best"] == 1


@pytest.mark.parametrize(("predicted", "strict"), [(0.2, 1.0), (0.9, 0.0)])
def test_authentic_image_counts_as_right_only_where_nothing_is_predicted(predicted: float, strict: float) -> None:
    found = image_metrics(torch.full((8, 8), predicted), torch.zeros(8, 8))
    assert (found["f1"], found["f1_strict"], found["authentic"]) == (0.0, strict, 1.0)


def test_padding_counts_nowhere() -> None:
    probability, mask = case(3, "smooth")
    valid = torch.zeros_like(mask)
    valid[:20, :17] = 1
    cut = image_metrics(probability[:20, :17], mask[:20, :17])
    padded = image_metrics(probability, mask, valid)
    del cut["auc_stock"], padded["auc_stock"]
    assert padded == pytest.approx(cut, abs=1e-12)


def test_every_value_is_defined_in_the_report_or_describes_the_image() -> None:
    names = set(image_metrics(*case(0, "smooth")))
    assert names - {metric.name for metric in METRICS} == {"threshold_best", "authentic", "tampered", "predicted"}


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        image_metrics(torch.zeros(8, 8), torch.zeros(8, 9))
    with pytest.raises(ValueError, match="valid pixel"):
        image_metrics(torch.zeros(8, 8), torch.zeros(8, 8), torch.zeros(8, 8))
