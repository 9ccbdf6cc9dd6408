"""Chooses the threshold of a model's masks and turns its score into a probability, on photos with known answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from qmanet_benco.apps.predict import predict
from qmanet_benco.errors import RequestError
from qmanet_benco.images import open_image
from qmanet_benco.model.calibration import ALARM_FRACTION, Calibration, evidence
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.pixels import THRESHOLD as MASK_THRESHOLD
from qmanet_benco.pixels import mask_colours

THRESHOLDS = np.linspace(0.02, 0.98, 49)
FEWEST = 10
"""Photos of each kind."""
FOLDS, BINS = 5, 5
NEGATIVE = "Negative"

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Calibrated:
    """A calibration and how good it is on the photos that it was chosen on."""

    calibration: Calibration
    pixel_f1: float
    """Mean over the tampered photos at the chosen threshold."""
    auc: float
    """Image-level area under the ROC curve, each photo scored by a regression that did not see it."""
    brier: float
    """Mean squared error of these scores, classes weighted equally."""
    reliability: tuple[tuple[float, float, int], ...]
    """Mean score, part of tampered photos and number of photos, in bins of equal width from 0 to 1."""

    def summary(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return everything, for a person."""
        chosen = self.calibration
        curve = ", ".join(f"{score:.2f}: {part:.2f} of {count}" for score, part, count in self.reliability)
        return [
            f"threshold {chosen.threshold:.2f}, no mask below a score of {chosen.gate:.2f}:"
            f" pixel-F1 {self.pixel_f1:.3f} on {chosen.tampered} tampered photos,"
            f" a mask of over {ALARM_FRACTION:.0%} on {chosen.false_alarms:.1%} of {chosen.authentic} authentic ones",
            f"score: AUC {self.auc:.3f}, Brier score {self.brier:.3f} (cross-validated)",
            f"reliability, score: part that is tampered: {curve}",
        ]


def read_image_list(path: Path) -> list[tuple[str, str]]:
    """Reads the framework's list of images.

    Args:
        path: JSON, ``[["photo", "mask"], ["photo", "Negative"], ...]``.

    Raises:
        RequestError: it is no such list, or a file of it is missing.
    """
    expected = '[["photo", "mask"], ["photo", "Negative"], ...]'
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(listed, list):
            raise ValueError(f"a {type(listed).__name__}")
        pairs = [(str(photo), str(mask)) for photo, mask in listed]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RequestError(f"{path} is no list of images ({' '.join(str(error).split())[:80]})", expected) from error
    for photo, mask in pairs:
        for name in (photo, *([] if mask == NEGATIVE else [mask])):
            if not Path(name).is_file():
                raise RequestError(f"{name}, named in {path}, is not a file", expected)
    return pairs


def calibrate(
    model: QMANetwork,
    pairs: Pairs,
    *,
    native: bool = True,
    false_alarms: float = 0.1,
    progress: Callable[[int, int], None] | None = None,
) -> Calibrated:
    """Chooses threshold, gate and score.

    The score is a logistic regression in which both kinds of photos weigh the same. Threshold and gate, the score below
    which a mask stays empty, have the best mean pixel-F1 among those that give at most ``false_alarms`` of the
    authentic photos a mask of over 1 % of their pixels; each photo is scored by a regression that did not see it.

    Args:
        model: in eval mode; its own calibration is not used.
        pairs: photo and mask, or photo and ``"Negative"``; nothing may have been trained on them.
        native: see :func:`~qmanet_benco.predict`.
        false_alarms: in [0, 1).
        progress: called with the finished and all photos.

    Raises:
        RequestError: there are fewer than ten photos of a kind, a file cannot be used, or no threshold keeps the
            promise.
    """
    if not 0 <= false_alarms < 1:
        raise RequestError(f"false_alarms {false_alarms}", "from 0, below 1")
    authentic = sum(mask == NEGATIVE for _, mask in pairs)
    if min(authentic, len(pairs) - authentic) < FEWEST:
        raise RequestError(
            f"{len(pairs) - authentic} tampered and {authentic} authentic photos", f"{FEWEST} or more of each"
        )
    features, tampered, marked, f1 = [], [], [], []
    for index, (photo, mask) in enumerate(pairs):
        plane = predict(model, photo, native=native).probability
        features.append(evidence(plane))
        tampered.append(mask != NEGATIVE)
        if mask == NEGATIVE:
            marked.append([(plane > threshold).mean() > ALARM_FRACTION for threshold in THRESHOLDS])
        else:
            truth = _truth(Path(mask), plane.shape)
            f1.append([_f1(plane > threshold, truth) for threshold in THRESHOLDS])
        if progress is not None:
            progress(index + 1, len(pairs))
    kinds = np.array(tampered)
    fitted = _Fitted.of(np.array(features), kinds)
    chosen = _chosen(fitted.chance[kinds], np.array(f1), fitted.chance[~kinds], np.array(marked), false_alarms)
    calibration = Calibration(
        threshold=chosen.threshold,
        native=native,
        intercept=fitted.intercept,
        slopes=fitted.slopes,
        authentic=authentic,
        tampered=len(pairs) - authentic,
        false_alarms=chosen.false_alarms,
        gate=chosen.gate,
    )
    return Calibrated(calibration, chosen.pixel_f1, fitted.auc, fitted.brier, fitted.reliability)


