"""The page on reproducing the paper, from the ten archives to the report: its own commands, in miniature."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import archives
import pandas
import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from qmanet_benco.benco import scoring
from qmanet_benco.benco.resume.training import RUN
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.cli.main import app
from qmanet_benco.data.sets import SETS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reproduce.md").read_text(encoding="utf-8")
SIZE = 64
TESTED = {"CASIAv1", "Columbia", "Coverage", "NIST16", "NIST16 (long side 1024)", "CocoGlide", "AutoSplice"}


def block(section: str) -> str:
    """The first commands of a section of the page."""
    (code,) = re.findall(rf"^## {section}\n.*?^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(code)


def qmanet(line: str, *more: str) -> Result:
    """A command of the page, in this process."""
    words = line.partition("#")[0].split()
    assert words[0] == "qmanet", line
    return CliRunner().invoke(app, [*words[1:], *more])


def make_archives(raw: Path, names: tuple[str, ...] = tuple(SETS)) -> None:
    for name in names:
        if name == "casiav1":
            archives.casiav1(raw / name, names=archives.casiav1_names()[:3])
        else:
            getattr(archives, name)(raw / name)


def make_training(folder: Path, model: str, flags: dict[str, object], nothing: tuple[str, ...] = ()) -> None:
    """A folder as a training of one epoch leaves it, with weights that nothing was taught."""
    folder.mkdir(parents=True)
    with scoring.as_the_test_script():
        state = zoo.build_model(model, flags, seed=1, image_size=SIZE).state_dict()
    args = Namespace(model=model, image_size=SIZE, seed=42)
    run = {"model": model, "flags": flags, "started_from_nothing": list(nothing)}
    torch.save({"model": state, "epoch": 0, "args": args, RUN: run}, folder / "checkpoint-0.pth")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder, which the commands are called in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_step_reads_what_the_one_before_wrote(here: Path) -> None:
    make_archives(here / "raw")
    for line in block("1. Data").splitlines():
        made = qmanet(line.replace("--workers 8", "--workers 1"))
        assert made.exit_code in (0, 1), made.output  # CASIA v2 has masks that fit no image, and says so
    tests = json.loads((here / "lists/test.json").read_text())
    assert set(tests) == TESTED
    assert len(json.loads((here / "lists/train.json").read_text())) == 7

    make_training(here / "out/QMANet", "QMANet", {"variant": "miniature", "noise_sources": "srm,bayar"})
    make_training(here / "out/floor", "AllTampered", {}, ("started from random weights, without X",))
    make, run, report = block("4. Tables and figures").splitlines()
    made = qmanet(make, "--no-attacks")
    assert made.exit_code == 0, made.output
    assert "left out: Mesorch: MODEL=Mesorch runs/demo_train_baseline.sh" in made.output
    assert "left out: CP (w/o DFCM): VARIANT=cp runs/demo_train_qmanet.sh" in made.output
    suite = yaml.safe_load((here / "out/suite.yaml").read_text())
    assert suite["image_size"] == SIZE
    assert suite["models"][0]["flags"] == {
        "variant": "miniature",
        "noise_sources": "srm,bayar",
        "backbone_weights": "checkpoint",
    }
    for line in (run, report):
        made = qmanet(line)
        assert made.exit_code == 0, made.output

    records = pandas.read_parquet(here / "out/suite/records")
    assert set(records["set"]) == TESTED
    assert set(records["model"]) == {"AllTampered", "QMA-Net (miniature, noise_sources=srm,bayar)"}
    assert set(records["selection"]) == {"last, epoch 0"}
    text = (here / "out/suite/report/tables/table1.md").read_text()
    assert "checkpoint: last, epoch 0" in text
    assert "started from random weights, without X" in text
    assert (here / "out/suite/report/report.html").is_file()


def test_who_has_three_sets_is_told_what_the_others_need(here: Path) -> None:
    make_archives(here / "raw", ("casiav2", "columbia", "cocoglide"))
    first, _, lists = block("1. Data").splitlines()
    made = qmanet(first.replace("--workers 8", "--workers 1"))
    assert "left out: NIST16: no folder raw/nist16; to be had at https://www.nist.gov" in made.output
    made = qmanet(lists)
    assert made.exit_code == 1
    assert "missing: tampcoco: qmanet data prepare tampcoco" in made.output
    assert set(json.loads((here / "lists/test.json").read_text())) == {"Columbia", "CocoGlide"}
    make_training(here / "out/QMANet", "QMANet", {"variant": "miniature", "noise_sources": "srm"})
    made = qmanet(block("4. Tables and figures").splitlines()[0])
    assert made.exit_code == 0, made.output
    assert "left out: NIST16: qmanet data prepare nist16" in made.output


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_pages_commands_lead_from_the_archives_to_the_report(tmp_path: Path) -> None:
    """As they stand there, apart from the folder of the checkout; variables of the reader make them short."""
    make_archives(tmp_path / "raw")
    (tmp_path / "runs").symlink_to(ROOT / "runs")
    variables = {
        **dict(VARIANT="miniature", NOISE_SOURCES="srm,bayar", IMAGE_SIZE=str(SIZE), EPOCHS="1", STEPS="1", WARMUP="0"),
        **dict(WORKERS="0", MODELS="QMANet Cat_Net", ROWS="q4", BACKBONE="random", OMP_NUM_THREADS="1"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    for section in ("1. Data", "3. Training", "4. Tables and figures"):
        ended = subprocess.run(
            # exit code 1: something is missing or unusable and was named; it goes on
            ["bash", "-uc", f"trap '[ $? -eq 1 ] || exit 9' ERR\n{block(section)}"],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode in (0, 1), f"{section}\n{ended.stdout[-1500:]}\n{ended.stderr[-3000:]}"
    records = pandas.read_parquet(tmp_path / "out/suite/records")
    models = {"CAT-Net", "QMA-Net (miniature, noise_sources=srm,bayar)", "4 queries (noise_sources=srm,bayar)"}
    assert set(records["model"]) == models
    assert set(records["set"]) == TESTED
    assert (tmp_path / "out/suite/report/report.html").is_file()
    text = (tmp_path / "out/suite/report/tables/table1.md").read_text()
    assert "started from random weights, without HRNet-W48" in text
