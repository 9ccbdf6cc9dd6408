"""The threshold keeps its promise on authentic photos, and the score is a probability."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

from qmanet_benco import predict
from qmanet_benco.apps.calibrate import THRESHOLDS, _chosen, calibrate, read_image_list
from qmanet_benco.errors import RequestError
from qmanet_benco.model.calibration import ALARM_FRACTION


class Brightness:
    """A model that calls bright pixels tampered."""

    training = False
    image_size = 64
    calibration = None

    def __call__(self, image: Tensor) -> Tensor:
        return torch.sigmoid(2 * image.mean(dim=1, keepdim=True))


def made_list(folder: Path, count: int = 20) -> Path:
    """Dark noise with a bright square that is tampered; authentic photos have a fainter one."""
    rng = np.random.default_rng(0)
    pairs = []
    for index in range(2 * count):
        tampered = index % 2 == 0
        pixels = rng.integers(20, 100, (80, 96, 3), dtype=np.uint8)
        pixels[20:50, 30:60] = (220 if tampered else 120) + rng.integers(0, 30)
        photo, mask = folder / f"{index}.png", folder / f"{index}_mask.png"
        Image.fromarray(pixels).save(photo)
        plane = np.zeros((80, 96), np.uint8)
        plane[20:50, 30:60] = 255
        Image.fromarray(plane).save(mask)
        pairs.append([str(photo), str(mask) if tampered else "Negative"])
    (folder / "list.json").write_text(json.dumps(pairs))
    return folder / "list.json"


def test_threshold_keeps_false_alarms_and_finds_the_region(tmp_path: Path) -> None:
    pairs = read_image_list(made_list(tmp_path))
    model = Brightness()
    found = calibrate(model, pairs, native=True, false_alarms=0.1)
    model.calibration = found.calibration
    assert found.pixel_f1 > 0.95
    alarms = [predict(model, photo).mask.mean() > ALARM_FRACTION for photo, mask in pairs if mask == "Negative"]
    assert np.mean(alarms) == found.calibration.false_alarms <= 0.1
    assert (found.calibration.authentic, found.calibration.tampered) == (20, 20)


def test_score_tells_the_kinds_apart_and_is_used_by_predict(tmp_path: Path) -> None:
    pairs = read_image_list(made_list(tmp_path))
    model = Brightness()
    model.calibration = calibrate(model, pairs, native=True).calibration
    found = [predict(model, photo) for photo, _ in pairs]
    assert roc_auc_score([mask != "Negative" for _, mask in pairs], [each.score for each in found]) > 0.99
    assert found[0].verdict == "1 region found"
    assert found[1].verdict == "nothing found"
    assert "calibrated on 20 tampered and 20 authentic photos" in found[0].score_rule


def test_a_photo_below_the_gate_gets_no_mask_until_a_threshold_is_asked_for(tmp_path: Path) -> None:
    pairs = read_image_list(made_list(tmp_path))
    model = Brightness()
    open_gate = calibrate(model, pairs, native=True).calibration
    model.calibration = replace(open_gate, gate=0.999)
    found = predict(model, pairs[0][0])
    assert found.gated
    assert not found.mask.any()
    assert found.verdict == "nothing found"
    assert predict(model, pairs[0][0], threshold=open_gate.threshold).mask.any()
    model.calibration = replace(open_gate, gate=0.0)
    assert not predict(model, pairs[0][0]).gated


def test_a_gate_keeps_false_alarms_where_no_threshold_does() -> None:
    """Every authentic photo has an alarm at every threshold, and a lower score than the tampered ones."""
    tampered, authentic = np.linspace(0.6, 0.9, 10), np.linspace(0.1, 0.4, 10)
    f1, marked = np.full((10, len(THRESHOLDS)), 0.5), np.ones((10, len(THRESHOLDS)), bool)
    chosen = _chosen(tampered, f1, authentic, marked, 0.1)
    assert chosen.pixel_f1 == 0.5
    assert chosen.false_alarms <= 0.1
    assert 0.3 < chosen.gate < 0.6
    with pytest.raises(RequestError, match="100% false alarms"):
        _chosen(authentic, f1, tampered, marked, 0.1)


def test_another_resolution_than_the_calibrated_one_is_not_calibrated(tmp_path: Path) -> None:
    pairs = read_image_list(made_list(tmp_path))
    model = Brightness()
    model.calibration = calibrate(model, pairs, native=True).calibration
    for request in ({"native": False}, {"image_size": 80}):
        found = predict(model, pairs[0][0], **request)
        assert found.calibration is None
        assert found.threshold == 0.5
        assert found.verdict.endswith("not calibrated")


def test_too_few_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="4 tampered and 4 authentic"):
        calibrate(Brightness(), read_image_list(made_list(tmp_path, 4)))


def test_a_promise_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    model = Brightness()
    model.__class__ = type("Certain", (Brightness,), {"__call__": lambda _, image: torch.ones_like(image[:, :1])})
    with pytest.raises(RequestError, match="100% false alarms"):
        calibrate(model, read_image_list(made_list(tmp_path)))


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    listed = made_list(tmp_path)
    Image.new("L", (10, 10), 255).save(tmp_path / "0_mask.png")
    with pytest.raises(RequestError, match=r"0_mask\.png"):
        calibrate(Brightness(), read_image_list(listed))


@pytest.mark.parametrize("text", ["", "{}", '[["a"]]', '[["missing.png", "Negative"]]'])
def test_what_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(RequestError, match=r"list\.json"):
        read_image_list(tmp_path / "list.json")
