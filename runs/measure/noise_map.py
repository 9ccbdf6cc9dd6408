"""Measures what the framework's input does to TruFor's noise map: ``python runs/measure/noise_map.py [PHOTO]...``.

The photos are real and so are the NoisePrint++ weights, which were trained on RGB / 256. The framework hands the
network the ImageNet-normalised image, and in training it also lets its BatchNorms use the batch. Both maps are compared
with the one of the input that it was trained on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.data.forge.photos import PHOTOS, Photo, pixels
from qmanet_benco.errors import RequestError
from qmanet_benco.images import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class NoiseMap:
    """One photo: standard deviation of the right map, and what the stock input makes of it."""

    photo: str
    deviation: float
    """Standard deviation of the map of RGB / 256."""
    stock_deviation: float
    correlation: float
    """Pearson's, of the stock input's map with the right one, in eval mode."""
    training_correlation: float
    """Likewise in training mode, as the stock trainer leaves NoisePrint++; here with a batch of this one photo."""


def compare(weights: str, photos: Sequence[Path] = (), image_size: int = 512) -> list[NoiseMap]:
    """Compare the stock baseline's noise maps with the corrected one's, photo by photo.

    Args:
        weights: NoisePrint++ weights, a file or a name of ``qmanet weights list``.
        photos: files; by default the ten photos that the dependencies ship.
        image_size: photos are resized to this side, as the framework does.

    Raises:
        RequestError: a file cannot be read.
    """
    chosen = [Photo(path.name, "", "test", path=path) for path in photos] or PHOTOS
    stock, corrected = (_noise_network(name, weights) for name in ("Trufor", "Trufor_RGB"))
    return [_compare(photo, stock, corrected, image_size) for photo in chosen]


def median_of(rows: Iterable[NoiseMap]) -> NoiseMap:
    """The medians of all columns."""
    columns = zip(
        *((row.deviation, row.stock_deviation, row.correlation, row.training_correlation) for row in rows), strict=True
    )
    return NoiseMap("median", *(statistics.median(column) for column in columns))


def _noise_network(name: str, weights: str) -> nn.Module:
    """NoisePrint++ inside a baseline, with what that baseline does to its input."""
    with contextlib.redirect_stdout(sys.stderr):  # the framework prints when it is imported
        model: Any = zoo.build_model(name, {"np_pretrain_weights": weights})
    network: nn.Module = model.model.dncnn
    return network.requires_grad_(False)


@torch.no_grad()
def _compare(photo: Photo, stock: nn.Module, corrected: nn.Module, size: int) -> NoiseMap:
    resized = Image.fromarray(pixels(photo)).resize((size, size), Image.Resampling.BILINEAR)
    rgb = torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1)[None].float() / 255  # 1 x 3 x S x S
    image = normalize(rgb, IMAGENET_MEAN, IMAGENET_STD)
    right, wrong = corrected.eval()(rgb), stock.eval()(image)
    state = {name: tensor.clone() for name, tensor in stock.state_dict().items()}
    training = stock.train()(image)
    stock.load_state_dict(state)  # training mode has moved the BatchNorms
    return NoiseMap(
        photo.name,
        float(right.std()),
        float(wrong.std()),
        _correlation(right, wrong),
        _correlation(right, training),
    )


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten().double(), other.flatten().double()]))[0, 1])


def show(rows: Sequence[NoiseMap]) -> None:
    """Print the table on stdout."""
    from rich.console import Console
    from rich.table import Table

    titles = ("photo", "sigma, RGB/256", "sigma, stock input", "correlation", "correlation, training mode")
    table = Table(*titles, title="TruFor's noise map: the framework's input against RGB / 256")
    for row in [*rows, median_of(rows)]:
        numbers = (row.deviation, row.stock_deviation, row.correlation, row.training_correlation)
        table.add_row(row.photo, *(f"{number:.3f}" for number in numbers))
    Console().print(table)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="What the framework's input does to TruFor's noise map.")
    options.add_argument("photos", metavar="PHOTO", nargs="*", type=Path, help="by default ten of the dependencies'")
    options.add_argument("--weights", default="noiseprint++", help="a file, or a name of `qmanet weights list`")
    options.add_argument("--image-size", type=int, default=512, help="photos are resized to it (default: %(default)s)")
    options.add_argument("--json", action="store_true", help="one JSON document")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print; 2 if a file cannot be read."""
    given = parser().parse_args(arguments)
    try:
        rows = compare(given.weights, given.photos, given.image_size)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if given.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    else:
        show(rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
