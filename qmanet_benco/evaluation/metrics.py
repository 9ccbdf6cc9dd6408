"""Metrics of one image: the framework's, to compare with published tables, and the right ones beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

THRESHOLD = 0.5
"""A pixel is predicted as tampered above it; the framework's evaluators and the paper use it."""
EPSILON = 1e-8
"""What the framework adds to its denominators (IMDLBenCo/evaluation/F1.py)."""

_TAMPERED_ONLY = "the images with a tampered pixel; an authentic image has no value"
_ALL = "all images"
_TABLES = "the tampered images; a record of an authentic one holds 0, whatever is predicted, as the framework has it"


@dataclass(frozen=True)
class Metric:
    """One column of the records."""

    name: str
    title: str
    definition: str
    averages_over: str
    differs_from_stock: str


METRICS = (
    Metric(
        "f1",
        "F1",
        "F1 of the tampered pixels at threshold 0.5, of each image, then the mean",
        _TABLES,
        "none: the framework's PixelF1, mode origin",
    ),
    Metric(
        "permute_f1",
        "permute-F1",
        "the larger of F1 and the F1 of the inverted prediction, at threshold 0.5",
        _TABLES,
        "none: the framework's PixelF1, mode double",
    ),
    Metric(
        "iou",
        "IoU",
        "intersection over union of the tampered pixels at threshold 0.5",
        _TABLES,
        "none: the framework's PixelIOU, mode origin",
    ),
    Metric(
        "auc_stock",
        "AUC (the framework's)",
        "area under the ROC curve as the framework computes it: pixels of equal probability are ranked as sorting "
        "leaves them, so a constant map gives any value",
        "the same; an image without an authentic pixel has no value",
        "none: the framework's PixelAUC, mode origin",
    ),
    Metric(
        "auc",
        "AUC",
        "area under the ROC curve, pixels of equal probability ranked together: a constant map gives 0.5",
        "the images with both tampered and authentic pixels; others have no value",
        "ties are grouped and undefined cases left out (scikit-learn's roc_auc_score)",
    ),
    Metric(
        "mcc",
        "Matthews correlation",
        "Matthews correlation coefficient at threshold 0.5; 0 where a row or column of the confusion matrix is empty",
        _ALL,
        "the framework has none",
    ),
    Metric(
        "f1_best",
        "best F1 of any threshold",
        "the largest F1 that any threshold gives this image: an upper bound that knows the truth",
        _TAMPERED_ONLY,
        "the framework has none",
    ),
    Metric(
        "f1_strict",
        "F1 with authentic images",
        "F1 at threshold 0.5; an authentic image scores 1 where nothing is predicted and 0 otherwise",
        _ALL,
        "the framework scores a right answer on an authentic image 0",
    ),
)
"""Every metric by name, as it stands in the report."""
OF_TAMPERED = ("f1", "permute_f1", "iou", "auc_stock")
"""Columns whose value for an authentic image says nothing of the model: tables leave these images out."""


def image_metrics(probability: Tensor, mask: Tensor, valid: Tensor | None = None) -> dict[str, float]:
    """Compute all metrics of one image.

    Args:
        probability: H x W in [0, 1].
        mask: H x W, 1 where tampered, else 0.
        valid: H x W, 0 in the padding, which counts nowhere; None: every pixel counts.

    Returns:
        The columns f1, permute_f1, iou, auc, auc_stock, mcc, f1_best, threshold_best, f1_strict; authentic (0 or 1),
        tampered and predicted (fractions of the pixels). NaN where a metric is not defined.

    Raises:
        ValueError: the shapes differ, or there is no valid pixel.
    """
    scores, truth = _pixels(probability, mask, valid)
    counts = _confusion(scores > THRESHOLD, truth)
    positives, pixels = int(truth.sum()), truth.numel()
    f1 = counts.f1()
    columns = {
        "f1": f1,
        "permute_f1": max(f1, counts.inverted().f1()),
        "iou": counts.iou(),
        "mcc": counts.mcc(),
        "f1_strict": f1 if positives else float(counts.tp + counts.fp == 0),
        "authentic": float(positives == 0),
        "tampered": positives / pixels,
        "predicted": (counts.tp + counts.fp) / pixels,
    }
    return columns | _ranked(scores, truth, positives)


