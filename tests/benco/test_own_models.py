"""Models of the user's own, in a file outside of the package, stand beside QMA-Net everywhere."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forgeries import F1, logged, train_flags

from qmanet_benco.benco.launch.elastic import Group
from qmanet_benco.benco.launch.launcher import launch
from qmanet_benco.benco.launch.plan import Run
from qmanet_benco.benco.zoo.own_models import load_plugins
from qmanet_benco.errors import RequestError

Command = Callable[..., tuple[int, str]]
LAYER = """
from torch import nn


def layer(width):
    return nn.Conv2d(3, 1, width, padding=width // 2)
"""
MODEL = """
import torch
from IMDLBenCo.registry import MODELS, POSTFUNCS
from layer_beside import layer
from torch import nn


@MODELS.register_module()
class OwnModel(nn.Module):
    def __init__(self, width: int = 3):
        super().__init__()
        self.convolution = layer(width)

    def forward(self, image, mask, label, **kwargs):
        assert kwargs["own"].shape[0] == image.shape[0], "the post function has run in the loader"
        logits = self.convolution(image)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, mask.float())
        return {
            "backward_loss": loss,
            "pred_mask": logits.sigmoid(),
            "pred_label": None,
            "visual_loss": {"predict_loss": loss},
            "visual_image": {"pred_mask": logits.sigmoid()},
        }


@POSTFUNCS.register_module()
def ownmodel_post_func(sample):
    sample["own"] = torch.zeros(1)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a model and its post function, which imports a module beside it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "layer_beside.py").write_text(LAYER, encoding="utf-8")
    path = folder / "own_model_of_mine.py"
    path.write_text(MODEL, encoding="utf-8")
    return path


def own_flags(data: Path, out: Path, *more: str) -> tuple[str, ...]:
    flags = train_flags(data / "train", data / "test", out, *more)
    size = ("--image_size", "64", "--if_resizing", "--num_workers", "1")
    return ("--model", "OwnModel", "--width", "5", *size, *flags[flags.index("--data_path") :])


@pytest.mark.compat
@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_it_trains_and_tests_with_its_post_function_in_the_loaders_workers(
    processes: str, own: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "out"
    run = Run("train", own_flags(data, out), plugins=(str(own),))
    assert launch(run, Group(nproc=processes)) == 0
    assert torch.load(out / "checkpoint-0.pth", weights_only=False)["model"]["convolution.weight"].shape[-1] == 5
    assert logged(out / "log.txt")[0][F1] >= 0


def test_the_suite_scores_it_beside_others_in_two_processes(
    own: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    from qmanet_benco.evaluation.suite.launch import Order, launch_suite

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    suite = tmp_path / "own.yaml"
    suite.write_text(
        f"image_size: 64\nplugins: [{own}]\n"
        "models:\n  - {name: mine, model: OwnModel, flags: {width: 5}}\n"
        '  - {name: QMA-Net, model: QMANet, flags: {variant: miniature, noise_sources: "srm,bayar"}}\n'
        f"sets:\n  - {{name: few, path: {data / 'few'}}}\n",
        encoding="utf-8",
    )
    assert launch_suite(Order(str(suite), str(tmp_path / "out")), nproc="2") == 0
    records = pandas.read_parquet(tmp_path / "out" / "records")
    assert sorted(records["model"].value_counts().items()) == [("QMA-Net", 3), ("mine", 3)]


def test_the_suite_takes_it_from_the_command_line(own: Path, data: Path, tmp_path: Path, qmanet: Command) -> None:
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "image_size: 64\nmodels:\n  - {name: mine, model: OwnModel}\n"
        f"sets:\n  - {{name: few, path: {data / 'few'}}}\n",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    assert qmanet("suite", "run", str(suite), "--out", str(out), "--plugin", str(own))[0] == 0


def test_cost_takes_it_from_the_command_line_and_measures_it_in_a_process_of_its_own(own: Path) -> None:
    from typer.testing import CliRunner

    from qmanet_benco.cli.main import app

    ended = CliRunner().invoke(app, ["cost", "--model", "OwnModel", "--plugin", str(own), "--json"])
    assert ended.exit_code == 0, ended.output
    (row,) = json.loads(ended.stdout)
    assert row["model"] == "OwnModel"
    assert row["params_m"] == pytest.approx((3 * 9 + 1) / 1e6)
    assert row["macs_g"] == pytest.approx(3 * 9 * 512 * 512 / 1e9)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("absent.py", None, "does not exist"),
        ("no_such_module", None, "--plugin no_such_module; expected a Python file, or a module"),
        ("plugin_that_fails.py", "1 / 0", r"fails \(ZeroDivisionError: division by zero\)"),
        ("plugin_of_more.py", "import no_such_package", "the module no_such_package, which plugin_of_more imports"),
        (
            "plugin_of_a_name.py",
            "from IMDLBenCo.registry import MODELS\n@MODELS.register_module()\nclass QMANet: pass",
            "QMANet is already registered",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_is_told_in_a_line(
    name: str, text: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qmanet_benco.benco.plugin  # noqa: F401 - QMANet has its name

    monkeypatch.setattr(sys, "path", list(sys.path))
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    word = str(tmp_path / name) if name.endswith(".py") else name
    with pytest.raises(RequestError, match=told):
        load_plugins([word])
    assert Path(name).stem not in sys.modules


def test_a_file_in_place_of_a_module_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_in_a_file.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with pytest.raises(RequestError, match=r"did you mean mine_in_a_file\.py\?"):
        load_plugins(["mine_in_a_file"])


def test_a_plugin_that_registers_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "plugin_of_nothing.py"
    path.write_text("x = 1", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        load_plugins([str(path)])
    assert "registers no model" in caplog.text


def test_plugins_of_a_suite_file_are_a_list_of_texts(tmp_path: Path) -> None:
    from qmanet_benco.evaluation.suite.suite_file import read_suite

    path = tmp_path / "wrong.yaml"
    entries = {"models": [{"name": "a", "model": "QMANet"}], "sets": [{"name": "b", "path": "c"}], "plugins": [1]}
    path.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    with pytest.raises(RequestError, match=r"wrong\.yaml:\d+: plugins: 1; expected text"):
        read_suite(path)
