"""Threshold and score travel with the weights; the score is a probability that grows with the evidence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_networks import tiny_network

from qmanet_benco import load_model
from qmanet_benco.errors import RequestError
from qmanet_benco.model.calibration import SHARES, Calibration, evidence
from qmanet_benco.model.weights.files import write_safetensors
from qmanet_benco.model.weights.release import export_safetensors

KNOWN = Calibration(0.4, True, -1.0, (0.5, 1.0, 0.25), authentic=20, tampered=30, false_alarms=0.05)


def test_evidence_is_the_logit_of_the_most_suspicious_parts_mean() -> None:
    plane = np.linspace(0.1, 0.9, 10_000, dtype=np.float32).reshape(100, 100)
    expected = [np.sort(plane.ravel())[-round(share * 10_000) :].mean() for share in SHARES]
    np.testing.assert_allclose(1 / (1 + np.exp(-evidence(plane))), expected, rtol=1e-4)


def test_evidence_of_certain_maps_is_finite() -> None:
    for value in (0.0, 1.0):
        assert np.isfinite(evidence(np.full((3, 5), value, np.float32))).all()


def test_score_is_the_logistic_regression_s_probability() -> None:
    plane = np.random.default_rng(0).random((40, 50), np.float32)
    logit = -1.0 + evidence(plane) @ [0.5, 1.0, 0.25]
    assert KNOWN.score(plane) == pytest.approx(1 / (1 + np.exp(-logit)))


def test_score_grows_with_the_evidence() -> None:
    planes = [np.full((20, 20), value, np.float32) for value in (0.0, 0.2, 0.7, 1.0)]
    scores = [KNOWN.score(plane) for plane in planes]
    assert scores == sorted(scores)
    assert 0 <= scores[0] < scores[-1] <= 1


def test_calibration_is_read_back_unchanged() -> None:
    assert Calibration.from_json(KNOWN.to_json()) == KNOWN


@pytest.mark.parametrize(
    "changes", [{"threshold": 0.0}, {"threshold": 1.0}, {"slopes": [1.0]}, {"intercept": float("nan")}, {"other": 1}]
)
def test_a_calibration_that_is_none_is_refused(changes: dict[str, object]) -> None:
    stored = {**json.loads(KNOWN.to_json()), **changes}
    with pytest.raises(RequestError):
        Calibration.from_json(json.dumps(stored))


def test_calibration_travels_with_the_weights(tmp_path: Path) -> None:
    network = tiny_network("miniature").eval()
    write_safetensors(tmp_path / "plain.safetensors", network.state_dict(), 128)
    assert load_model(tmp_path / "plain.safetensors").calibration is None
    export_safetensors(tmp_path / "plain.safetensors", tmp_path / "calibrated.safetensors", calibration=KNOWN)
    assert load_model(tmp_path / "calibrated.safetensors").calibration == KNOWN
    export_safetensors(tmp_path / "calibrated.safetensors", tmp_path / "half.safetensors", half=True)
    assert load_model(tmp_path / "half.safetensors").calibration == KNOWN