@dataclass(frozen=True)
class Confusion:
    """Numbers of pixels."""

    tp: int
    tn: int
    fp: int
    fn: int

    def f1(self) -> float:
        """Compute F1 with the framework's epsilons, so that values agree to the last digits."""
        precision = self.tp / (self.tp + self.fp + EPSILON)
        recall = self.tp / (self.tp + self.fn + EPSILON)
        return 2 * precision * recall / (precision + recall + EPSILON)

    def iou(self) -> float:
        """Intersection over union, with the framework's epsilon."""
        return self.tp / (self.tp + self.fp + self.fn + EPSILON)

    def mcc(self) -> float:
        """Matthews correlation coefficient; 0 where it is 0 / 0, as scikit-learn has it."""
        rows = (self.tp + self.fp) * (self.tn + self.fn)
        columns = (self.tp + self.fn) * (self.tn + self.fp)
        if not rows or not columns:
            return 0.0
        return (self.tp * self.tn - self.fp * self.fn) / math.sqrt(rows) / math.sqrt(columns)

    def inverted(self) -> Confusion:
        """Count the inverted prediction."""
        return Confusion(self.fn, self.fp, self.tn, self.tp)


def _pixels(probability: Tensor, mask: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scores and truth (bool) of the pixels that count, flat."""
    if probability.shape != mask.shape or (valid is not None and valid.shape != mask.shape):
        shapes = [tuple(tensor.shape) for tensor in (probability, mask, valid) if tensor is not None]
        raise ValueError(f"shapes {shapes}; expected probability, mask and valid of one shape, H x W")
    scores, truth = probability.flatten(), mask.flatten() > 0.5
    if valid is not None:
        chosen = valid.flatten() > 0
        scores, truth = scores[chosen], truth[chosen]
    if not truth.numel():
        raise ValueError("no valid pixel; expected at least one")
    return scores, truth


def _confusion(predicted: Tensor, truth: Tensor) -> Confusion:
    tp = int((predicted & truth).sum())
    fp, fn = int(predicted.sum()) - tp, int(truth.sum()) - tp
    return Confusion(tp, truth.numel() - tp - fp - fn, fp, fn)


def _ranked(scores: Tensor, truth: Tensor, positives: int) -> dict[str, float]:
    """Compute everything that needs the pixels in order, which are sorted once."""
    undefined = {"auc": math.nan, "auc_stock": math.nan, "f1_best": math.nan, "threshold_best": math.nan}
    if not positives:
        return undefined | {"auc_stock": 0.0}  # the framework's value for it
    order = torch.argsort(scores, descending=True)  # the framework's own call: auc_stock depends on how ties fall
    scores, hits = scores[order], truth[order].double().cumsum(0)
    ranks = torch.arange(1, len(scores) + 1, dtype=torch.float64, device=scores.device)
    negatives = len(scores) - positives
    last = torch.ones_like(truth)  # the last pixel of each value: where a threshold can lie
    last[:-1] = scores[1:] != scores[:-1]
    group_hits, group_ranks = hits[last], ranks[last]
    f1 = 2 * group_hits / (group_ranks + positives)
    best = int(f1.argmax())
    ranked = {"f1_best": float(f1[best]), "threshold_best": float(scores[last][best])}
    if not negatives:
        return undefined | ranked
    stock = torch.trapezoid(hits / positives, (ranks - hits) / negatives)
    group_misses = torch.cat([ranks.new_zeros(1), group_ranks - group_hits])
    right = torch.trapezoid(torch.cat([hits.new_zeros(1), group_hits]), group_misses) / positives / negatives
    return ranked | {"auc": float(right), "auc_stock": float(stock)}
