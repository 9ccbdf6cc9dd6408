"""Small forged sets, and the flags of a network that trains on them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

IMAGE_SIZE = 64
MODEL_FLAGS = ("--model", "QMANet", "--variant", "miniature", "--noise_sources", "srm,bayar")
COMMON_FLAGS = (*MODEL_FLAGS, "--image_size", str(IMAGE_SIZE), "--if_resizing", "--num_workers", "0")


def make_forgeries(folder: Path, count: int, seed: int = 0) -> Path:
    """A ManiDataset folder: noise of different sizes, a dark rectangle is the forgery."""
    generator = np.random.default_rng(seed)
    for name in ("Tp", "Gt"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        pixels = generator.integers(0, 255, (72 + 3 * index, 80 + 5 * index, 3), dtype=np.uint8)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        top, left = generator.integers(0, 40, 2)
        mask[top : top + 24, left : left + 30] = 255
        pixels[mask > 0] //= 4
        Image.fromarray(pixels).save(folder / "Tp" / f"photo {index}.png")
        Image.fromarray(mask).save(folder / "Gt" / f"photo {index}.png")
    return folder
