"""What happens to a training when something goes wrong: non-finite losses, storage that fails, damaged checkpoints."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from forgeries import make_set, train_flags

from kill_trainings import different, experiment
from qmanet_benco.benco.launch.elastic import Group
from qmanet_benco.benco.launch.launcher import Run, launch
from qmanet_benco.benco.resume.retention import LEDGER, Ledger, newest_of_training, read_ledger
from qmanet_benco.benco.resume.training import Training
from qmanet_benco.benco.seam.checkpoints import mapped, newest_checkpoint, save_atomically
from qmanet_benco.benco.seam.options import Options
from qmanet_benco.errors import RequestError
from qmanet_benco.model.weights.files import read_checkpoint, sum_path, verify_sum


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("resilience")
    make_set(root / "train", 6)
    make_set(root / "test", 2, seed=1)
    return root


@pytest.fixture(scope="module")
def train(sets: Path) -> Callable[..., int]:
    def run(output: Path, *more: str, group: Group | None = None) -> int:
        flags = train_flags(sets / "train", sets / "test", output, "--test_period", "1", *more)
        return launch(Run("train", tuple(flags)), group)

    return run


@pytest.fixture(scope="module")
def whole(train: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs without a fault."""
    output = tmp_path_factory.mktemp("whole") / "run"
    assert train(output, "--epochs", "3", "--keep", "1") == 0
    return output


def content(path: Path) -> dict[str, Any]:
    loaded = dict(mapped(path))
    loaded.pop("args")
    return loaded


def test_the_newest_and_the_best_are_kept_with_their_sums(whole: Path) -> None:
    ledger = json.loads((whole / LEDGER).read_text())
    assert set(ledger["metrics"]) == {"0", "1", "2"}
    expected = {f"checkpoint-{epoch}.pth" for epoch in {2, ledger["best"]}}
    assert {path.name for path in whole.glob("*.pth")} == expected
    for name in expected:
        verify_sum(whole / name)
        assert sum_path(whole / name).is_file()


def test_a_checkpoint_loads_without_running_code_and_in_the_stock_way(whole: Path) -> None:
    path = whole / "checkpoint-2.pth"
    assert read_checkpoint(path)["qmanet_random_states"]
    assert set(torch.load(path, weights_only=False)) >= {"model", "optimizer", "epoch", "scaler", "args"}


