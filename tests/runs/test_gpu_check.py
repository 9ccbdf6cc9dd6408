"""runs/gpu_check.sh: bounds on time, nothing lost, one failure stops nothing, and the whole of it on a CPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gpu_check
import gpu_job
import gpu_work
from gpu_phases import FIGURES, NOT_HERE, NotHereError, Phase, run_phases
from gpu_report import Notes, Report, as_markdown

ROOT = Path(__file__).parents[2]
GPU_MODULES = ROOT / "runs" / "measure" / "gpu"
NOTE = f"import json, os; open(os.environ[{FIGURES!r}], 'w').write(json.dumps"
"""Beginning of a fake phase that writes its figures."""


def fake(name: str, code: str, share: float = 1, *needs: str) -> Phase:
    return Phase(name, [sys.executable, "-c", code], share, needs)


def run(folder: Path, phases: list[Phase], seconds: float = 60) -> dict[str, dict[str, Any]]:
    """The phases' entries in gpu.json by name."""
    run_phases(phases, Report(folder), seconds)
    return {entry["name"]: entry for entry in written(folder)["phases"]}


def written(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "gpu.json").read_text(encoding="utf-8"))


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_failing_phase_does_not_stop_the_later_ones(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        [
            fake("broken", "import sys; sys.exit('the card is on fire')"),
            fake("needy", "pass", 1, "broken"),
            fake("absent", f"{NOTE}({{'reason': 'no card'}})); raise SystemExit({NOT_HERE})"),
            fake("good", f"{NOTE}({{'images_per_s': 12.5}}))"),
        ],
    )
    assert [entry["status"] for entry in found.values()] == ["failed", "skipped", "skipped", "passed"]
    assert found["broken"]["reason"] == "code 1: the card is on fire"
    assert found["needy"]["reason"] == "it needs what did not pass: broken"
    assert found["absent"]["reason"] == "no card"
    assert found["good"]["figures"] == {"images_per_s": 12.5}
    said = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "| broken | failed |" in said
    assert "- images per s: 12.5" in said


def test_a_phase_is_cut_off_at_its_bound_with_its_processes_and_keeps_its_figures(tmp_path: Path) -> None:
    endless = (
        "import json, os, subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; "
        f"time.sleep(600)']); open(os.environ[{FIGURES!r}], 'w').write(json.dumps({{'child': child.pid}})); "
        "time.sleep(600)"
    )
    start = time.monotonic()
    found = run(tmp_path, [fake("endless", endless), fake("later", "pass")], seconds=10)
    assert time.monotonic() - start < 30
    assert found["endless"]["status"] == "cut off"
    assert "longer than its 5 seconds" in found["endless"]["reason"]
    wait_for(lambda: not is_alive(found["endless"]["figures"]["child"]))
    assert found["later"]["status"] == "passed"


def test_time_that_is_left_goes_to_the_later_phases(tmp_path: Path) -> None:
    found = run(tmp_path, [fake("short", "pass", 1), fake("long", "pass", 1)], seconds=100)
    assert found["short"]["bound_seconds"] == pytest.approx(50, abs=1)
    assert found["long"]["bound_seconds"] > 60


def test_without_time_a_phase_is_skipped(tmp_path: Path) -> None:
    assert run(tmp_path, [fake("late", "pass")], seconds=1)["late"]["reason"] == "no time was left"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["asked", "killed"])
def test_what_was_found_before_the_script_is_killed_is_kept(how: signal.Signals, tmp_path: Path) -> None:
    endless = f"{NOTE}({{'self': os.getpid()}})); import time; time.sleep(600)"
    code = (
        f"import sys; sys.path.insert(0, {str(GPU_MODULES)!r}); import gpu_check; from gpu_phases import Phase; "
        "from pathlib import Path; "
        f"gpu_check.phases_of = lambda *_: [Phase('quick', [sys.executable, '-c', '''{NOTE}({{'rate': 3.5}}))'''], 1), "
        f"Phase('endless', [sys.executable, '-c', '''{endless}'''], 9)]; "
        f"raise SystemExit(gpu_check.check(Path({str(tmp_path)!r}), 'cpu', 10))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(lambda: (tmp_path / "phases" / "endless.json").is_file(), 120)
        wait_for((tmp_path / "phases" / "endless.json").read_text)
        process.send_signal(how)
        code_at_the_end = process.wait(30)
    finally:
        process.kill()
        process.wait()
    content = written(tmp_path)
    quick, endless_entry = content["phases"]
    assert (quick["status"], quick["figures"]) == ("passed", {"rate": 3.5})
    assert not content["finished"]
    assert content["machine"]["libraries"]["torch"]
    number = json.loads((tmp_path / "phases" / "endless.json").read_text())["self"]
    wait_for(lambda: not is_alive(number))
    if how == signal.SIGTERM:
        assert code_at_the_end == 130
        assert (endless_entry["status"], endless_entry["reason"]) == ("cut off", "the script was ended")
        assert endless_entry["figures"] == {"self": number}
    else:
        assert endless_entry["status"] == "running"


def test_figures_are_whole_at_every_moment(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "phase.json")
    notes.append("speeds", {"model": "A", "images_per_s": 1.0})
    notes.append("speeds", {"model": "B|C", "error": "no room"})
    again = Notes(tmp_path / "phase.json")
    assert again.figures == notes.figures
    entry = {"name": "speed", "status": "passed", "reason": "", "seconds": 1.0, "figures": notes.figures}
    said = as_markdown({"device": "cpu", "phases": [entry]})
    assert "| model | images per s | error |" in said
    assert "| B/C |  | no room |" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["phase.json"]


def test_without_a_card_it_says_so_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu_check.check(tmp_path / "out", "cuda", 1) == 2
    assert "DEVICE=cpu" in written(tmp_path / "out")["error"]


def test_without_pytest_its_phase_is_skipped_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    notes = Notes(tmp_path / "phase.json")
    with pytest.raises(NotHereError, match="pip install pytest"):
        gpu_job.run_tests(tmp_path, gpu_check.sizes_of("cpu", "random"), notes)


def test_every_phase_has_something_that_does_it(tmp_path: Path) -> None:
    assert {phase.name for phase in gpu_check.phases_of(tmp_path)} == set(gpu_work.PHASES)
    assert all(callable(gpu_work.work_of(name)) for name in gpu_work.PHASES)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_of_it_works_up_to_the_card(tmp_path: Path) -> None:
    environment = {**os.environ, "DEVICE": "cpu", "MINUTES": "3", "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(ROOT / "runs" / "gpu_check.sh"), "out"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    content = written(tmp_path / "out")
    phases = {entry["name"]: entry for entry in content["phases"]}
    assert content["finished"], ended.stderr
    assert [*phases] == [phase.name for phase in gpu_check.phases_of(tmp_path)]
    bad = {name: entry["reason"] for name, entry in phases.items() if entry["status"] == "failed"}
    assert not bad
    # a busy machine cuts phases off, but not all of them
    assert any(entry["status"] == "passed" for entry in phases.values()), {n: e["status"] for n, e in phases.items()}
    assert all(row["outcome"] == "passed" for row in phases["correctness"]["figures"].get("tests", []))
    if all(entry["status"] == "passed" for entry in phases.values()):
        assert ended.returncode == 0
        assert phases["test"]["figures"]["difference_float32"] == 0
