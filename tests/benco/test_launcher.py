"""The stock scripts from end to end, in one process."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from forgeries import COMMON_FLAGS, F1, IMAGE_SIZE, MODEL_FLAGS, logged, output_flags, train_flags, write_json
from PIL import Image
from sklearn.metrics import f1_score

from qmanet_benco.benco.launch.launcher import Run, launch

Command = Callable[..., tuple[int, str]]


def expected_f1(checkpoint: Path, folder: Path) -> float:
    """Mean over a set's images of scikit-learn's F1 of the thresholded prediction."""
    from IMDLBenCo.datasets import ManiDataset
    from IMDLBenCo.registry import MODELS

    import qmanet_benco.benco.plugin  # noqa: F401 - registers the model

    model = MODELS.get("QMANet")(variant="miniature", noise_sources="srm,bayar")
    model.load_state_dict(torch.load(checkpoint, weights_only=False)["model"])
    model.eval()
    scores = []
    for sample in ManiDataset(str(folder), is_resizing=True, output_size=(IMAGE_SIZE, IMAGE_SIZE)):
        with torch.no_grad():
            probability = model(sample["image"][None])["pred_mask"]
        truth = sample["mask"].numpy().ravel().astype(bool)
        scores.append(f1_score(truth, probability.numpy().ravel() > 0.5, zero_division=0))
    return float(np.mean(scores))


def test_every_image_of_an_odd_set_is_scored_and_logged_by_its_set(data: Path, trained: Path, tmp_path: Path) -> None:
    flags = (*COMMON_FLAGS, "--test_batch_size", "2", "--checkpoint_path", str(trained), *output_flags(tmp_path))
    assert launch(Run("test", (*flags, "--test_data_json", str(data / "sets.json")))) == 0
    for name, folder in (("five", "test"), ("three", "few")):
        lines = logged(tmp_path / name / "log.txt")
        assert len(lines) == 1
        assert lines[0][F1] > 0
        # the stock metric adds up in float32
        assert lines[0][F1] == pytest.approx(expected_f1(trained / "checkpoint-0.pth", data / folder), abs=1e-6)


def test_training_logs_the_f1_of_its_checkpoint(data: Path, trained: Path) -> None:
    line = logged(trained / "log.txt")[-1]
    assert line[F1] == pytest.approx(expected_f1(trained / "checkpoint-0.pth", data / "test"), abs=1e-6)


def test_two_trainings_with_one_seed_are_equal(data: Path, trained: Path, tmp_path: Path) -> None:
    assert launch(Run("train", tuple(train_flags(data / "train", data / "test", tmp_path)))) == 0
    first, second = (torch.load(folder / "checkpoint-0.pth", weights_only=False) for folder in (trained, tmp_path))
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])


def test_training_resumes_at_the_next_epoch(data: Path, trained: Path, tmp_path: Path) -> None:
    flags = train_flags(data / "train", data / "few", tmp_path, "--resume", str(trained / "checkpoint-0.pth"))
    assert launch(Run("train", (*flags, "--epochs", "2"))) == 0
    assert [line["epoch"] for line in logged(tmp_path / "log.txt")] == [1]
    assert (tmp_path / "checkpoint-1.pth").is_file()


def test_robustness_runs_the_chosen_levels_in_the_frameworks_order_of_folders(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    flags = (*COMMON_FLAGS, "--checkpoint_path", str(trained / "checkpoint-0.pth"), *output_flags(tmp_path))
    run = Run("test_robust", (*flags, "--test_data_path", str(data / "few")), levels="jpeg=90,50 blur=0")
    assert launch(run) == 0
    logs = {path.parent.name.split("(")[0]: logged(path) for path in sorted(tmp_path.glob("*/log.txt"))}
    assert set(logs) == {"JpegCompression", "None"}
    assert len(list(tmp_path.glob("*/log.txt"))) == 3


@pytest.mark.slow
def test_robustness_runs_all_nineteen_levels_of_the_framework(data: Path, trained: Path, tmp_path: Path) -> None:
    flags = (*COMMON_FLAGS, "--checkpoint_path", str(trained / "checkpoint-0.pth"), *output_flags(tmp_path))
    assert launch(Run("test_robust", (*flags, "--test_data_path", str(data / "few")))) == 0
    assert len(list(tmp_path.glob("*/log.txt"))) == 19


def test_masks_of_all_images_are_saved_at_the_images_sizes(
    data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)  # the stock script joins a relative path to itself
    flags = (*COMMON_FLAGS, "--test_batch_size", "2", "--checkpoint_path", "checkpoint-0.pth", *output_flags(tmp_path))
    assert launch(Run("test_save_images", (*flags, "--test_data_path", str(data / "test")))) == 0
    for photo in sorted((data / "test" / "Tp").iterdir()):
        assert Image.open(tmp_path / "pred" / photo.name).size == Image.open(photo).size
    assert "[[" not in capsys.readouterr().out, "pixels were printed"


def test_complexity_measures_a_model_with_a_post_function(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--model", "QMANet", "--variant", "miniature", "--image_size", "64", "--if_resizing", "--num_workers", "0")
    assert launch(Run("test_complexity", flags)) == 0
    line = capsys.readouterr().out.split("per image: ")[1].splitlines()[0]
    one, two = (float(part.split()[0]) for part in line.split(" (multiply-add = 1), "))
    assert one > 0
    assert two == pytest.approx(2 * one, abs=2e-3)  # three digits are printed


def test_a_run_leaves_the_process_as_it_was(data: Path, trained: Path, tmp_path: Path) -> None:
    def state() -> list[object]:
        cudnn = torch.backends.cudnn
        named = [builtins.print, torch.load, torch.distributed.init_process_group, list(sys.argv), dict(os.environ)]
        return [*named, cudnn.enabled, cudnn.deterministic, torch.multiprocessing.get_sharing_strategy()]

    before = state()
    flags = (*COMMON_FLAGS, "--test_batch_size", "2", "--checkpoint_path", str(trained), *output_flags(tmp_path))
    assert launch(Run("test", (*flags, "--test_data_json", str(data / "sets.json")))) == 0
    assert state() == before
    assert not torch.distributed.is_initialized()


def test_a_crash_of_the_script_comes_out_as_it_is(
    data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from IMDLBenCo.evaluation import PixelF1

    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError("in the metric")

    monkeypatch.setattr(PixelF1, "batch_update", crash)
    flags = (*COMMON_FLAGS, "--test_batch_size", "1", "--checkpoint_path", str(trained), *output_flags(tmp_path))
    with pytest.raises(ZeroDivisionError, match="in the metric"):
        launch(Run("test", (*flags, "--test_data_json", str(data / "sets.json"))))


def test_without_corrections_the_framework_behaves_as_published(data: Path, trained: Path, tmp_path: Path) -> None:
    flags = (*COMMON_FLAGS, "--test_batch_size", "2", "--checkpoint_path", str(trained), *output_flags(tmp_path))
    assert launch(Run("test", (*flags, "--test_data_json", str(data / "sets.json")), stock=True)) == 0
    assert not (tmp_path / "five" / "log.txt").exists()
    assert len(logged(tmp_path / "three" / "log.txt")) == 2, "stock: every set's line goes into the last set's log"


def test_wrong_weights_are_one_line(qmanet: Command, data: Path, trained: Path, tmp_path: Path) -> None:
    flags = (*COMMON_FLAGS, "--num_queries", "3", "--checkpoint_path", str(trained), *output_flags(tmp_path))
    code, err = qmanet("benco", "test", *flags, "--test_data_json", str(data / "sets.json"))
    assert code == 2
    assert err.count("\n") == 1


def test_a_damaged_image_in_a_loader_worker_is_one_line(
    qmanet: Command, data: Path, trained: Path, tmp_path: Path
) -> None:
    photo = data / "few" / "Tp" / "photo01.png"
    mask = data / "few" / "Gt" / "photo01.png"
    cut = tmp_path / "cut.png"
    cut.write_bytes(photo.read_bytes()[:3000])
    listed = write_json(tmp_path / "list.json", [[str(photo), str(mask)], [str(cut), str(mask)]])
    sets = write_json(tmp_path / "sets.json", {"cut": str(listed)})
    flags = (*COMMON_FLAGS, "--num_workers", "1", "--test_batch_size", "1", *output_flags(tmp_path / "out"))
    command = ("benco", "test", "--without", "input-checks", *flags, "--checkpoint_path", trained)
    code, err = qmanet(*command, "--test_data_json", sets)
    assert (code, err) == (
        2,
        f"qmanet: error: {cut} cannot be read (damaged or cut off: image file is truncated); "
        "expected an undamaged image file; "
        "replace or remove it\n",
    )


def test_weights_without_gradients_are_one_line(
    qmanet: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from IMDLBenCo.registry import MODELS

    network = MODELS.get("QMANet")

    def with_idle_weights(variant: str = "miniature") -> torch.nn.Module:
        model = network(variant)
        model.idle = torch.nn.Linear(2, 2)
        return model

    monkeypatch.setitem(MODELS.module_dict, "Idle", with_idle_weights)
    with_idle_weights.__annotations__.update(variant=str)
    flags = [word for word in train_flags(data / "train", data / "few", tmp_path) if word not in MODEL_FLAGS]
    code, err = qmanet("benco", "train", "--model", "Idle", *flags)
    assert code == 2
    assert "--find_unused_parameters" in err
    assert qmanet("benco", "train", "--model", "Idle", "--find_unused_parameters", *flags)[0] == 0


def test_help_explains_options_flags_and_the_models_own(qmanet: Command, capsys: pytest.CaptureFixture[str]) -> None:
    from qmanet_benco.cli import main as cli

    assert cli.app(["benco", "train", "--help"], standalone_mode=False) is None
    assert "--max-restarts" in capsys.readouterr().out
    cli.app(["benco", "train", *MODEL_FLAGS[:2], "--help"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "--accum_iter" in shown
    assert "tamper-aware queries" in " ".join(shown.split())
