"""The folder that ``benco init`` made: its scripts run by the launcher, and by themselves after what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forgeries import COMMON_FLAGS, F1, logged, output_flags, train_flags

from qmanet_benco.benco.launch.elastic import Group
from qmanet_benco.benco.launch.launcher import launch
from qmanet_benco.benco.launch.plan import Run
from qmanet_benco.benco.seam.own_scripts import kind_of
from qmanet_benco.errors import RequestError

Command = Callable[..., tuple[int, str]]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/project.md"
SCRIPTS = ("train", "test", "test_robust", "test_complexity", "test_save_images")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function that makes a project as ``benco init base`` or ``benco init model_zoo`` does."""
    from IMDLBenCo.cli_funcs import cli_init

    def make(kind: str) -> Path:
        folder = tmp_path / kind
        folder.mkdir()
        with monkeypatch.context() as changed:
            changed.chdir(folder)
            cli_init(None, kind)
        return folder

    return make


def follow_the_page(folder: Path, *told: str) -> None:
    """Change the scripts as the page's ``sed`` lines with these words say."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("sed ")]
    for word in told:
        (line,) = [line for line in lines if word in line]
        subprocess.run(["bash", "-euc", line], cwd=folder, check=True)
    for script in SCRIPTS:
        text = (folder / f"{script}.py").read_text(encoding="utf-8")
        assert "from qmanet_benco import QMANet, without_cuda\n" in text, script


@pytest.mark.compat
@pytest.mark.parametrize("kind", ["base", "model_zoo"])
def test_the_launcher_runs_a_copy_as_it_runs_the_stock_script(
    kind: str, project: Callable[[str], Path], data: Path, trained: Path, tmp_path: Path
) -> None:
    script = str(project(kind) / "train.py")
    out = tmp_path / "out"
    assert launch(Run(kind_of(script), tuple(train_flags(data / "train", data / "test", out)), file=script)) == 0
    stock, own = (torch.load(folder / "checkpoint-0.pth", weights_only=False)["model"] for folder in (trained, out))
    assert all(torch.equal(stock[name], own[name]) for name in stock)
    assert logged(out / "log.txt") == logged(trained / "log.txt")


def test_a_copy_that_was_changed_and_renamed_does_what_it_says_with_the_corrections(
    project: Callable[[str], Path], data: Path, trained: Path, tmp_path: Path
) -> None:
    text = (project("base") / "test.py").read_text(encoding="utf-8")
    mine = tmp_path / "base" / "score_mine.py"
    changed = text.replace("'epoch': epoch\n", "'epoch': epoch, 'of': 'mine'\n")
    assert changed != text
    mine.write_text(changed, encoding="utf-8")
    assert kind_of(str(mine)) == "test"
    flags = (
        *COMMON_FLAGS,
        "--test_batch_size",
        "2",
        "--checkpoint_path",
        str(trained),
        *output_flags(tmp_path / "out"),
    )
    assert launch(Run("test", (*flags, "--test_data_json", str(data / "sets.json")), file=str(mine))) == 0
    for name in ("five", "three"):  # one log for each set: a correction
        (line,) = logged(tmp_path / "out" / name / "log.txt")
        assert line["of"] == "mine"
        assert line[F1] > 0


@pytest.mark.compat
@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_the_projects_own_model_trains_and_leaves_nothing_behind(
    processes: str, project: Callable[[str], Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from IMDLBenCo.registry import MODELS

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script, out = str(project("base") / "train.py"), tmp_path / "out"
    flags = train_flags(data / "train", data / "test", out)
    flags = flags[flags.index("--data_path") :]  # without the model's
    own = ("--model", "MyModel", "--MyModel_Customized_param", "3", "--pre_trained_weights", "none")
    size = ("--image_size", "64", "--if_resizing", "--num_workers", "0")
    run = Run("train", (*own, *size, *flags), file=script)
    assert launch(run, Group(nproc=processes)) == 0
    assert "demo_layer.weight" in torch.load(out / "checkpoint-0.pth", weights_only=False)["model"]
    assert "MyModel" not in MODELS.module_dict
    assert "mymodel" not in sys.modules


def test_robustness_and_masks_and_complexity_of_a_copy(
    project: Callable[[str], Path], data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project("model_zoo")
    follow_the_page(folder, "IMDLBenCo.registry")  # the launcher does not mind the line
    shared = (*COMMON_FLAGS, "--test_data_path", str(data / "few"))
    weights = ("--checkpoint_path", str(trained / "checkpoint-0.pth"))
    robust = Run(
        "test_robust",
        (*shared, *weights, *output_flags(tmp_path / "robust")),
        levels="jpeg=70",
        file=str(folder / "test_robust.py"),
    )
    assert launch(robust) == 0
    assert len(list((tmp_path / "robust").glob("*/log.txt"))) == 1
    masks = Run(
        "test_save_images",
        (*shared, *weights, "--test_batch_size", "2", *output_flags(tmp_path / "masks")),
        file=str(folder / "test_save_images.py"),
    )
    assert launch(masks) == 0
    assert len(list((tmp_path / "masks/pred").iterdir())) == 3, "an odd number of images in batches of two"
    capsys.readouterr()
    assert launch(Run("test_complexity", COMMON_FLAGS, file=str(folder / "test_complexity.py"))) == 0
    assert "per image: " in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["if_padding", "batch_size"])
def test_a_flag_that_the_copy_no_longer_has_is_told_and_not_checked(
    missing: str, project: Callable[[str], Path], data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = project("base") / "train.py"
    text = script.read_text(encoding="utf-8")
    value = {"if_padding": "False", "batch_size": "2"}[missing]
    cut = text.replace(f"parser.add_argument('--{missing}'", f"parser.add_argument('--not_{missing}'")
    script.write_text(cut.replace(f"args.{missing}", value), encoding="utf-8")
    flags = train_flags(data / "train", data / "test", tmp_path / "out")
    flags = [*flags[: flags.index("--batch_size")], *flags[flags.index("--batch_size") + 2 :]]
    if missing == "if_padding":
        flags += ["--batch_size", "2"]
    assert launch(Run("train", tuple(flags), file=str(script))) == 0
    assert f"has no flag --{missing}, so its inputs are not checked" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("absent.py", None, "cannot be read"),
        ("broken.py", "def (", "is not valid Python"),
        ("other.py", "print(1)", "has no function get_args_parser"),
        ("other.py", "def get_args_parser(): pass", "uses none of train_one_epoch"),
        ("train.sh", "", "in place of SCRIPT.py"),
    ],
)
def test_what_is_no_copy_of_a_stock_script_is_refused(name: str, text: str | None, told: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=told):
        kind_of(str(tmp_path / name))


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_copy_is_known_by_what_it_uses(script: str, project: Callable[[str], Path], tmp_path: Path) -> None:
    renamed = (project("base") / f"{script}.py").rename(tmp_path / "mine.py")
    assert kind_of(str(renamed)) == script


def test_the_command_line_wants_the_script_first(qmanet: Command, project: Callable[[str], Path]) -> None:
    script = project("base") / "train.py"
    code, said = qmanet("benco", "run", "--model", "QMANet", str(script))
    assert (code, said.count("\n")) == (2, 1)
    assert "give the script before its flags" in said
    code, said = qmanet("benco", "run", str(script), "--model", "QMANet", "--imagesize", "64")
    assert code == 2
    assert "did you mean --image_size?" in said


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "told"), [("base", "mymodel"), ("model_zoo", "IMDLBenCo.registry")])
def test_a_project_trains_tests_and_stresses_by_itself_after_what_the_page_says(
    kind: str, told: str, project: Callable[[str], Path], data: Path, trained: Path, tmp_path: Path
) -> None:
    """Without the launcher; its F1 is the launcher's on the same checkpoint."""
    folder = project(kind)
    follow_the_page(folder, told, "with without_cuda()")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1"]
    here = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(script: str, *flags: str) -> None:
        command = [*torchrun, f"{script}.py", "--device", "cpu", *flags]
        ended = subprocess.run(command, cwd=folder, env=here, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-3000:]

    out = tmp_path / "out"
    run("train", "--if_not_amp", *train_flags(data / "train", data / "test", out))
    line = logged(out / "log.txt")[-1]
    assert line["train_total_loss"] > 0
    lone = tmp_path / "one.json"
    lone.write_text(f'{{"five": "{data / "test"}"}}', encoding="utf-8")
    shared = (*COMMON_FLAGS, "--test_batch_size", "2")
    run(
        "test", *shared, "--test_data_json", str(lone), "--checkpoint_path", str(trained), *output_flags(tmp_path / "t")
    )
    flags = (*shared, "--test_data_json", str(lone), "--checkpoint_path", str(trained), *output_flags(tmp_path / "l"))
    assert launch(Run("test", flags)) == 0
    native, ours = (logged(tmp_path / name / "five" / "log.txt")[-1][F1] for name in ("t", "l"))
    assert native == pytest.approx(ours, abs=1e-6)
    weights = ("--checkpoint_path", str(out / "checkpoint-0.pth"))
    run("test_robust", *shared, "--test_data_path", str(data / "few"), *weights, *output_flags(tmp_path / "r"))
    assert len(list((tmp_path / "r").glob("*/log.txt"))) == 19