def test_training_that_lost_its_newest_checkpoint_ends_with_the_same_bits_whatever_the_workers(
    train: Callable[..., int], whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert train(tmp_path, "--epochs", "3", "--keep", "3", "--num_workers", "1") == 0
    assert different(content(whole / "checkpoint-2.pth"), content(tmp_path / "checkpoint-2.pth")) == []
    damaged = tmp_path / "checkpoint-2.pth"
    damaged.write_bytes(damaged.read_bytes()[:-7] + b"changed")
    with (tmp_path / "log.txt").open("a") as log:
        log.write('{"cut sho')
    assert train(tmp_path, "--epochs", "3", "--keep", "3", "--resume", "auto", "--num_workers", "2") == 0
    assert "passed over: " in caplog.text
    assert different(content(whole / "checkpoint-2.pth"), content(tmp_path / "checkpoint-2.pth")) == []
    assert [json.loads(line)["epoch"] for line in (tmp_path / "log.txt").read_text().splitlines()] == [0, 1, 2, 2]


@pytest.mark.slow
def test_killed_trainings_end_as_one_that_was_never_killed(tmp_path: Path) -> None:
    outcome = experiment(tmp_path / "out", kills=3, epochs=3)
    assert len(outcome.kills) == 3
    assert any(kill.moment == "in a write" for kill in outcome.kills)
    assert outcome.differences == []


def test_a_comparison_finds_a_single_bit() -> None:
    first = {"model": {"a": torch.zeros(3)}, "epoch": 1}
    second = {"model": {"a": torch.tensor([0.0, 0.0, 1e-45])}, "epoch": 1}
    assert different(first, first) == []
    assert different(first, second) == ["/model/a"]


def test_a_damaged_checkpoint_is_one_line_and_an_earlier_one_is_taken(tmp_path: Path) -> None:
    for epoch in (0, 1):
        save_atomically({"model": {"a": torch.full((50,), float(epoch))}}, tmp_path / f"checkpoint-{epoch}.pth")
    path = tmp_path / "checkpoint-1.pth"
    data = bytearray(path.read_bytes())
    data[data.index(b"\x00\x00\x80?")] ^= 1  # one bit of a weight: torch would load it
    path.write_bytes(data)
    assert torch.load(path, weights_only=True)["model"]["a"].shape == (50,)
    with pytest.raises(RequestError, match=r"checkpoint-1\.pth is not the file whose SHA-256"):
        read_checkpoint(path)
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-0.pth"


def test_files_of_an_earlier_training_are_neither_removed_nor_resumed(tmp_path: Path) -> None:
    for epoch in (0, 1, 9):
        save_atomically({"model": {}}, tmp_path / f"checkpoint-{epoch}.pth")
    ledger = Ledger(tmp_path, {0, 1}, {0: 0.5, 1: 0.4})
    assert ledger.prune(1) == []
    assert newest_of_training(tmp_path) == tmp_path / "checkpoint-1.pth"
    assert read_ledger(tmp_path, until=0).written == {0}


def test_the_best_of_two_test_sets_survives_a_first_set_that_flatters_a_later_epoch(tmp_path: Path) -> None:
    training = Training(Options(keep=1), Ledger(tmp_path))
    scores = {0: (0.5, 0.5), 1: (0.9, 0.05), 2: (0.1, 0.1)}
    evaluators = [SimpleNamespace(name="F1")]
    for epoch, of_sets in scores.items():
        training.metrics.clear()
        save_atomically({"model": {}}, tmp_path / f"checkpoint-{epoch}.pth")
        training.ledger.written.add(epoch)
        training.ledger.prune(1)
        for score in of_sets:
            stock = lambda *_, score=score, **__: {"F1": score}  # noqa: E731
            training.test_one_epoch(stock, None, epoch=epoch, evaluator_list=evaluators)
        # a kill may come now: what is stored has to know this epoch's metric
        assert read_ledger(tmp_path, until=epoch).metrics == training.ledger.metrics
    training.end()
    assert training.ledger.best == 0
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["checkpoint-0.pth", "checkpoint-2.pth"]


@pytest.mark.parametrize("content", ['{"written": [Infinity], "metrics": {}}', "[" * 100_000, "{}", "[]"])
def test_a_damaged_ledger_counts_as_none(content: str, tmp_path: Path) -> None:
    save_atomically({"model": {}}, tmp_path / "checkpoint-0.pth")
    (tmp_path / LEDGER).write_text(content)
    assert read_ledger(tmp_path, until=5).written == {0}


@pytest.fixture
def bad_loss(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the plugin's loss be NaN for some images; BatchNorm has seen NaN by then."""
    from qmanet_benco import QMANet

    stock = QMANet.forward

    def spoil(*names: str) -> None:
        def forward(self: Any, image: Any, *args: Any, **kwargs: Any) -> Any:
            if self.training and set(names or kwargs["name"]) & set(kwargs["name"]):
                for module in self.modules():
                    if getattr(module, "running_mean", None) is not None:
                        module.running_mean.fill_(float("nan"))
                output = stock(self, image, *args, **kwargs)
                output["backward_loss"] = output["backward_loss"] * float("nan")
                output["visual_loss"] = {key: value * float("nan") for key, value in output["visual_loss"].items()}
                return output
            return stock(self, image, *args, **kwargs)

        monkeypatch.setattr(QMANet, "forward", forward)

    return spoil


def test_a_step_without_a_finite_loss_changes_nothing_and_names_its_images(
    train: Callable[..., int], bad_loss: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad_loss("photo03.png")
    assert train(tmp_path, "--keep", "1", "--epochs", "1") == 0
    assert "its loss is not finite" in caplog.text
    assert "photo03.png" in caplog.text
    stored = content(tmp_path / "checkpoint-0.pth")
    assert all(torch.isfinite(value).all() for value in stored["model"].values())
    assert {int(state["step"]) for state in stored["optimizer"]["state"].values()} == {2}, "one of three was skipped"
    assert "NaN" not in (tmp_path / "log.txt").read_text()


def test_too_many_bad_steps_stop_the_run_in_one_line(
    train: Callable[..., int], bad_loss: Callable[..., None], whole: Path, tmp_path: Path
) -> None:
    bad_loss()
    flags = ("--epochs", "5", "--keep", "1", "--max-bad-steps", "2", "--resume", str(whole / "checkpoint-2.pth"))
    with pytest.raises(RequestError, match=r"stopped after 2 steps .*photo.*; expected a finite loss; .*checkpoint"):
        train(tmp_path, *flags)


def test_a_gradient_that_is_not_finite_is_skipped_too_and_clipping_bounds_the_others() -> None:
    from qmanet_benco.benco.resume.steps import StepGuard
    from qmanet_benco.benco.seam.options import Options

    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    guard = StepGuard(Options(clip_grad=0.5))
    scaler = type("Scaler", (), {"_scaler": torch.amp.GradScaler("cpu", enabled=False)})()
    step = partial(guard.call, lambda *_: None)
    step(scaler, ((weight - 1).abs() ** 0.5).sum(), optimizer, parameters=[weight])  # 0 ** -0.5
    assert guard.bad_steps == 1
    before = weight.detach().clone()
    step(scaler, (weight * 100).sum(), optimizer, parameters=[weight])
    assert float((weight - before).norm()) == pytest.approx(0.5, rel=1e-4)


@pytest.fixture
def third_write_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The flush of a checkpoint fails at the third epoch."""
    stock = os.fsync

    def fail(number: int) -> None:
        def fsync(handle: int) -> None:
            name = Path(f"/proc/self/fd/{handle}").readlink().name
            if name == ".checkpoint-1.pth.part":
                raise OSError(number, os.strerror(number))
            stock(handle)

        monkeypatch.setattr(os, "fsync", fsync)

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_is_one_line_and_earlier_checkpoints_are_intact(
    train: Callable[..., int], third_write_fails: Callable[[int], None], tmp_path: Path, number: int
) -> None:
    third_write_fails(number)
    with pytest.raises(RequestError, match=rf"checkpoint-1\.pth cannot be written \(.*{os.strerror(number)}"):
        train(tmp_path, "--epochs", "3", "--keep", "1")
    assert newest_of_training(tmp_path) == tmp_path / "checkpoint-0.pth"
    assert not list(tmp_path.glob(".*"))


@pytest.fixture
def small_files() -> Iterator[None]:
    """The kernel refuses files of more than 64 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_the_kernel_refuses_leaves_the_earlier_file(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "checkpoint-0.pth"
    save_atomically({"model": {"a": torch.zeros(10)}}, path)
    with pytest.raises(RequestError, match="cannot be written"):
        save_atomically({"model": {"a": torch.zeros(1 << 20)}}, path)
    assert read_checkpoint(path)["model"]["a"].shape == (10,)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name, f"{path.name}.sha256"]


@pytest.mark.parametrize("lost", ["data", "output"])
def test_a_folder_that_is_lost_during_the_run_is_one_line(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    from IMDLBenCo.training_scripts import tester

    folders = {"data": make_set(tmp_path / "train", 4), "output": tmp_path / "out"}
    stock = tester.test_one_epoch

    def lose(*args: Any, **kwargs: Any) -> Any:
        if folders[lost].exists():
            folders[lost].rename(tmp_path / "elsewhere")
        return stock(*args, **kwargs)

    monkeypatch.setattr(tester, "test_one_epoch", lose)
    flags = train_flags(folders["data"], sets / "test", folders["output"], "--epochs", "3", "--keep", "1")
    with pytest.raises(RequestError) as error:
        launch(Run("train", tuple(flags)))
    assert "\n" not in str(error.value)
    kept = tmp_path / "elsewhere" if lost == "output" else folders["output"]
    assert newest_checkpoint(kept) == kept / "checkpoint-0.pth"
