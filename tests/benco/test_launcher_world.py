"""Which group a process belongs to, from the environment that torchrun, Slurm or nobody set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qmanet_benco.benco.launch import session, stock_script
from qmanet_benco.benco.launch.defaults import with_defaults
from qmanet_benco.benco.launch.elastic import Group
from qmanet_benco.benco.launch.levels import parse_levels
from qmanet_benco.benco.seam import flags
from qmanet_benco.benco.seam.world import first_host, world_of, world_of_one
from qmanet_benco.errors import RequestError

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "29500"}
SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "123456",
    "SLURM_JOB_NODELIST": "gpu[07-08]",
}


def test_nobody_started_a_group() -> None:
    assert world_of({}) is None
    assert world_of_one()["WORLD_SIZE"] == "1"


def test_torchruns_group_is_taken_as_it_is_before_slurms() -> None:
    assert world_of({**SLURM, **TORCHRUN}) == TORCHRUN


def test_a_group_of_one_that_somebody_declared_is_completed() -> None:
    world = world_of({"RANK": "0", "WORLD_SIZE": "1"})
    assert world is not None
    assert world["LOCAL_RANK"] == "0"
    assert world["MASTER_PORT"].isdigit()
    assert world_of({"RANK": "0", "WORLD_SIZE": "1"}, launching=True) is None


@pytest.mark.parametrize(
    "environ", [{"RANK": "0", "WORLD_SIZE": "2"}, {**TORCHRUN, "RANK": "4"}, {**TORCHRUN, "RANK": "x"}]
)
def test_half_a_group_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        world_of(environ)


def test_a_slurm_task_is_a_member() -> None:
    world = world_of(SLURM)
    assert world == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": str(20_000 + 123456 % 20_000),
    }
    own = world_of({**SLURM, "MASTER_ADDR": "head", "MASTER_PORT": "1234"})
    assert own is not None
    assert (own["MASTER_ADDR"], own["MASTER_PORT"]) == ("head", "1234")


def test_scontrol_names_the_hosts_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "scontrol"
    command.write_text('#!/bin/sh\n[ "$1 $2 $3" = "show hostnames odd[1-2]x" ] && printf "odd1x\\nodd2x\\n"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    world = world_of({**SLURM, "SLURM_JOB_NODELIST": "odd[1-2]x"})
    assert world is not None
    assert world["MASTER_ADDR"] == "odd1x"


def test_a_task_that_srun_did_not_start_with_others_is_alone() -> None:
    environ = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "1"}
    assert world_of(environ)["WORLD_SIZE"] == "1"


def test_a_command_in_an_allocation_does_not_wait_for_ever(tmp_path: Path) -> None:
    slurm = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_ID": "77"}
    command = [sys.executable, "-m", "qmanet_benco", "benco", "test", "--model", "QMANet"]
    environ = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        command,
        env={**environ, **slurm, "MASTER_ADDR": "127.0.0.1", "QMANET_GROUP_SECONDS": "2"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "of the 2 processes that SLURM_NTASKS announces, not all came within 2 s" in done.stderr
    assert "SLURM_NTASKS=1 qmanet" in done.stderr


def test_all_tasks_of_srun_meet() -> None:
    script = (
        "import os; from qmanet_benco.benco.seam.world import await_group, world_of; "
        "await_group(os.environ, world_of(os.environ)); print('met')"
    )
    slurm = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "78", "MASTER_ADDR": "127.0.0.1", "QMANET_GROUP_SECONDS": "60"}
    environ = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-c", script], env={**environ, **slurm, "SLURM_PROCID": str(rank)}, stdout=subprocess.PIPE
        )
        for rank in range(2)
    ]
    assert [task.communicate(timeout=120)[0] for task in tasks] == [b"met\n"] * 2


def test_a_slurm_task_that_starts_processes_itself_is_a_machine() -> None:
    assert world_of(SLURM, launching=True) is None


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("node[03-05,9],gpu1", "node03"),
        ("a-b[10,12]", "a-b10"),
        ("rack[1-2]n4,x", "rack1n4"),
        ("node7.cluster.org,node8", "node7.cluster.org"),
    ],
)
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_one_process_is_single_and_others_are_not() -> None:
    assert Group().is_single()
    assert not Group(nproc="2").is_single()
    assert not Group(nnodes=2, rdzv="a:1").is_single()
    assert Group(nproc="2", nnodes=3, rdzv="a:1").size() == 6


@pytest.mark.parametrize("rdzv", ["host", "host:", ":1", "host:port"])
def test_a_meeting_point_has_a_port(rdzv: str) -> None:
    with pytest.raises(RequestError, match="HOST:PORT"):
        Group(nnodes=2, rdzv=rdzv).check()


def test_what_the_user_gives_comes_after_what_the_machine_needs() -> None:
    given = ["--model", "QMANet", "--device", "cuda"]
    assert with_defaults("train", given, cuda=True) == given
    completed = with_defaults("train", given, cuda=False)
    assert completed[-4:] == given
    assert "--if_not_amp" in completed
    assert flags.value_of(completed, "--device") == "cuda"
    assert "--if_not_amp" not in with_defaults("test", given, cuda=False)
    assert "random" in with_defaults("test_complexity", given, cuda=True)


def test_values_of_flags_are_found_in_both_forms() -> None:
    assert flags.value_of(["--model", "A", "--model=B"], "--model") == "B"
    assert flags.value_of([], "--model") == ""


def test_after_a_restart_training_goes_on_from_its_own_newest_checkpoint(tmp_path: Path) -> None:
    arguments = ["--output_dir", str(tmp_path), "--resume", "given.pth"]
    assert stock_script._resume(arguments, since="0") == []
    torch.save({"model": {}}, tmp_path / "checkpoint-3.pth")
    assert stock_script._resume(arguments, since=None) == [], "it was not restarted"
    assert stock_script._resume(arguments, since="0") == ["--resume", str(tmp_path / "checkpoint-3.pth")]


def test_levels_are_read_and_checked() -> None:
    assert parse_levels("jpeg=90,50 blur=0,3") == {"jpeg": [90, 50], "blur": [0, 3]}
    for wrong in ("", "jpeg", "jpeg=", "jpeg=a", "jpeg=101", "blur=2", "noise=-1", "blur=\u00b2"):
        with pytest.raises(RequestError, match="--levels"):
            parse_levels(wrong)


def test_a_missing_system_library_of_opencv_comes_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(session.importlib, "import_module", fail)
    with pytest.raises(RequestError, match="opencv-python-headless"), session.prepared(debug=False):
        pass
