"""The main job of the GPU check: the framework's scripts and a suite, on the device and once more on the CPU."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gpu_check import ROOT, Sizes
from gpu_phases import NotHereError, ResultError, end_with_parent
from gpu_report import Notes

SAME_F1 = 1e-3
"""Largest difference of a set's mean F1 between the device in float32 and the CPU."""
SAME_IMAGE = 0.02
"""Largest difference of one image's F1, IoU or AUC in the records: a few pixels lie at the threshold."""
RECORDED = ("f1", "iou", "auc")
ON_THE_CPU = {"CUDA_VISIBLE_DEVICES": ""}
IN_FLOAT32 = {"NVIDIA_TF32_OVERRIDE": "0"}
"""NVIDIA's libraries then use no TF32; torch lets convolutions use it."""
F1 = "test_pixel-level F1"


def run_tests(out: Path, sizes: Sizes, notes: Notes) -> None:
    """Become pytest with the tests that are marked ``cuda``; they write their own figures."""
    del out, notes
    if importlib.util.find_spec("pytest") is None:
        raise NotHereError("pytest is not installed: pip install pytest")
    os.environ |= {"QMANET_TEST_DEVICE": sizes.device, "QMANET_TEST_NOISEPRINT": sizes.noiseprint}
    tests = str(ROOT / "tests" / "cuda")
    options = ("--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider")
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-m", "cuda", "-q", *options, tests])


def make_data(out: Path, sizes: Sizes, notes: Notes) -> None:
    """Forgeries of the photos that the dependencies bring."""
    counts = ("--train-count", str(sizes.train_count), "--test-count", str(sizes.test_count))
    workers = str(min(8, os.cpu_count() or 1))
    _qmanet("data", "demo", str(out / "data"), *counts, "--size", str(sizes.image_size), "--workers", workers)
    notes.note(train_images=sizes.train_count, test_images=sizes.test_count, side=sizes.image_size)


def train(out: Path, sizes: Sizes, notes: Notes) -> None:
    """The stock trainer, with AMP on a GPU and NCCL in a world of one; the loss has to fall."""
    data, run = out / "data", out / "run"
    start = time.monotonic()
    _qmanet(
        *("benco", "train", *_network(sizes)),
        *("--backbone_weights", "random", "--noiseprint_weights", sizes.noiseprint),
        *("--data_path", str(data / "train"), "--test_data_path", str(data / "test"), *_logs(run)),
        *("--epochs", str(sizes.epochs), "--batch_size", str(sizes.batch), "--accum_iter", "1"),
        *("--lr", str(sizes.learning_rate), "--min_lr", "1e-6", "--warmup_epochs", "0", "--weight_decay", "0.05"),
        *("--test_batch_size", str(sizes.batch), "--test_period", str(sizes.epochs), "--seed", "0"),
        *("--num_workers", str(sizes.loader_workers)),
    )
    losses = [line["train_total_loss"] for line in _logged(run / "log.txt") if "train_total_loss" in line]
    notes.note(seconds=round(time.monotonic() - start, 1), loss_of_each_epoch=[round(loss, 4) for loss in losses])
    _require(all(math.isfinite(loss) for loss in losses), f"the loss is not finite: {losses}")
    _require(losses[-1] < losses[0], f"the loss did not fall: {losses}")


def compare_tests(out: Path, sizes: Sizes, notes: Notes) -> None:
    """The stock test on the device, in float32 there, and on the CPU, of one checkpoint."""
    f1s = {}
    for name, environment in (("float32", IN_FLOAT32), ("default", {}), ("cpu", ON_THE_CPU)):
        logs = out / "results" / f"test-{name}"
        json_list = ("--test_data_json", str(out / "data" / "test.json"))
        checkpoints = ("--checkpoint_path", str(_last_checkpoint(out).parent))
        batch = ("--test_batch_size", str(sizes.test_count))
        _qmanet(
            "benco", "test", *_network(sizes), *json_list, *checkpoints, *batch, *_logs(logs), environment=environment
        )
        f1s[name] = _logged(logs / "demo" / "log.txt")[-1][F1]
        notes.note(**{f"f1_{name}": f1s[name]})
    difference = abs(f1s["float32"] - f1s["cpu"])
    notes.note(difference_float32=difference, difference_default=abs(f1s["default"] - f1s["cpu"]))
    _require(difference <= SAME_F1, f"F1 differs from the CPU's by {difference:.2g}, more than {SAME_F1:g}")


