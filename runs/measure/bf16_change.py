"""Measures what bfloat16 changes: ``python runs/measure/bf16_change.py SET [--weights W] [--images N]``.

The same network answers in fp32 and in bf16, on a CPU without bfloat16 instructions too: PyTorch computes the same
numbers there, only slowly. No time is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from qmanet_benco.apps.predict import predict
from qmanet_benco.benco.seam.pairs import pair_folder
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.metrics import image_metrics
from qmanet_benco.model.weights.builder import load_model
from qmanet_benco.precision import BF16, FP32


@dataclass(frozen=True)
class Change:
    """What bfloat16 changes, over all images; F1 is their mean at the network's own threshold."""

    images: int
    f1: float
    f1_bf16: float
    largest_f1_change: float
    changed_pixels: float
    """The part of all pixels that change sides."""
    largest_difference: float
    """The largest difference of a probability."""


def change(folder: Path, weights: str = "demo", images: int = 100) -> Change:
    """Measure.

    Args:
        folder: with ``Tp`` and ``Gt``.
        weights: as for ``load_model``.
        images: evenly chosen.

    Raises:
        RequestError: the set or the weights cannot be read.
    """
    if images < 1:
        raise RequestError(f"{images} images", "1 or more")
    pairs = pair_folder(folder, "set")
    chosen = sorted({position * len(pairs) // images for position in range(images)})
    model = load_model(weights)
    scores: dict[str, list[float]] = {FP32: [], BF16: []}
    moved, pixels, largest = 0, 0, 0.0
    for index in chosen:
        with Image.open(pairs[index].mask) as image:
            truth = torch.from_numpy(np.asarray(image.convert("L")) > 127).float()
        answers = {}
        for precision in (FP32, BF16):
            model.precision = precision
            answers[precision] = predict(model, pairs[index].image)
            mask = torch.from_numpy(answers[precision].mask).float()
            scores[precision].append(image_metrics(mask, truth)["f1"])
        moved += int((answers[FP32].mask != answers[BF16].mask).sum())
        pixels += truth.numel()
        largest = max(largest, float(np.abs(answers[FP32].probability - answers[BF16].probability).max()))
    f1, half = (np.asarray(scores[precision]) for precision in (FP32, BF16))
    return Change(
        len(chosen), float(f1.mean()), float(half.mean()), float(np.abs(f1 - half).max()), moved / pixels, largest
    )


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="What bfloat16 changes in masks and F1.")
    options.add_argument("set", type=Path, help="a folder with Tp and Gt")
    options.add_argument("--weights", default="demo", help="as for `qmanet predict` (default: %(default)s)")
    options.add_argument("--images", type=int, default=100, help="evenly chosen (default: %(default)s)")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 2 if the request was wrong."""
    given = parser().parse_args(arguments)
    try:
        mean = change(given.set, given.weights, given.images)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(
        f"{mean.images} images: F1 {mean.f1:.4f} in fp32, {mean.f1_bf16:.4f} in bf16, of one image at most "
        f"{mean.largest_f1_change:.4f} apart; {mean.changed_pixels:.3%} of the pixels change sides; a probability "
        f"differs by at most {mean.largest_difference:.3f}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
