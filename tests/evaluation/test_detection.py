"""Image-level numbers are the framework's and scikit-learn's; what has no value says so and is never a silent NaN."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from made_sets import IMAGE_SIZE, make_forgeries
from PIL import Image
from sklearn import metrics as sklearn_metrics
from test_run import records

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.detection import RULES, detection_metrics, image_score
from qmanet_benco.evaluation.suite.launch import Order, launch_suite
from qmanet_benco.model.calibration import Calibration

CASES = {
    "mixed": (np.random.default_rng(0).random(60), np.arange(60) % 3 > 0),
    "ties": (np.random.default_rng(1).integers(0, 4, 60) / 4, np.arange(60) % 2 > 0),
    "constant": (np.full(20, 0.7), np.arange(20) % 2 > 0),
    "nothing called": (np.full(20, 0.1), np.arange(20) % 2 > 0),
    "perfect": (np.repeat([0.0, 1.0], 10), np.repeat([False, True], 10)),
}


@pytest.fixture
def framework(tmp_path: Path) -> dict[str, object]:
    """The framework's evaluators by the name of our metric, in a group of one process."""
    import torch.distributed as dist

    from qmanet_benco import without_cuda

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    with without_cuda():
        from IMDLBenCo.evaluation import ImageAccuracy, ImageAUC, ImageF1

        yield {"image_f1": ImageF1, "image_auc": ImageAUC, "image_accuracy": ImageAccuracy}
    dist.destroy_process_group()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("threshold", [0.5, 0.25])