class _Chosen(NamedTuple):
    """A threshold and a gate with what they do."""

    pixel_f1: float
    false_alarms: float
    threshold: float
    gate: float


def _chosen(
    tampered: NDArray[np.float64],
    f1: NDArray[np.float64],
    authentic: NDArray[np.float64],
    marked: NDArray[np.bool_],
    most: float,
) -> _Chosen:
    """Find the best threshold and gate with at most that part of false alarms.

    Args:
        tampered: scores of the T tampered photos.
        f1: their pixel-F1 without a gate, T x thresholds.
        authentic: scores of the A authentic photos.
        marked: whether they would have an alarm without a gate, A x thresholds.
        most: part of the authentic photos that may have an alarm.

    Raises:
        RequestError: there is none.
    """
    allowed = []
    for gate in (0.0, *np.unique(np.ceil(authentic * 1000) / 1000)):
        alarms = (marked & (authentic >= gate)[:, None]).mean(axis=0)
        scores = (f1 * (tampered >= gate)[:, None]).mean(axis=0)
        allowed += [
            _Chosen(float(score), float(alarm), round(float(threshold), 4), round(float(gate), 4))
            for score, alarm, threshold in zip(scores, alarms, THRESHOLDS, strict=True)
            if alarm <= most and gate < 1
        ]
    best = max(allowed, key=lambda chosen: (chosen.pixel_f1, -chosen.gate), default=None)
    if best is None or not best.pixel_f1:
        lowest = marked.mean(axis=0).min()
        raise RequestError(f"{lowest:.0%} false alarms at the best threshold", f"at most {most:.0%}")
    return best


@dataclass(frozen=True)
class _Fitted:
    """A logistic regression, and how good it is on photos that it did not see."""

    chance: NDArray[np.float64]
    """Of each photo, by a regression that did not see it."""
    intercept: float
    slopes: tuple[float, ...]
    auc: float
    brier: float
    reliability: tuple[tuple[float, float, int], ...]

    @classmethod
    def of(cls, features: NDArray[np.float64], tampered: NDArray[np.bool_]) -> _Fitted:
        regression = LogisticRegression(class_weight="balanced", C=0.1, max_iter=1000)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        chance = cross_val_predict(regression, features, tampered, cv=folds, method="predict_proba")[:, 1]
        regression.fit(features, tampered)
        weight = np.where(tampered, 0.5 / tampered.mean(), 0.5 / (1 - tampered.mean()))
        return cls(
            chance,
            float(regression.intercept_[0]),
            tuple(float(slope) for slope in regression.coef_[0]),
            float(roc_auc_score(tampered, chance)),
            float(np.average((chance - tampered) ** 2, weights=weight)),
            tuple(reliability(chance, tampered, weight)),
        )


def reliability(
    chance: NDArray[np.float64], tampered: NDArray[np.bool_], weight: NDArray[np.float64]
) -> list[tuple[float, float, int]]:
    """Computes the reliability curve in bins of equal width: mean score, part of tampered photos, number.

    Args:
        chance: scores of N photos, in [0, 1].
        tampered: which of them were.
        weight: of each.

    Returns:
        The bins from 0 to 1; empty ones are left out.
    """
    curve = []
    of = np.minimum((chance * BINS).astype(int), BINS - 1)
    for index in range(BINS):
        inside = of == index
        if inside.any():
            part = np.average(tampered[inside], weights=weight[inside])
            curve.append((float(chance[inside].mean()), float(part), int(inside.sum())))
    return curve


def _truth(path: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the mask, H x W.

    Raises:
        RequestError: it has another size than its photo.
    """
    with open_image(path) as image:
        truth = np.asarray(mask_colours(image).mean(axis=2) > MASK_THRESHOLD, bool)
    if truth.shape != size:
        raise RequestError(
            f"{path} has {truth.shape[1]} x {truth.shape[0]} pixels", f"{size[1]} x {size[0]}, as its photo"
        )
    return truth


def _f1(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float(2 * (mask & truth).sum() / max(1, mask.sum() + truth.sum()))
