"""What a probability map means: the threshold of its mask, and the chance that the whole photo was tampered with.

Both are chosen on photos that nothing was trained on, authentic ones among them, and travel with the weights. The
chance is a logistic regression (Platt 1999) on how probable the most suspicious parts of the map are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from qmanet_benco.errors import RequestError

SHARES = (0.001, 0.01, 0.1)
"""Parts of a map, the most suspicious pixels first, whose mean probabilities are the evidence (CHOICE)."""
FARTHEST = 1e-4
"""Mean probabilities are kept so far from 0 and 1 before their logit is taken."""
ALARM_FRACTION = 0.01
"""A mask of more of a photo's pixels is an alarm."""

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """Threshold and score of one set of weights.

    Raises:
        RequestError: a value makes no sense.
    """

    threshold: float
    """Probability above which a pixel is called tampered, in (0, 1)."""
    native: bool
    """Whether it holds for photos at their own resolution; else for photos that are resized to the weights' square."""
    intercept: float
    slopes: tuple[float, ...]
    """Of the logits of the evidence; one for each of :data:`SHARES`."""
    authentic: int
    """Authentic photos that it was chosen on; they weigh as much as the tampered ones."""
    tampered: int
    false_alarms: float
    """Part of these authentic photos with an alarm, in [0, 1]."""
    gate: float = 0.0
    """Score below which no pixel of a photo is called tampered, in [0, 1)."""

    def __post_init__(self) -> None:
        numbers = (self.threshold, self.intercept, *self.slopes, self.false_alarms, self.gate)
        if not (
            0 < self.threshold < 1
            and 0 <= self.gate < 1
            and len(self.slopes) == len(SHARES)
            and np.isfinite(numbers).all()
        ):
            raise RequestError(
                f"a calibration with threshold {self.threshold}, gate {self.gate} and slopes {self.slopes}",
                f"a threshold in (0, 1), a gate in [0, 1), {len(SHARES)} finite slopes",
                "calibrate the weights again",
            )

    def score(self, probability: Plane) -> float:
        """H x W probabilities -> chance in [0, 1] that the photo was tampered with, where half of all photos are."""
        logit = self.intercept + float(np.dot(self.slopes, evidence(probability)))
        return float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))

    def withholds_mask(self, score: float) -> bool:
        """Tell whether a photo with this score gets an empty mask at the calibrated threshold."""
        return score < self.gate

    def to_json(self) -> str:
        """One line of JSON; :meth:`from_json` is its inverse."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Reads what :meth:`to_json` wrote.

        Raises:
            RequestError: the text is no calibration.
        """
        try:
            values = json.loads(text)
            return cls(**{**values, "slopes": tuple(float(slope) for slope in values["slopes"])})
        except RequestError:
            raise
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            raise RequestError(
                f"not a calibration: {text[:80]!r}", "JSON written by to_json", "export again"
            ) from error


def evidence(probability: Plane) -> NDArray[np.float64]:
    """Logits of the mean probability of a map's most suspicious parts, one for each of :data:`SHARES`.

    Args:
        probability: H x W in [0, 1].
    """
    pixels = np.asarray(probability, np.float32).ravel()
    counts = [max(1, round(share * pixels.size)) for share in SHARES]
    largest = np.sort(np.partition(pixels, pixels.size - counts[-1])[pixels.size - counts[-1] :])
    means = np.clip([largest[-count:].mean(dtype=np.float64) for count in counts], FARTHEST, 1 - FARTHEST)
    return np.log(means) - np.log1p(-means)
