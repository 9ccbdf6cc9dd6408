"""The command that measures suites, and those that compare engines and precisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bf16_change
import engines
import photo_cost
import suite_time
from qmanet_benco.benco import scoring
from qmanet_benco.benco.launch import session
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.suite import run


def test_a_suite_is_measured_together_and_alone_and_nothing_stays_changed() -> None:
    with session.prepared(False):
        former = scoring.predict_batch, run._Run._score_cells
        result = suite_time.bench(["AllTampered"], rounds=1, count=1, size=64)
        assert (scoring.predict_batch, run._Run._score_cells) == former
    medians = {row.name: row.median for row in result.ratios}
    assert len(medians) == 4
    assert 0 < medians["the networks' part of the time, 1 models"] < 1
    assert 0 < medians["the network's part of the time, AllTampered alone"] < 1


def test_a_photo_s_memory_and_time_are_of_the_photo_alone() -> None:
    loaded, more, seconds = photo_cost.photo_cost(96, 64, native=True)
    assert 100 < loaded < 2000
    assert 0 <= more < loaded
    assert 0 < seconds < 60


def test_a_model_that_does_not_exist_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert suite_time.main(["NoSuchModel", "--rounds", "1", "--images", "1", "--image-size", "64"]) == 2
    assert "NoSuchModel" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_engines_are_compared_with_the_sizes_of_their_files() -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    result = engines.bench(rounds=1, image_size=64)
    assert {row.name for row in result.ratios if row.part == "time"} == {
        "openvino / torch",
        "onnx / torch",
        "openvino / onnx",
    }
    sizes = [row.median for row in result.ratios if row.part == "size"]
    assert len(sizes) == 2
    assert min(sizes) > 0


def test_what_bf16_changes_is_counted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("Tp", "Gt"):
        (tmp_path / name).mkdir()
    for index in range(2):
        pixels = generator.integers(0, 255, (80, 96, 3), dtype=np.uint8)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        mask[20:50, 30:60] = 255
        Image.fromarray(pixels).save(tmp_path / "Tp" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "Gt" / f"{index}.png")
    found = bf16_change.change(tmp_path, images=2)
    assert found.images == 2
    assert 0 < found.largest_difference < 0.1
    assert 0 <= found.changed_pixels < 0.05
    assert abs(found.f1 - found.f1_bf16) <= found.largest_f1_change < 0.1
    with pytest.raises(RequestError, match="0 images"):
        bf16_change.change(tmp_path, images=0)
