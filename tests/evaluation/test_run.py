"""A suite's records: the stock test's numbers, once for each image, whatever interrupts or shares the work."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from made_sets import COMMON_FLAGS, IMAGE_SIZE
from PIL import Image

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.suite import fingerprint
from qmanet_benco.evaluation.suite.launch import Order, launch_suite

CELLS = 6
"""Two models x one set x (none, jpeg, noise)."""


def records(out: Path) -> pandas.DataFrame:
    tables = [pandas.read_parquet(path) for path in sorted((out / "records").glob("*.parquet"))]
    return pandas.concat(tables).sort_values(["model", "set", "attack", "level", "image"]).reset_index(drop=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filled by the first test that needs an uninterrupted run."""
    return tmp_path_factory.mktemp("finished") / "out"


@pytest.fixture
def whole(finished: Path, suite_file: Path) -> Path:
    if not finished.exists():
        assert launch_suite(Order(str(suite_file), str(finished))) == 0
    return finished


def test_every_image_of_every_cell_has_one_row(whole: Path) -> None:
    rows = records(whole)
    assert len(rows) == CELLS * 7
    assert not rows.duplicated(["model", "seed", "set", "attack", "level", "image"]).any()
    assert set(zip(rows["attack"], rows["level"], strict=True)) == {("none", 0.0), ("jpeg", 50.0), ("noise_std", 11.0)}
    assert {"f1", "permute_f1", "iou", "auc", "auc_stock"} <= set(rows.columns)
    floor = rows[(rows.model == "all-tampered") & (rows.attack == "none")]
    np.testing.assert_allclose(floor.f1, 2 * floor.tampered / (1 + floor.tampered), atol=1e-6)
    assert not (whole / "records" / ".parts").exists() or not any((whole / "records" / ".parts").iterdir())


@pytest.mark.parametrize("nproc", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_mean_f1_is_what_the_stock_test_logs(
    nproc: str, whole: Path, forgeries: Path, checkpoint: Path, tmp_path: Path
) -> None:
    from qmanet_benco.benco.launch.elastic import Group
    from qmanet_benco.benco.launch.launcher import Run, launch

    sets = tmp_path / "sets.json"
    sets.write_text(json.dumps({"seven": str(forgeries)}))
    only = tmp_path / "checkpoints"
    only.mkdir()
    shutil.copy(checkpoint, only)
    flags = ("--checkpoint_path", str(only), "--test_data_json", str(sets), "--test_batch_size", "1")
    out = ("--output_dir", str(tmp_path / "log"), "--log_dir", str(tmp_path / "log"))
    assert launch(Run("test", (*COMMON_FLAGS, *flags, *out)), Group(nproc)) == 0
    logged = json.loads((tmp_path / "log" / "seven" / "log.txt").read_text().splitlines()[-1])
    rows = records(whole)
    own = rows[(rows.model == "QMA-Net") & (rows.attack == "none")].f1.mean()
    assert own == pytest.approx(logged["test_pixel-level F1"], abs=1e-6)


def test_two_processes_write_the_same_bytes_as_one(whole: Path, suite_file: Path, tmp_path: Path) -> None:
    assert launch_suite(Order(str(suite_file), str(tmp_path / "two")), nproc="2") == 0
    files = sorted(path.name for path in (whole / "records").glob("*.parquet"))
    assert files == sorted(path.name for path in (tmp_path / "two" / "records").glob("*.parquet"))
    for name in files:
        assert (whole / "records" / name).read_bytes() == (tmp_path / "two" / "records" / name).read_bytes(), name


KILLED = """
import os, signal, sys
from qmanet_benco.evaluation.suite import launch
from qmanet_benco.benco.launch import session
from qmanet_benco.evaluation.suite.suite_file import read_suite
with session.prepared(False):
    from qmanet_benco.evaluation.suite import cell, run
    run.SECONDS_BETWEEN_PARTS = -1.0
    stock, left = cell.image_metrics, [int(sys.argv[3])]
    def count(*arguments):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return stock(*arguments)
    cell.image_metrics = count
    launch.launch_suite(launch.Order(sys.argv[1], sys.argv[2]))
"""


@pytest.mark.parametrize("images", [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, 5)), 12])
def test_killed_run_goes_on_and_ends_with_the_same_bytes(
    images: int, whole: Path, suite_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "killed"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(suite_file), str(out), str(images)], capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    capsys.readouterr()
    assert launch_suite(Order(str(suite_file), str(out))) == 0
    kept = images // 2 * 2  # whole batches of two, which the two models score in turns
    assert f"{CELLS * 7 - kept} images scored, {kept} kept" in capsys.readouterr().out
    for path in (whole / "records").glob("*.parquet"):
        assert path.read_bytes() == (out / "records" / path.name).read_bytes(), path.name


