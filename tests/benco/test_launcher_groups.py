"""Several processes: the same figures, one line for a wrong request, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forgeries import COMMON_FLAGS, F1, logged, output_flags, train_flags, write_json

from process_copies import copies
from qmanet_benco.benco.launch.elastic import Group, arguments_of
from qmanet_benco.benco.launch.launcher import Run, launch
from qmanet_benco.benco.seam.world import free_port

QMANET = [sys.executable, "-m", "qmanet_benco"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(command: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=ENVIRONMENT | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(*processes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    errors = [process.communicate(timeout=240)[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def launch_together(runs: list[tuple[Run, Group | None, dict[str, str]]]) -> list[int]:
    """Launch each run in a process of its own; gives the exit codes."""
    processes = [copies().Process(target=_launch_in, args=run) for run in runs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=240)
    return [process.exitcode if process.exitcode is not None else -1 for process in processes]


def _launch_in(run: Run, group: Group | None, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    sys.exit(launch(run, group))


@pytest.fixture(autouse=True)
def _one_thread_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def test_flags(data: Path, trained: Path) -> list[str]:
    flags = [*COMMON_FLAGS, "--test_batch_size", "1", "--checkpoint_path", str(trained)]
    return ["benco", "test", *flags, "--test_data_json", str(data / "sets.json")]


@pytest.fixture(scope="module")
def single(test_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What one process logs for each set."""
    output = tmp_path_factory.mktemp("single")
    assert launch(Run("test", (*test_flags[2:], *output_flags(output)))) == 0
    return scores(output)


def scores(output: Path) -> dict[str, float]:
    found = {path.parent.name: logged(path) for path in output.glob("*/log.txt")}
    assert all(len(lines) == 1 for lines in found.values()), "logged once, not by each process"
    return {name: lines[0][F1] for name, lines in found.items()}


def assert_equal(found: dict[str, float], expected: dict[str, float]) -> None:
    assert set(found) == {"five", "three"}
    assert found == pytest.approx(expected, abs=1e-9)


def test_two_processes_log_what_one_logs(test_flags: list[str], single: dict[str, float], tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), dict(os.environ)
    assert launch(Run("test", (*test_flags[2:], *output_flags(tmp_path))), Group(nproc="2")) == 0
    assert_equal(scores(tmp_path), single)
    assert (signal.getsignal(signal.SIGTERM), dict(os.environ)) == before


@pytest.mark.slow
def test_two_launchers_meet_and_log_what_one_process_logs(
    test_flags: list[str], single: dict[str, float], tmp_path: Path
) -> None:
    run = Run("test", (*test_flags[2:], *output_flags(tmp_path)))
    group = Group(nnodes=2, rdzv=f"127.0.0.1:{free_port()}")
    assert launch_together([(run, group, {}), (run, group, {})]) == [0, 0]
    assert_equal(scores(tmp_path), single)


@pytest.mark.slow
def test_under_a_torchrun_of_the_user_it_is_a_member(
    test_flags: list[str], single: dict[str, float], tmp_path: Path
) -> None:
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    command = [sys.executable, *torchrun, "-m", "qmanet_benco", *test_flags, *output_flags(tmp_path)]
    [(code, err)] = finish(start(command))
    assert code == 0, err
    assert_equal(scores(tmp_path), single)


def test_under_slurm_each_task_is_a_member(test_flags: list[str], single: dict[str, float], tmp_path: Path) -> None:
    job = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": str(free_port() - 20_000), "SLURM_JOB_NODELIST": "localhost"}
    tasks = [job | {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)} for task in range(2)]
    run = Run("test", (*test_flags[2:], *output_flags(tmp_path)))
    assert launch_together([(run, None, task) for task in tasks]) == [0, 0]
    assert_equal(scores(tmp_path), single)


