"""Measures whether data loading keeps up with the framework's own dataset and augmentations and our post function.

``python runs/measure/speed.py --parts loading`` tells how many images a second one and two loader workers bring, where
the time of an image goes, and what the dataset's own edge mask would add, which QMA-Net does without by default.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

IMAGES, REPEATS = 16, 4
"""Generated forgeries, and how often each is read."""
STAGES = {
    "_get_image": "decoding photo and mask",
    "common_transforms": "the framework's augmentations",
    "post_transform": "resizing, normalising",
    "post_funcs": "the post function (ours)",
}
"""What a dataset does with an image, by the attribute that does it."""


@contextmanager
def training_set(size: int, edge_width: int | None = None) -> Iterator[Any]:
    """The framework's dataset as its trainer builds it, over generated forgeries of ``size`` x ``size`` pixels."""
    from IMDLBenCo.datasets import ManiDataset  # here: the bench's other parts do without
    from IMDLBenCo.transforms import get_albu_transforms

    from qmanet_benco.benco.noise_transforms import qmanet_post_func
    from qmanet_benco.data.forge.demo import make_demo

    with tempfile.TemporaryDirectory() as folder:
        made = make_demo(Path(folder) / "set", train_count=IMAGES, test_count=2, size=size)
        yield ManiDataset(
            str(made.train),
            is_resizing=True,
            output_size=(size, size),
            common_transforms=get_albu_transforms("train"),
            edge_width=edge_width,
            post_funcs=qmanet_post_func,
        )


def seconds_per_image(dataset: Any, workers: int) -> float:
    """Seconds between two images of a loader that has started, batches of four."""
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=4, sampler=[*range(len(dataset))] * REPEATS, num_workers=workers
    )
    batches = iter(loader)
    next(batches)
    start = time.perf_counter()
    for _ in batches:
        pass
    return (time.perf_counter() - start) / (len(dataset) * REPEATS - 4)


def seconds_of_stages(dataset: Any) -> dict[str, float]:
    """Seconds per image of each of :data:`STAGES` and of the rest, in this process."""
    spent = dict.fromkeys(STAGES, 0.0)
    former = {name: getattr(dataset, name) for name in STAGES}
    try:
        for name, stage in former.items():
            setattr(dataset, name, _timed(stage, name, spent))
        start = time.perf_counter()
        for index in range(len(dataset)):
            dataset[index]
        whole = time.perf_counter() - start
    finally:
        for name, stage in former.items():
            setattr(dataset, name, stage)
    named = {STAGES[name]: seconds / len(dataset) for name, seconds in spent.items()}
    return named | {"the rest": (whole - sum(spent.values())) / len(dataset)}


def _timed(stage: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    @wraps(stage)
    def measured(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return stage(*args, **kwargs)
        finally:
            spent[name] += time.perf_counter() - start

    return measured
