"""Small forged sets, and the flags of a network that trains on them in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

IMAGE_SIZE = 64
MODEL_FLAGS = ("--model", "QMANet", "--variant", "miniature", "--noise_sources", "srm,bayar")
COMMON_FLAGS = (*MODEL_FLAGS, "--image_size", str(IMAGE_SIZE), "--if_resizing", "--num_workers", "0")


def make_set(folder: Path, count: int, seed: int = 0) -> Path:
    """A ManiDataset folder with images of different sizes, each with a dark rectangle that is its forgery."""
    generator = np.random.default_rng(seed)
    for name in ("Tp", "Gt"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = generator.integers(0, 255, (72 + 3 * index, 80 + 5 * index, 3), dtype=np.uint8)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        mask[8 + 2 * index : 40 + index, 20:50] = 255
        pixels[mask > 0] //= 3
        Image.fromarray(pixels).save(folder / "Tp" / f"photo{index:02d}.png")
        Image.fromarray(mask).save(folder / "Gt" / f"photo{index:02d}.png")
    return folder


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def train_flags(train: Path, test: Path, output: Path, *more: str) -> list[str]:
    return [
        *COMMON_FLAGS,
        *("--data_path", str(train), "--test_data_path", str(test), "--output_dir", str(output)),
        *("--log_dir", str(output), "--epochs", "1", "--batch_size", "2", "--accum_iter", "1", "--lr", "1e-3"),
        *("--warmup_epochs", "0", "--test_batch_size", "2", *more),
    ]


def output_flags(folder: Path) -> list[str]:
    return ["--output_dir", str(folder), "--log_dir", str(folder)]


def logged(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


F1 = "test_pixel-level F1"