def test_values_are_the_framework_s_and_scikit_learn_s(case: str, threshold: float, framework: dict[str, type]) -> None:
    scores, tampered = CASES[case]
    found = detection_metrics(scores, tampered, threshold)
    for name, kind in framework.items():
        evaluator = kind(threshold=threshold)
        for part in np.array_split(np.arange(len(scores)), 3):
            label = torch.from_numpy(tampered[part].astype(np.float32))
            evaluator.batch_update(torch.from_numpy(scores[part]).float(), label)
        assert found[name] == pytest.approx(float(evaluator.epoch_update()), abs=1e-6), name
    called = scores > threshold
    assert found["image_f1"] == pytest.approx(sklearn_metrics.f1_score(tampered, called), abs=1e-6)
    assert found["image_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(tampered, scores))
    assert found["average_precision"] == pytest.approx(sklearn_metrics.average_precision_score(tampered, scores))
    assert found["false_alarms"] == pytest.approx(called[~tampered].mean())


def test_one_class_leaves_undefined_what_needs_two() -> None:
    authentic = detection_metrics(np.array([0.1, 0.9]), np.array([False, False]), 0.5)
    assert {name for name, value in authentic.items() if math.isnan(value)} == {
        "image_f1",
        "image_auc",
        "average_precision",
    }
    assert authentic["image_accuracy"] == authentic["false_alarms"] == 0.5
    tampered = detection_metrics(np.array([0.1, 0.9]), np.array([True, True]), 0.5)
    assert {name for name, value in tampered.items() if math.isnan(value)} == {
        "image_auc",
        "average_precision",
        "false_alarms",
    }


def test_rule_is_the_calibration_then_the_model_s_answer_then_the_maximum() -> None:
    plane = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    calibration = Calibration(0.4, False, -1.0, (0.5, 0.2, 0.1), 10, 10, 0.1)
    score, rule = image_score(plane, 0.3, calibration, (32, 32))
    assert (score, rule) == (pytest.approx(calibration.score(plane)), "calibrated")
    assert image_score(plane, 0.3, None, (32, 32)) == (0.3, "pred_label")
    assert image_score(plane, None, None, (32, 32)) == (float(plane.max()), "maximum")
    assert {"calibrated", "pred_label", "maximum"} < set(RULES)
    with pytest.raises(RequestError, match="nan"):
        image_score(plane, math.nan, None, (32, 32))


# in a suite


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three authentic photos."""
    folder = tmp_path_factory.mktemp("authentic") / "Au"
    folder.mkdir()
    generator = np.random.default_rng(5)
    for index in range(3):
        Image.fromarray(generator.integers(0, 255, (70, 90, 3), dtype=np.uint8)).save(folder / f"real {index}.png")
    return folder


def suite_of(path: Path, sets: str) -> Path:
    path.write_text(
        f"""\
image_size: {IMAGE_SIZE}
batch: 2
models:
  - {{name: QMA-Net, model: QMANet, flags: {{variant: miniature, noise_sources: "srm,bayar"}}, checkpoint: random}}
  - {{name: all-tampered, model: AllTampered}}
sets:
{sets}
attacks:
  - {{jpeg: [50]}}
"""
    )
    return path


def test_authentic_photos_are_scored_with_their_score_and_its_rule(
    forgeries: Path, photos: Path, tmp_path: Path
) -> None:
    suite = suite_of(tmp_path / "suite.yaml", f'  - {{name: mixed, path: "{forgeries}", authentic: "{photos}"}}')
    assert launch_suite(Order(str(suite), str(tmp_path / "out"))) == 0
    rows = records(tmp_path / "out")
    assert len(rows) == 2 * 2 * (7 + 3)
    assert rows.authentic.dtype == bool
    assert set(rows[rows.authentic].image) == {"real 0", "real 1", "real 2"}
    assert np.isfinite(rows.image_score).all()
    assert set(rows.image_score_rule) == {"pred_label"}
    assert (rows[rows.model == "all-tampered"].image_score == 1).all()
    authentic = rows[rows.authentic]
    assert (authentic[["f1", "permute_f1", "iou", "auc_stock", "mcc"]] == 0).all(axis=None)  # the framework's value
    assert authentic[["auc", "f1_best"]].isna().all(axis=None)
    strict = authentic[authentic.model == "all-tampered"].f1_strict
    assert (strict == 0).all()


def test_lists_of_the_framework_and_authentic_photos_alone_are_scored_too(photos: Path, tmp_path: Path) -> None:
    forged = make_forgeries(tmp_path / "forged", 2)
    mixed, alone = tmp_path / "mixed.json", tmp_path / "alone.json"
    negative = [[str(path), "Negative"] for path in sorted(photos.iterdir())]
    pair = [str(forged / name / "photo 0.png") for name in ("Tp", "Gt")]
    mixed.write_text(json.dumps([pair, *negative]))
    alone.write_text(json.dumps(negative))
    suite = suite_of(
        tmp_path / "suite.yaml", f'  - {{name: mixed, path: "{mixed}"}}\n  - {{name: alone, path: "{alone}"}}'
    )
    assert launch_suite(Order(str(suite), str(tmp_path / "out"), models=("all-tampered",))) == 0
    rows = records(tmp_path / "out")
    counts = pandas.crosstab(rows[rows.attack == "none"].set, rows.authentic)
    assert counts.loc["mixed"].to_list() == [1, 3]
    assert counts.loc["alone"].to_list() == [0, 3]


def test_folder_without_authentic_photos_is_refused(forgeries: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sets = f'  - {{name: mixed, path: "{forgeries}", authentic: "{tmp_path / "empty"}"}}'
    with pytest.raises(RequestError, match="holds no photo"):
        launch_suite(Order(str(suite_of(tmp_path / "suite.yaml", sets)), str(tmp_path / "out")))


def test_demo_set_with_authentic_photos_is_made_by_the_run(tmp_path: Path) -> None:
    sets = "  - {name: demo, generate: {count: 6, size: 64, authentic: 50}}"
    order = Order(str(suite_of(tmp_path / "suite.yaml", sets)), str(tmp_path / "out"), models=("all-tampered",))
    assert launch_suite(order) == 0
    rows = records(tmp_path / "out")
    assert 0 < rows.authentic.sum() < len(rows)


def test_calibration_of_the_weights_gives_the_score(forgeries: Path, tmp_path: Path) -> None:
    from qmanet_benco import create_model
    from qmanet_benco.model.weights.files import write_safetensors

    calibration = Calibration(0.4, False, -1.0, (0.5, 0.2, 0.1), 10, 10, 0.1)
    weights = tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    network = create_model("miniature", noise_sources="srm,bayar", backbone_weights="random")
    write_safetensors(weights, network.state_dict(), IMAGE_SIZE, calibration)
    suite = suite_of(tmp_path / "suite.yaml", f'  - {{name: seven, path: "{forgeries}"}}')
    suite.write_text(suite.read_text().replace("checkpoint: random", f'checkpoint: "{weights}"'))
    assert launch_suite(Order(str(suite), str(tmp_path / "out"), models=("QMA-Net",))) == 0
    rows = records(tmp_path / "out")
    assert set(rows.image_score_rule) == {"calibrated"}
    assert rows.image_score.between(0, 1).all()
