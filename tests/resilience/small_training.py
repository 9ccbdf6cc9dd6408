"""A training of seconds for experiments on how trainings survive: a miniature on made-up forgeries of 64 x 64."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
from PIL import Image

IMAGE_SIZE = 64
BATCH_SIZE = 2


def make_images(folder: Path, count: int, seed: int) -> Path:
    """A ManiDataset folder: noise with a dark rectangle that is its forgery."""
    generator = np.random.default_rng(seed)
    for name in ("Tp", "Gt"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = generator.integers(0, 255, (72, 80, 3), dtype=np.uint8)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        top = int(generator.integers(0, 40))
        mask[top : top + 24, 20:50] = 255
        pixels[mask > 0] //= 3
        Image.fromarray(pixels).save(folder / "Tp" / f"photo{index:03d}.png")
        Image.fromarray(mask).save(folder / "Gt" / f"photo{index:03d}.png")
    return folder


def flags_of(data: Path, output: Path, *more: str) -> tuple[str, ...]:
    """Flags of ``qmanet benco train`` for ``data/train`` and ``data/test``; what comes in ``more`` wins."""
    return (
        *("--model", "QMANet", "--variant", "miniature", "--noise_sources", "srm,bayar"),
        *("--image_size", str(IMAGE_SIZE), "--if_resizing", "--num_workers", "1"),
        *("--data_path", str(data / "train"), "--test_data_path", str(data / "test")),
        *("--output_dir", str(output), "--log_dir", str(output), "--batch_size", str(BATCH_SIZE)),
        *("--test_batch_size", "2", "--accum_iter", "1", "--lr", "1e-3", "--warmup_epochs", "0", "--test_period", "1"),
        *more,
    )


def train(flags: tuple[str, ...], log: Path) -> None:
    """Train in this process, whose output goes to ``log`` from now on; to be called in a process of its own."""
    from qmanet_benco.benco.launch.launcher import Run, launch

    os.setsid()  # so that a kill reaches the loader's workers too
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    import torch

    torch.set_num_threads(1)
    # loader workers as in a process that was started by hand: copies, not servers that import everything anew
    multiprocessing.set_start_method("fork", force=True)
    raise SystemExit(launch(Run("train", flags)))