def test_finished_run_scores_nothing_again(
    whole: Path, suite_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(whole, tmp_path / "again")
    capsys.readouterr()
    assert launch_suite(Order(str(suite_file), str(out))) == 0
    assert f"0 images scored, {CELLS * 7} kept" in capsys.readouterr().out


def test_record_does_not_depend_on_the_other_images_of_the_set_or_batch(
    whole: Path, suite_file: Path, forgeries: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part"
    for name in ("Tp", "Gt"):
        (part / name).mkdir(parents=True)
        for index in (6, 2, 3):
            shutil.copy(forgeries / name / f"photo {index}.png", part / name)
    assert launch_suite(Order(str(suite_file), str(tmp_path / "out"), sets={"seven": str(part)})) == 0
    few, all_rows = records(tmp_path / "out"), records(whole)
    merged = few.merge(all_rows, on=["model", "attack", "level", "image"], suffixes=("", "_all"))
    assert len(merged) == CELLS * 3
    for name in ("f1", "iou", "auc", "predicted"):
        np.testing.assert_allclose(merged[name], merged[f"{name}_all"], atol=2e-3)


def test_records_of_changed_weights_or_images_are_set_aside_and_never_mixed(
    whole: Path, suite_file: Path, forgeries: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(whole, tmp_path / "changed")
    other = shutil.copytree(forgeries, tmp_path / "other")
    with Image.open(other / "Tp" / "photo 1.png") as image:
        turned = image.transpose(Image.Transpose.ROTATE_180)
    turned.save(other / "Tp" / "photo 1.png")
    assert launch_suite(Order(str(suite_file), str(out), sets={"seven": str(other)})) == 0
    assert len(records(out)) == CELLS * 7
    assert len(list((out / "superseded").glob("*.parquet"))) == CELLS


def test_model_that_fails_does_not_stop_the_others(
    suite_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = suite_file.read_text().replace(
        "sets:",
        "  - {name: SAM, model: SAM, flags: {variant: miniature, input_size: 128}, checkpoint: random}\nsets:",
    )  # built for another size than the suite's
    suite_file.write_text(text)
    assert launch_suite(Order(str(suite_file), str(tmp_path / "out"))) == 1
    assert "failed: SAM: " in capsys.readouterr().err
    assert len(records(tmp_path / "out")) == CELLS * 7


def test_missing_files_are_refused_before_any_work_or_left_out_where_asked(suite_file: Path, tmp_path: Path) -> None:
    missing = {"QMA-Net": str(tmp_path / "absent.pth")}
    with pytest.raises(RequestError, match=r"absent\.pth is not a file"):
        launch_suite(Order(str(suite_file), str(tmp_path / "out"), checkpoints=missing))
    assert not (tmp_path / "out").exists()
    assert launch_suite(Order(str(suite_file), str(tmp_path / "out"), checkpoints=missing, skip_missing=True)) == 0
    assert set(records(tmp_path / "out").model) == {"all-tampered"}


def test_unknown_model_and_flag_are_refused_before_any_work(suite_file: Path, tmp_path: Path) -> None:
    for was, becomes, says in (("QMANet", "QMANett", "QMANett"), ("variant:", "varient:", "varient")):
        path = tmp_path / "wrong.yaml"
        path.write_text(suite_file.read_text().replace(was, becomes, 1))
        with pytest.raises(RequestError, match=says):
            launch_suite(Order(str(path), str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_folder_with_other_things_is_left_alone(suite_file: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("mine")
    with pytest.raises(RequestError, match=r"thesis\.tex"):
        launch_suite(Order(str(suite_file), str(tmp_path / "home")))
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.tex"]


def test_predictions_are_kept_where_asked_for(suite_file: Path, tmp_path: Path) -> None:
    suite_file.write_text("save_predictions: true\n" + suite_file.read_text())
    assert launch_suite(Order(str(suite_file), str(tmp_path / "out"), models=("all-tampered",))) == 0
    for attack in ("none-0", "jpeg-50", "noise_std-11"):
        saved = np.load(tmp_path / "out" / "predictions" / "all-tampered" / "seven" / attack / "photo 0.npy")
        assert saved.dtype == np.float32
        assert saved.shape == (IMAGE_SIZE, IMAGE_SIZE)
        assert (saved == 1).all()


def test_description_names_all_that_the_report_needs(whole: Path) -> None:
    described = json.loads((whole / "suite.json").read_text())
    assert [entry["name"] for entry in described["models"]] == ["QMA-Net", "all-tampered"]
    assert described["sets"][0]["images"] == 7
    assert len(described["cells"]) == CELLS
    assert {"torch", "imdlbenco", "numpy"} <= set(described["environment"])
    assert len(list((whole / "previews" / "mask" / "QMA-Net@0" / "seven").glob("*.png"))) == 3


def test_records_outlive_a_change_of_the_report_but_not_of_what_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring = ("model/network.py", "benco/scoring.py", "evaluation/detection.py", "images.py", "pixels.py")
    for name in (*scoring, "evaluation/cost.py", "evaluation/report/detection.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)

    version = fingerprint.code_version.__wrapped__  # the function behind its cache

    def version_after(name: str) -> str:
        (tmp_path / name).write_text(f"# {name}", encoding="utf-8")
        return version()

    first = version()
    assert version_after("evaluation/report/detection.py") == version_after("evaluation/cost.py") == first
    assert len({first, *(version_after(name) for name in scoring)}) == 1 + len(scoring)


def test_models_that_share_images_have_the_records_that_each_has_alone(
    whole: Path, suite_file: Path, tmp_path: Path
) -> None:
    suite_file.write_text("workers: 0\n" + suite_file.read_text())
    for model in ("QMA-Net", "all-tampered"):
        assert launch_suite(Order(str(suite_file), str(tmp_path / "alone"), models=(model,))) == 0
    files = sorted(path.name for path in (whole / "records").glob("*.parquet"))
    assert len(files) == CELLS
    assert files == sorted(path.name for path in (tmp_path / "alone" / "records").glob("*.parquet"))
    for name in files:
        assert (whole / "records" / name).read_bytes() == (tmp_path / "alone" / "records" / name).read_bytes(), name


def test_every_photo_is_attacked_once_for_all_models(
    suite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qmanet_benco.evaluation.attacks import Seeded

    attacked: list[str] = []
    stock = Seeded.__call__

    def counted(self: Seeded, image: np.ndarray, **rest: object) -> dict[str, object]:
        attacked.append(self.attack.name)
        return stock(self, image, **rest)

    monkeypatch.setattr(Seeded, "__call__", counted)
    assert launch_suite(Order(str(suite_file), str(tmp_path / "out"))) == 0
    assert {name: attacked.count(name) for name in set(attacked)} == {"jpeg": 7, "noise_std": 7}


def test_models_that_do_not_fit_into_memory_together_are_scored_in_turns(
    whole: Path, suite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qmanet_benco.evaluation.suite import run

    monkeypatch.setattr(run, "free_bytes", lambda: 0)
    assert launch_suite(Order(str(suite_file), str(tmp_path / "out"))) == 0
    assert (tmp_path / "out" / "suite.json").read_bytes() == (whole / "suite.json").read_bytes()
    for path in (whole / "records").glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "out" / "records" / path.name).read_bytes(), path.name


def test_bf16_is_recorded_where_it_was_computed_and_only_there(
    whole: Path, suite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qmanet_benco import precision

    for there in (False, True):
        out = tmp_path / str(there)
        monkeypatch.setattr(precision, "has_bf16", lambda _, there=there: there)
        assert launch_suite(Order(str(suite_file), str(out), models=("QMA-Net",), precision="bf16")) == 0
        assert json.loads((out / "suite.json").read_text())["precision"] == ("bf16" if there else "fp32")
        names = {path.name for path in (out / "records").glob("*.parquet")}
        assert len(names) == CELLS // 2
        of_fp32 = {path.name for path in (whole / "records").glob("*.parquet")}
        assert names.isdisjoint(of_fp32) if there else names < of_fp32


def test_an_unknown_precision_is_refused_before_any_work(suite_file: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="fp32, bf16"):
        launch_suite(Order(str(suite_file), str(tmp_path / "out"), precision="fp64"))
    assert not (tmp_path / "out").exists()


def test_nothing_more_is_loaded_for_models_that_have_failed(
    suite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from qmanet_benco.benco import scoring, shared_samples

    loaded: list[int] = []
    stock = shared_samples.SharedSamples.__getitem__

    def counted(self: shared_samples.SharedSamples, index: int) -> list[object]:
        loaded.append(index)
        return list(stock(self, index))

    def fail(*_: object) -> None:
        raise RuntimeError("no answer")

    monkeypatch.setattr(shared_samples.SharedSamples, "__getitem__", counted)
    monkeypatch.setattr(scoring, "predict_batch", fail)
    assert launch_suite(Order(str(suite_file), str(tmp_path / "out"))) == 1
    assert capsys.readouterr().err.count("RuntimeError: no answer") == 2
    assert len(loaded) <= 4, "one batch of two, and the next that was on its way"
