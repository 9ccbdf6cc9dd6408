"""Retraining and comparing all is one script; models that are built for one size are scored at the suite's."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from made_sets import make_forgeries as make_set

from qmanet_benco.benco.resume.training import RUN
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.suite.comparison import as_yaml, choose_checkpoint, make_suite, with_checkpoint
from qmanet_benco.evaluation.suite.run import run_suite
from qmanet_benco.evaluation.suite.suite import ModelEntry
from qmanet_benco.evaluation.suite.suite_file import read_suite

RUNS = Path(__file__).parents[2] / "runs"


def train(folder: Path, model: str, epochs: tuple[int, ...] = (3,), **flags: object) -> None:
    """A folder of a training, as far as a comparison reads it."""
    folder.mkdir(parents=True)
    args = argparse.Namespace(model=model, image_size=64, seed=42)
    for epoch in epochs:
        content = {"model": {}, "args": args, RUN: {"model": model, "flags": flags}}
        torch.save(content, folder / f"checkpoint-{epoch}.pth")


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "set").mkdir()
    return {"casia1": str(tmp_path / "set")}


def test_without_a_checkpoint_there_is_nothing_to_compare(tmp_path: Path, sets: dict[str, str]) -> None:
    (tmp_path / "Mesorch").mkdir()
    with pytest.raises(RequestError, match="no checkpoint"):
        make_suite([tmp_path], sets)


def test_a_comparison_takes_names_and_flags_from_the_checkpoints(tmp_path: Path, sets: dict[str, str]) -> None:
    train(tmp_path / "out/a", "QMANet", variant="paper", backbone_weights="mit_b3", edge_width=7, dice="batch")
    train(tmp_path / "out/b", "QMANet", variant="cp", backbone_weights="mit_b3")
    train(tmp_path / "out/rows/c", "Cat_Net", cfg_file="my.yaml")
    train(tmp_path / "out/rows/d", "Cat_Net_RealDCT", cfg_file="my.yaml")
    train(tmp_path / "out/e", "SAM", variant="miniature", weights="facebook/sam-vit-large", input_size=64)
    torch.save({"model": {}}, tmp_path / "out/checkpoint-0.pth")  # of no known model
    made, left_out = make_suite([tmp_path / "out"], sets)
    assert [(model["name"], model["flags"]) for model in made["models"]] == [
        ("QMA-Net (dice=batch)", {"dice": "batch", "backbone_weights": "checkpoint"}),
        ("CP (w/o DFCM)", {"variant": "cp", "backbone_weights": "checkpoint"}),
        ("SAM", {"variant": "miniature"}),
        ("CAT-Net", {}),
        ("CAT-Net (corrected)", {}),
    ]
    assert made["image_size"] == 64
    assert [entry["name"] for entry in made["sets"]] == ["CASIAv1"]
    assert any("checkpoint-0.pth" in line or "model 'out'" in line for line in left_out)
    assert "TruFor: MODEL=Trufor runs/demo_train_baseline.sh" in left_out
    assert not any(line.startswith(("CAT-Net:", "SAM:")) for line in left_out)
    (tmp_path / "made.yaml").write_text(as_yaml(made))
    assert [entry.selection for entry in read_suite(tmp_path / "made.yaml").models] == ["last, epoch 3"] * 5


def test_two_trainings_of_one_model_are_told_apart_by_their_folders(tmp_path: Path, sets: dict[str, str]) -> None:
    for name in ("first", "second"):
        train(tmp_path / name, "Mesorch")
    made, _ = make_suite([tmp_path / "first", tmp_path / "second"], sets)
    assert [model["name"] for model in made["models"]] == ["Mesorch [first]", "Mesorch [second]"]


@pytest.mark.parametrize(("held_out", "words"), [(True, "a held-out part"), (False, "the test sets")])
def test_the_choice_of_the_checkpoint_is_named(tmp_path: Path, held_out: bool, words: str) -> None:
    train(tmp_path / "run", "Mesorch", (0, 1, 2))
    (tmp_path / "run/checkpoints.json").write_text(
        json.dumps({"best": 1, "metrics": {"0": 0.1, "1": 0.9, "2": 0.2}, "written": [0, 1, 2]})
    )
    if held_out:
        (tmp_path / "run/val_split.json").write_text("{}")
    assert choose_checkpoint(tmp_path / "run", "last").words == "last, epoch 2"
    best = choose_checkpoint(tmp_path / "run", "best")
    assert (best.path.name, best.words) == ("checkpoint-1.pth", f"best on {words}, epoch 1")
    entry = ModelEntry(name="Mesorch", model="Mesorch", checkpoint=str(tmp_path / "run"))
    assert with_checkpoint(entry, "best").chosen == best.words
    best.path.unlink()
    with pytest.raises(RequestError, match=r"epoch 1 has no checkpoint.*--keep 1"):
        choose_checkpoint(tmp_path / "run", "best")


def test_a_choice_that_nobody_knows_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="last or best"):
        choose_checkpoint(tmp_path, "median")


def test_models_that_are_built_for_one_size_are_scored_at_the_suites(tmp_path: Path) -> None:
    make_set(tmp_path / "data", 2)
    models = [
        {"name": "PSCC-Net", "model": "PSCC_Net", "checkpoint": "random"},
        {"name": "SAM", "model": "SAM", "flags": {"variant": "miniature"}, "checkpoint": "random"},
        {"name": "MVSS-Net", "model": "MVSSNet", "checkpoint": "random"},
    ]
    file = tmp_path / "suite.yaml"
    sets = [{"name": "few", "path": str(tmp_path / "data")}]
    file.write_text(json.dumps({"image_size": 64, "models": models, "sets": sets}))
    outcome = run_suite(read_suite(file), tmp_path / "out")
    assert not outcome.failures
    assert len(pd.read_parquet(tmp_path / "out" / "records")) == 6


@pytest.mark.slow
def test_one_script_retrains_and_compares(tmp_path: Path) -> None:
    make_set(tmp_path / "data", 32)
    make_set(tmp_path / "test", 2, seed=1)
    (tmp_path / "sets.json").write_text(json.dumps({"few": str(tmp_path / "test")}))
    variables = {
        "TRAIN_DATA": str(tmp_path / "data"),
        "TEST_DATA": str(tmp_path / "test"),
        "TEST_JSON": str(tmp_path / "sets.json"),
        "OUTPUT_DIR": str(tmp_path / "out"),
        "MODELS": "QMANet MantraNet Trufor_RGB",
        "VARIANT": "miniature",
        "NOISE_SOURCES": "srm,bayar",
        "EPOCHS": "1",
        "WARMUP": "0",
        "IMAGE_SIZE": "64",
        "WORKERS": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    ended = subprocess.run(
        [RUNS / "compare_all.sh"], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    # TruFor's pretrained weights are not there: it is named, and the others are compared all the same
    assert ended.returncode == 1, ended.stderr[-2000:]
    assert ended.stderr.strip().endswith("failed: Trufor_RGB")
    records = pd.read_parquet(tmp_path / "out" / "suite" / "records")
    assert set(records["model"]) == {"QMA-Net (miniature, noise_sources=srm,bayar)", "ManTra-Net"}
    assert len(records) == 2 * 2 * 25
    assert (tmp_path / "out" / "suite" / "report" / "report.html").is_file()
