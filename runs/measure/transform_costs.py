"""Measures what each noise source costs in a data loader's worker: ``python runs/measure/transform_costs.py``.

The table decides what the post function computes (:mod:`qmanet_benco.benco.noise_transforms`): one thread, as in a
worker, on a photo of scikit-image stored as JPEG in a folder that is removed afterwards.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from IMDLBenCo.datasets import JsonDataset
from PIL import Image
from rich.console import Console
from rich.table import Table

from qmanet_benco.benco import noise_transforms
from qmanet_benco.model.noise_view import SRM, BayarConv, Denormalise
from qmanet_benco.model.noiseprint import NoisePrintPP


def transform_costs(size: int = 512, repeats: int = 5) -> dict[str, float]:
    """Median milliseconds per image of each candidate for a post function.

    Args:
        size: side of the network's input in pixels.
        repeats: runs of each; the median is taken.

    Returns:
        Milliseconds by name; the first row is the dataset without any post function.
    """
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        dataset = _one_photo(folder, size)
        sample = dataset[0]
        rgb = Denormalise()(sample["image"])[None]
        srm, bayar, noiseprint = SRM(), BayarConv(), NoisePrintPP()
        noiseprint.randomise()
        key = noise_transforms.pixel_key(sample["image"])
        noise_transforms.store_residual(folder, key, noiseprint(rgb)[0])
        candidates: dict[str, Callable[[], Any]] = {
            "decode, resize, normalise (the framework)": lambda: dataset[0],
            "SRM residual": lambda: srm(rgb),
            "BayarConv (learnt: cannot be precomputed)": lambda: bayar(rgb),
            "NoisePrint++ from the cache (key, read)": lambda: noise_transforms.attach_noiseprint(dict(sample), folder),
            "NoisePrint++ computed": lambda: noiseprint(rgb),
        }
        return {title: _median_milliseconds(run, repeats) for title, run in candidates.items()}


def _one_photo(folder: Path, size: int) -> JsonDataset:
    from skimage import data

    Image.fromarray(data.astronaut()).save(folder / "photo.jpg", quality=90)
    (folder / "list.json").write_text(f'[["{folder / "photo.jpg"}", "Negative"]]')
    return JsonDataset(str(folder / "list.json"), is_resizing=True, output_size=(size, size))


def _median_milliseconds(run: Callable[[], Any], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def parser() -> argparse.ArgumentParser:
    """The command has no options."""
    return argparse.ArgumentParser(description="What each noise source costs in a data loader's worker.")


def main() -> None:
    """Print the table."""
    parser().parse_args()
    torch.set_num_threads(1)
    table = Table("one image of 512 x 512, one thread", "ms")
    for title, milliseconds in transform_costs().items():
        table.add_row(title, f"{milliseconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
