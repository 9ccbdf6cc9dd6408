"""Runs the quick start: demo forgeries, the stock trainer, the stock tests, one table and one picture.

Each step is a command that is printed before it runs, so that the reader can repeat it with data of his own.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qmanet_benco.data.forge.demo import all_tampered_f1, constant_mask_f1
from qmanet_benco.errors import RequestError
from qmanet_benco.model.weights.sources import DEMO

IMAGE_SIZE = 256
ROWS = 5
"""Rows of the picture, one for each image."""
F1_KEY = "test_pixel-level F1"
ATTACK_LEVELS = "blur=3,7 noise=3,11 jpeg=90,70"
_ATTACKS = {
    "GaussianBlur": "Gaussian blur, kernel",
    "GaussNoise": "Gaussian noise, variance",
    "JpegCompression": "JPEG, quality",
}
MODEL_FLAGS = ("--model", "QMANet", "--variant", "miniature-statistics")
START_FLAGS = ("--initial_weights", DEMO)
SIZE_FLAGS = ("--image_size", str(IMAGE_SIZE), "--if_resizing")


@dataclass(frozen=True)
class Summary:
    """What the quick start made and measured."""

    f1: float
    """Mean pixel-F1 of the last checkpoint on forgeries from photos that were not trained on (the stock test's)."""
    all_tampered: float
    """Mean pixel-F1 of a mask that calls everything tampered, on the same images."""
    constant: float
    """Mean pixel-F1 of the best mask that is the same for all images."""
    attacks: dict[str, float]
    """Mean pixel-F1 under each attack, by the framework's name of it."""
    picture: Path
    seconds: float


def run_quickstart(out: Path, *, train_count: int, test_count: int, epochs: int, seed: int) -> Summary:
    """Make forgeries, train the model that ships further on them, test, stress, and draw.

    Args:
        out: a new or empty folder; everything goes below it.
        train_count: forgeries to train on.
        test_count: forgeries to test on, from other photos.
        epochs: passes over the training forgeries.
        seed: of the generator and of the trainer.

    Returns:
        The figures; the table and the picture's path are also printed by the caller.

    Raises:
        RequestError: the folder is in use, or a step failed.
    """
    start = time.monotonic()
    if out.exists() and any(out.iterdir()):
        raise RequestError(f"{out} is not empty", "a new folder", "name another one, or remove it")
    demo, run = out / "demo", out / "run"
    counts = ("--train-count", str(train_count), "--test-count", str(test_count))
    _step("data", "demo", str(demo), *counts, "--size", str(IMAGE_SIZE), "--seed", str(seed), "--edited", "1")
    _step("benco", "train", "--nproc", str(_processes()), *_train_flags(demo, run, epochs, seed))
    checkpoint = run / f"checkpoint-{epochs - 1}.pth"
    common = (*MODEL_FLAGS, *SIZE_FLAGS, "--test_batch_size", "8", "--num_workers", "0")
    checkpoints = out / "last"
    checkpoints.mkdir()
    (checkpoints / checkpoint.name).symlink_to(checkpoint.resolve())
    logs = ("--output_dir", str(out / "test"), "--log_dir", str(out / "test"))
    test = ("--test_data_json", str(demo / "test.json"), "--checkpoint_path", str(checkpoints))
    _step("benco", "test", *common, *test, *logs)
    logs = ("--output_dir", str(out / "robust"), "--log_dir", str(out / "robust"))
    robust = ("--test_data_path", str(demo / "test"), "--checkpoint_path", str(checkpoint))
    _step("benco", "test_robust", "--levels", ATTACK_LEVELS, *common, *robust, *logs)
    picture = draw_predictions(checkpoint, demo / "test", out / "predictions.png")
    return Summary(
        f1=_logged(out / "test" / "demo" / "log.txt")[-1][F1_KEY],
        all_tampered=all_tampered_f1(demo / "test", IMAGE_SIZE),
        constant=constant_mask_f1(demo / "train", demo / "test", IMAGE_SIZE),
        attacks=_attacks(out / "robust"),
        picture=picture,
        seconds=time.monotonic() - start,
    )


def draw_predictions(checkpoint: Path, folder: Path, target: Path) -> Path:
    """Draw photo, truth, probability and mask of some images of a ManiDataset folder, evenly chosen, into a PNG.

    Args:
        checkpoint: trained weights.
        folder: with ``Tp`` and ``Gt``.
        target: the PNG to write.

    Returns:
        The PNG's path.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    from qmanet_benco.apps.photo import read_mask, read_photo
    from qmanet_benco.apps.predict import predict
    from qmanet_benco.model.weights.builder import load_model

    model = load_model(checkpoint)
    photos = sorted((folder / "Tp").iterdir())
    masks = sorted((folder / "Gt").iterdir())
    chosen = np.linspace(0, len(photos) - 1, min(ROWS, len(photos))).astype(int)
    titles = ("photo", "truth", "probability", "prediction")
    figure, axes = plt.subplots(len(chosen), 4, figsize=(8, 2.1 * len(chosen)), squeeze=False)
    for row, index in enumerate(chosen):
        answer = predict(model, photos[index], native=False, image_size=IMAGE_SIZE, threshold=0.5)
        images = (read_photo(photos[index]), read_mask(masks[index]), answer.probability, answer.mask)
        for axis, title, image in zip(axes[row], titles, images, strict=True):
            axis.imshow(image, cmap="magma" if title == "probability" else "gray", vmin=0, vmax=1)
            axis.set_axis_off()
            if row == 0:
                axis.set_title(title)
    figure.tight_layout(pad=0.4)
    figure.savefig(target, dpi=110)
    plt.close(figure)
    return target


def _processes() -> int:
    """On a CPU two processes of one thread train this small network twice as fast as one of two threads."""
    import torch

    return 1 if torch.cuda.is_available() or (os.cpu_count() or 1) < 2 else 2


def _train_flags(demo: Path, run: Path, epochs: int, seed: int) -> list[str]:
    data = ["--data_path", str(demo / "train"), "--test_data_path", str(demo / "test")]
    schedule = ["--epochs", str(epochs), "--lr", "5e-5", "--min_lr", "1e-6", "--warmup_epochs", "1"]
    batches = [
        "--batch_size",
        str(8 // _processes()),
        "--accum_iter",
        "1",
        "--test_batch_size",
        "8",
        "--test_period",
        str(epochs),
    ]
    output = ["--output_dir", str(run), "--log_dir", str(run), "--num_workers", "0", "--seed", str(seed)]
    return [*MODEL_FLAGS, *START_FLAGS, *SIZE_FLAGS, *data, *schedule, *batches, *output]


def _step(*arguments: str) -> None:
    """Run one ``qmanet`` command, printed first.

    Raises:
        RequestError: it failed; its own messages have been shown.
    """
    sys.stderr.write(f"\n$ qmanet {shlex.join(arguments)}\n")
    sys.stderr.flush()
    finished = subprocess.run([sys.executable, "-m", "qmanet_benco", *arguments], check=False)
    if finished.returncode:
        raise RequestError(
            f"`qmanet {' '.join(arguments[:2])}` ended with code {finished.returncode}", "0", "see above"
        )


def _logged(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _attacks(folder: Path) -> dict[str, float]:
    """F1 by attack; the framework names a log's folder after the transform with all its arguments."""
    scores = {}
    for log in sorted(folder.glob("*/log.txt"), key=lambda path: path.stat().st_mtime):
        line = _logged(log)[-1]
        kind = log.parent.name.partition("(")[0]
        scores[f"{_ATTACKS.get(kind, kind)} {line['epoch']}"] = line[F1_KEY]
    return scores