def stress(out: Path, sizes: Sizes, notes: Notes) -> None:
    """The stock robustness test of the checkpoint, at one level of two attacks."""
    logs = out / "results" / "robustness"
    data = ("--test_data_path", str(out / "data" / "test"), "--checkpoint_path", str(_last_checkpoint(out)))
    batch = ("--test_batch_size", str(sizes.test_count))
    levels = ("--levels", "jpeg=70 blur=5")
    _qmanet("benco", "test_robust", *levels, *_network(sizes), *data, *batch, *_logs(logs))
    for path in sorted(logs.glob("*/log.txt")):
        for line in _logged(path):
            notes.append(
                "attacks", {"attack": path.parent.name.partition("(")[0], "level": line["epoch"], "f1": line[F1]}
            )
    f1s = [row["f1"] for row in notes.figures.get("attacks", [])]
    _require(len(f1s) == 2 and all(math.isfinite(f1) for f1 in f1s), f"two finite F1 were expected, not {f1s}")


def compare_suites(out: Path, sizes: Sizes, notes: Notes) -> None:
    """A suite of one model, without an attack and with one, on the device in float32 and on the CPU, image by image."""
    import pandas
    import yaml

    suite = {
        "image_size": sizes.image_size,
        "models": [
            {
                "name": "QMA-Net",
                "model": "QMANet",
                "flags": {"variant": sizes.variant, "noise_sources": "srm,bayar,noiseprint"},
                "checkpoint": str(_last_checkpoint(out)),
            }
        ],
        "sets": [{"name": "demo", "path": str(out / "data" / "test")}],
        "attacks": [{"jpeg": [70]}],
    }
    path = out / "results" / "suite.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(suite), encoding="utf-8")
    tables = []
    for name, environment in (("device", IN_FLOAT32), ("cpu", ON_THE_CPU)):
        folder = out / "results" / f"suite-{name}"
        _qmanet("suite", "run", str(path), "--out", str(folder), environment=environment)
        rows = pandas.concat([pandas.read_parquet(file) for file in sorted((folder / "records").glob("*.parquet"))])
        tables.append(rows.set_index(["attack", "level", "image"]).sort_index()[list(RECORDED)])
    _require(tables[0].index.equals(tables[1].index), "the records are of other images")
    difference = (tables[0] - tables[1]).abs()
    largest = {column: float(difference[column].max()) for column in RECORDED}
    means = {column: float((tables[0][column].mean() - tables[1][column].mean()).__abs__()) for column in RECORDED}
    notes.note(images=len(difference), largest_difference_of_an_image=largest, difference_of_the_means=means)
    _require(max(largest.values()) <= SAME_IMAGE, f"an image's record differs by {max(largest.values()):.2g}")
    _require(max(means.values()) <= SAME_F1, f"the means differ by {max(means.values()):.2g}")


def _network(sizes: Sizes) -> tuple[str, ...]:
    return (
        *("--model", "QMANet", "--variant", sizes.variant, "--noise_sources", "srm,bayar,noiseprint"),
        *("--image_size", str(sizes.image_size), "--if_resizing"),
    )


def _last_checkpoint(out: Path) -> Path:
    """The training's last checkpoint, alone in its folder, as the stock test wants it."""
    folder = out / "run" / "last"
    folder.mkdir(exist_ok=True)
    newest = max((out / "run").glob("checkpoint-*.pth"), key=lambda path: int(path.stem.partition("-")[2]))
    target = folder / newest.name
    if not target.exists():
        target.symlink_to(newest.resolve())
    return target


def _qmanet(*arguments: str, environment: dict[str, str] | None = None) -> None:
    """``qmanet ARGUMENTS`` in a process.

    Raises:
        ResultError: it failed; its own last words are the reason.
    """
    print("$ qmanet", *arguments, flush=True)  # noqa: T201 - the phase's log
    command = [sys.executable, "-m", "qmanet_benco", *arguments]
    ended = subprocess.run(
        command,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
        preexec_fn=end_with_parent,
    )
    sys.stderr.write(ended.stderr)
    sys.stderr.flush()
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    _require(ended.returncode == 0, f"qmanet {' '.join(arguments[:2])}: {lines[-1][:300] if lines else 'no message'}")


def _logs(folder: Path) -> tuple[str, ...]:
    shutil.rmtree(folder, ignore_errors=True)
    return ("--output_dir", str(folder), "--log_dir", str(folder))


def _logged(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ResultError(reason)
