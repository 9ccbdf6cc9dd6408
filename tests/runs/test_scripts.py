"""The shell scripts of `runs/` up to the command that they end in: what is wrong is said; none ends silently."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

RUNS = Path(__file__).parents[2] / "runs"
DEMOS = sorted(RUNS.glob("demo_*_*.sh"))


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for commands; its ``qmanet`` shows its arguments and fails where FAIL is set."""
    folder = tmp_path / "tools"
    folder.mkdir()
    put(folder, "qmanet", 'echo "qmanet $*"; exit ${FAIL:-0}')
    return folder


def put(folder: Path, name: str, code: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{code}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def run(script: str, tools: Path, **variables: object) -> tuple[int, str, str]:
    given = {name: str(value) for name, value in variables.items()}
    ended = subprocess.run(
        [RUNS / script],
        env={"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(tools), **given},
        cwd=tools,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def data(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "data").mkdir()
    return {"TRAIN_DATA": tmp_path / "data", "TEST_DATA": tmp_path / "data", "OUTPUT_DIR": tmp_path / "new" / "out"}


@pytest.mark.parametrize("script", DEMOS, ids=lambda path: path.stem)
def test_what_is_not_set_is_named_in_one_line(script: Path, tools: Path) -> None:
    put(tools, "nvidia-smi", "echo GPU 0")
    code, shown, said = run(script.name, tools)
    if script.stem == "demo_complexity_qmanet":
        assert (code, said) == (0, "")
        assert shown.startswith("qmanet benco test_complexity --model QMANet")
        return
    assert code == 2
    assert said.count("\n") == 1
    assert " is not set; " in said


def test_without_a_gpu_the_script_for_all_gpus_says_so(tools: Path, data: dict[str, object]) -> None:
    code, _, said = run("demo_train_qmanet_multi_gpu.sh", tools, **data)
    assert (code, said.count("\n")) == (2, 1)
    assert "no GPU found by nvidia-smi" in said


@pytest.mark.parametrize(("gpus", "batch", "accumulation"), [(1, 8, 4), (2, 8, 2), (8, 4, 1)])
def test_all_gpus_share_the_papers_batch(
    gpus: int, batch: int, accumulation: int, tools: Path, data: dict[str, object]
) -> None:
    put(tools, "nvidia-smi", f"for i in $(seq {gpus}); do echo GPU $i; done")
    code, shown, said = run("demo_train_qmanet_multi_gpu.sh", tools, **data)
    assert (code, said) == (0, "")
    assert f"--nproc {gpus} " in shown
    assert f"--batch_size {batch} --accum_iter {accumulation} " in shown


@pytest.mark.parametrize(
    ("name", "value"), [("NPROC", "auto"), ("NPROC", "0"), ("BATCH", "0"), ("BATCH", "x"), ("IMAGE_SIZE", "512px")]
)
@pytest.mark.parametrize("script", ["demo_train_qmanet.sh", "demo_train_qmanet_multi_gpu.sh"])
def test_a_wrong_number_is_told_in_one_line(
    script: str, name: str, value: str, tools: Path, data: dict[str, object]
) -> None:
    put(tools, "nvidia-smi", "echo GPU 0")
    code, _, said = run(script, tools, **data, **{name: value})
    assert (code, said.count("\n")) == (2, 1)
    assert f"{name}={value}; expected" in said or "no GPU found" in said


def test_a_batch_that_cannot_make_the_papers_is_told(tools: Path, data: dict[str, object]) -> None:
    code, _, said = run("demo_train_qmanet.sh", tools, **data, NPROC=3)
    assert (code, said.count("\n")) == (2, 1)
    assert "BATCH=8 on 3 processes cannot make the paper's effective batch of 32" in said


@pytest.mark.parametrize(
    ("given", "batch", "steps"),
    [
        ({"NPROC": 8}, 4, 1),
        ({"NPROC": 16}, 2, 1),
        ({"NPROC": 2}, 8, 2),
        ({"NPROC": 2, "NNODES": 2, "RDZV": "here:1"}, 8, 1),
        ({"NPROC": 8, "BATCH": 2}, 2, 2),
        ({"NPROC": 3, "EFFECTIVE_BATCH": 24}, 8, 1),
        ({"NPROC": 5, "EFFECTIVE_BATCH": 30}, 6, 1),
    ],
)
def test_the_batch_makes_the_papers_whatever_the_processes(
    given: dict[str, object], batch: int, steps: int, tools: Path, data: dict[str, object]
) -> None:
    code, shown, said = run("demo_train_qmanet.sh", tools, **data, **given)
    assert (code, said) == (0, "")
    assert f"--batch_size {batch} --accum_iter {steps} " in shown


@pytest.mark.parametrize("given", [{"NPROC": 6}, {"NPROC": 64}, {"NPROC": 8, "BATCH": 8}, {"CHOOSE": "median"}])
def test_a_comparison_that_cannot_be_is_told_before_anything_is_trained(
    given: dict[str, object], tools: Path, data: dict[str, object]
) -> None:
    sets = tools / "sets.json"
    sets.write_text("{}", encoding="utf-8")
    code, shown, said = run("compare_all.sh", tools, **data, TEST_JSON=sets, MODELS="QMANet", **given)
    assert (code, shown, said.count("\n")) == (2, "", 1)
    assert "expected" in said


def test_a_comparison_needs_named_sets(tools: Path, data: dict[str, object]) -> None:
    code, _, said = run("compare_all.sh", tools, **data, MODELS="QMANet")
    assert (code, said.count("\n")) == (2, 1)
    assert "is a folder; expected a JSON {name: path}" in said


def test_a_trial_stops_after_some_steps(tools: Path, data: dict[str, object]) -> None:
    assert "--max-steps 2 " in run("demo_train_qmanet.sh", tools, **data, STEPS=2)[1]


def test_a_comparison_of_which_every_model_failed_says_so(tools: Path, data: dict[str, object]) -> None:
    sets = tools / "sets.json"
    sets.write_text("{}", encoding="utf-8")
    code, _, said = run("compare_all.sh", tools, **data, TEST_JSON=sets, MODELS="QMANet", FAIL=1)
    assert code == 1
    assert said == "compare_all.sh: no model was trained, so there is nothing to compare; failed: QMANet\n"


def test_setting_up_names_the_pythons_that_do(tools: Path) -> None:
    put(tools, "old", 'exec false "$@"')
    code, _, said = run("quickstart.sh", tools, QMANET_PYTHON=tools / "old", QMANET_VENV=tools / "venv")
    assert code == 2
    assert said == f"runs/setup.sh: none of {tools / 'old'} is a Python 3.10 to 3.12; name one in QMANET_PYTHON\n"


def test_a_study_of_other_photos_is_not_mixed_into_one_that_is_there_or_half_made(
    tools: Path, data: dict[str, object], tmp_path: Path
) -> None:
    put(tools, "python", "exit 0")
    put(tools, "qmanet", 'case "$*" in "data demo"*) [ -z "$KILLED" ] && mkdir -p "$3/train" "$3/test";; esac')
    out, photos = tmp_path / "study", tmp_path / "photos"
    photos.mkdir()
    given = {"NOISEPRINT": "x", "OUTPUT_DIR": out, "TEST_PHOTOS": data["TEST_DATA"]}
    assert run("study.sh", tools, PHOTOS=tmp_path / "mistyped", **given)[0] == 2
    assert run("study.sh", tools, PHOTOS=photos, COUNT=5, KILLED=1, **given)[0] == 1
    assert not (out / "data-128").exists()
    for _ in range(2):
        for name, count, code in ((photos, 5, 0), (photos, 6, 2), ("two", 5, 2)):
            ended, _, said = run("study.sh", tools, PHOTOS=name, COUNT=count, **given)
            assert (ended, said.count("\n")) == (code, int(code > 0)), said
        assert f"PHOTOS={photos} TEST_PHOTOS={data['TEST_DATA']} COUNT=5, not with PHOTOS=two" in said
    assert (out / "data-128" / "val_edited").is_dir()
    assert run("study.sh", tools, **given)[0] == 0
