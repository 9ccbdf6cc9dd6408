"""Several processes: a bad loss in one is skipped by all, and a killed one costs nothing but time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from forgeries import make_set, train_flags
from torch import distributed, nn

from kill_trainings import compared
from process_copies import run_in_copies
from qmanet_benco.benco.resume.steps import StepGuard
from qmanet_benco.benco.seam.options import Options
from qmanet_benco.benco.seam.world import free_port

QMANET = [sys.executable, "-m", "qmanet_benco", "benco", "train"]


def _take_steps(rank: int, port: int, results: str) -> None:
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    guard = StepGuard(Options(clip_grad=1.0))
    step = partial(guard.call, lambda *_: None)
    scaler: Any = type("Scaler", (), {"_scaler": torch.amp.GradScaler("cpu", enabled=False)})()
    torch.manual_seed(1 + rank)
    for number in range(4):
        image = torch.randn(4, 3)
        guard.before_batch(model, {"name": [f"{rank}-{number}.png"]})
        bad = number == 2 and rank == 1
        loss = model(image * float("nan") if bad else image).square().mean()
        step(scaler, loss, optimizer, parameters=model.parameters())
        optimizer.zero_grad()
    steps = [int(state["step"]) for state in optimizer.state.values()]
    torch.save({"model": model.module.state_dict(), "steps": steps, "bad": guard.bad_steps}, f"{results}/{rank}.pth")
    distributed.destroy_process_group()


def test_a_bad_loss_in_one_process_is_skipped_by_all(tmp_path: Path) -> None:
    run_in_copies(_take_steps, (free_port(), str(tmp_path)), 2)
    first, second = (torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in (0, 1))
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert torch.isfinite(first["model"][name]).all()
        assert torch.equal(first["model"][name], second["model"][name])
    assert all(torch.isfinite(one["model"]["1.running_mean"]).all() for one in (first, second))
    assert [(set(one["steps"]), one["bad"]) for one in (first, second)] == [({3}, 1), ({3}, 1)]


@pytest.mark.slow
def test_a_killed_process_of_a_group_costs_nothing_but_time(tmp_path: Path) -> None:
    make_set(tmp_path / "train", 8)
    make_set(tmp_path / "test", 2, seed=1)
    more = ("--epochs", "3", "--keep", "2", "--test_period", "1")
    for name in ("whole", "killed"):
        flags = train_flags(tmp_path / "train", tmp_path / "test", tmp_path / name, *more)
        command = [*QMANET, "--nproc", "2", "--max-restarts", "3", *flags]
        with (tmp_path / f"{name}.log").open("w") as log:
            process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)
        if name == "killed":
            _kill_a_member(process, tmp_path / name / "checkpoint-0.pth")
        assert process.wait(timeout=400) == 0
    assert "training goes on from" in (tmp_path / "killed.log").read_text()
    assert compared(tmp_path / "whole", tmp_path / "killed") == []


def _kill_a_member(process: subprocess.Popen[bytes], checkpoint: Path) -> None:
    end = time.monotonic() + 300
    while not checkpoint.exists():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)


def test_a_report_that_was_cut_short_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qmanet_benco.benco.launch import elastic

    monkeypatch.setenv(elastic.REPORTS, str(tmp_path))

    def cut(self: Path, text: str) -> None:
        self.write_bytes(text[:0].encode())
        raise OSError("ended by the agent")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", cut)
        elastic.report(ValueError("lost"))
    assert not elastic.asked_before()
    elastic.report(elastic.RequestError("wrong"))
    assert elastic.asked_before()