@pytest.mark.slow
def test_a_wrong_request_in_a_loader_worker_of_a_process_is_one_line(
    qmanet: Callable[..., tuple[int, str]], data: Path, trained: Path, tmp_path: Path
) -> None:
    photo, mask = (str(data / "few" / name / "photo01.png") for name in ("Tp", "Gt"))
    cut = tmp_path / "cut.png"
    cut.write_bytes(Path(photo).read_bytes()[:3000])
    listed = write_json(tmp_path / "list.json", [[photo, mask], [str(cut), mask]])
    sets = write_json(tmp_path / "sets.json", {"cut": str(listed)})
    flags = [*COMMON_FLAGS, "--num_workers", "1", "--test_batch_size", "1", *output_flags(tmp_path / "out")]
    command = ["benco", "test", "--nproc", "2", "--without", "input-checks", *flags]
    code, err = qmanet(*command, "--checkpoint_path", str(trained), "--test_data_json", str(sets))
    assert code == 2, err
    assert err.count("\n") == 1
    assert str(cut) in err


def test_a_process_ends_also_when_its_launcher_is_killed() -> None:
    child = (
        "from qmanet_benco.benco.launch.elastic import end_with_parent; end_with_parent(); print(flush=True); input()"
    )
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE)"
    process = subprocess.Popen([sys.executable, "-c", f"{parent}; p.wait()"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    [grandchild] = _children(process.pid)
    process.kill()
    process.wait()
    _wait_for(lambda: not _runs(grandchild), seconds=20)


@pytest.mark.slow
def test_processes_end_with_their_launcher_and_a_killed_one_is_restarted(data: Path, tmp_path: Path) -> None:
    flags = train_flags(data / "train", data / "few", tmp_path / "out", "--epochs", "100000", "--test_period", "100000")
    process = start([*QMANET, "benco", "train", "--max-restarts", "1", *flags])
    try:
        checkpoint = tmp_path / "out" / "checkpoint-0.pth"
        _wait_for(checkpoint.exists)
        [first] = _children(process.pid)
        os.kill(first, signal.SIGKILL)
        _wait_for(lambda: len(list((tmp_path / "out").glob("events.*"))) == 2)
        [second] = _children(process.pid)
        assert second != first
        process.terminate()
        [(code, err)] = finish(process)
        assert code == 128 + signal.SIGTERM
        assert f"training goes on from {checkpoint.parent}/checkpoint-" in err
        assert "Traceback" not in err
        assert not _runs(second)
    finally:
        process.kill()


def _wait_for(condition: object, seconds: float = 120) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def _runs(process: int) -> bool:
    """Whether a process is there and not just waiting to be collected."""
    path = Path(f"/proc/{process}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


def _children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(word) for word in text.split()]


LEFT = """
import os
import torch
from torch import distributed
from qmanet_benco.benco.launch import session
from qmanet_benco.benco.zoo import build as zoo

def threads():
    return [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]

with session.prepared(debug=False):
    distributed.init_process_group("gloo")
    zoo.build_model("QMANet", {"variant": "miniature", "noise_sources": "srm"}, 0, 64)  # imports mmengine
    distributed.barrier()
    joined = [name for name in threads() if "gloo" in name]
    distributed.destroy_process_group()
    left = [name for name in threads() if "gloo" in name]
assert joined, "the threads have other names"
assert not left, left
"""


def test_no_thread_of_a_group_is_left_to_abort_the_process_at_its_end() -> None:
    world = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ended = subprocess.run(
        [sys.executable, "-c", LEFT], env=ENVIRONMENT | world, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.compat
def test_a_process_of_a_group_takes_no_module_from_the_current_folder(tmp_path: Path) -> None:
    """Not even one of Python's name; Python 3.10 has no -P."""
    (tmp_path / "json.py").write_text("raise SystemExit('the folder json.py was imported')", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    module = "import json, sys\ndef main():\n    print(json.__file__, sys.argv[1])\n    return 3\n"
    (tmp_path / "elsewhere" / "a_module.py").write_text(module, encoding="utf-8")
    command = [sys.executable, *arguments_of("a_module", "{}")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "elsewhere")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 3, ended.stderr
    assert str(tmp_path) not in ended.stdout
    assert ended.stdout.endswith(" {}\n")
