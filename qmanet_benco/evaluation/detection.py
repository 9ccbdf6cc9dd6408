"""Metrics of image-level detection: was a photo tampered with, by one score for each photo."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from qmanet_benco.errors import RequestError
from qmanet_benco.model.calibration import ALARM_FRACTION, Calibration

CALIBRATED, PRED_LABEL, MAXIMUM, SHARE = "calibrated", "pred_label", "maximum", "share above 0.5"
RULES: Mapping[str, tuple[str, float]] = {
    CALIBRATED: ("the chance that the photo was tampered with, by the calibration stored with the weights", 0.5),
    PRED_LABEL: ("the model's own answer for the whole image, as the framework's evaluators take it", 0.5),
    MAXIMUM: ("the largest probability of the mask", 0.5),
    SHARE: ("the part of the pixels with a probability above 0.5", ALARM_FRACTION),
}
"""What a score is, and above which value an image is called tampered (the framework's evaluators: 0.5)."""
EPSILON = 1e-9
"""What the framework adds to its denominators (IMDLBenCo/evaluation/F1.py, ImageF1)."""

Plane = NDArray[np.float32]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class DetectionMetric:
    """One column of the image-level panels."""

    name: str
    title: str
    definition: str


METRICS = (
    DetectionMetric("image_f1", "ImageF1", "the framework's ImageF1: F1 of all images of a set together"),
    DetectionMetric(
        "image_auc",
        "ImageAUC",
        "the framework's ImageAUC, which is scikit-learn's roc_auc_score; not defined without both classes",
    ),
    DetectionMetric("image_accuracy", "ImageAccuracy", "the framework's ImageAccuracy: part of the images told right"),
    DetectionMetric(
        "average_precision",
        "average precision",
        "scikit-learn's average_precision_score; not defined without both classes",
    ),
    DetectionMetric("false_alarms", "false alarms", "part of the authentic images called tampered; lower is better"),
)


def image_score(
    probability: Plane, own: float | None, calibration: Calibration | None, size: tuple[int, int]
) -> tuple[float, str]:
    """Return the score of one image, and the rule that it follows.

    The calibration of the weights comes first, then the model's own answer, then the largest probability.

    Args:
        probability: H x W in [0, 1], without padding.
        own: the model's ``pred_label``; None where it gives none.
        calibration: of the weights, where it holds for images of this size.
        size: height and width of the image's own pixels, at which a calibration is applied, as `qmanet predict` does.

    Raises:
        RequestError: the score is not finite.
    """
    if calibration is not None:
        plane = cv2.resize(probability, size[::-1], interpolation=cv2.INTER_LINEAR)
        score, rule = calibration.score(np.clip(plane, 0, 1)), CALIBRATED
    elif own is not None:
        score, rule = own, PRED_LABEL
    else:
        score, rule = float(probability.max()), MAXIMUM
    if not math.isfinite(score):
        raise RequestError(f"an image-level score of {score}", "a finite number")
    return score, rule


def detection_metrics(scores: Scores, tampered: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """:data:`METRICS` of the images of a set.

    Args:
        scores: one for each image, finite; larger means rather tampered.
        tampered: which images were tampered with.
        threshold: an image is called tampered above it.

    Returns:
        Values by name; NaN where a metric is not defined: AUC and average precision of one class, false alarms
        without authentic images, F1 without tampered ones.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score  # takes a second to import

    called = scores > threshold
    tp, fp = int((called & tampered).sum()), int((called & ~tampered).sum())
    fn, authentic = int((~called & tampered).sum()), int((~tampered).sum())
    precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
    both = 0 < authentic < len(scores)
    return {
        "image_f1": 2 * precision * recall / (precision + recall + EPSILON) if tampered.any() else math.nan,
        "image_auc": float(roc_auc_score(tampered, scores)) if both else math.nan,
        "image_accuracy": float((called == tampered).mean()) if len(scores) else math.nan,
        "average_precision": float(average_precision_score(tampered, scores)) if both else math.nan,
        "false_alarms": fp / authentic if authentic else math.nan,
    }
