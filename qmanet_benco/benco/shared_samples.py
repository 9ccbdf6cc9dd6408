"""Samples of a set for several models at a time: each photo is decoded and attacked once, whoever looks at it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from qmanet_benco.benco import scoring
from qmanet_benco.errors import told

Sample = dict[str, Any]


@dataclass(frozen=True)
class Preparation:
    """What a model wants of a sample beyond image and mask."""

    edge_width: int | None = None
    """Width in pixels of the edge mask; None for none."""
    post_function: Callable[[Sample], None] | None = None
    """Changes a sample in place."""


class SharedSamples(Dataset[list[Any]]):
    """A set as the framework's datasets give it, once for each preparation.

    Args:
        path: with ``Tp`` and ``Gt``, or a list.
        image_size: sides of the network's input.
        padding: pad to it; otherwise resize.
        transform: the attack; called once for each photo.
        preparations: of the models.
    """

    def __init__(
        self,
        path: Path,
        image_size: int,
        padding: bool,
        transform: scoring.Transform | None,
        preparations: Sequence[Preparation],
    ) -> None:
        self.preparations = tuple(preparations)
        self._datasets: dict[int | None, Any] = {}
        for width in dict.fromkeys(each.edge_width for each in preparations):
            self._datasets[width] = scoring.open_set(path, image_size, padding, transform, None, width)
        photos = _Photos(next(iter(self._datasets.values())))
        for dataset in self._datasets.values():
            dataset._get_image = photos.read
            if transform is not None:
                dataset.common_transforms = photos.change

    def __getitem__(self, index: int) -> list[Sample | Exception]:
        """Return a sample for each preparation; where one fails, its error stands in place."""
        by_width: dict[int | None, Sample | Exception] = {}
        for width, dataset in self._datasets.items():
            by_width[width] = _attempted(partial(dataset.__getitem__, index))
        return [_prepared(by_width[each.edge_width], each.post_function) for each in self.preparations]

    def batches(self, batches: Sequence[Sequence[int]], workers: int | None = None) -> Iterator[list[Any]]:
        """Yield batches of the given indices in this order: a batch, or the error of it, for each preparation.

        Args:
            batches: indices of each batch.
            workers: processes that load; None: a thread of this process, one batch ahead of the caller; 0: neither.
        """
        loader: DataLoader[Any] = DataLoader(
            self,
            batch_sampler=[list(batch) for batch in batches],
            num_workers=workers or 0,
            collate_fn=_collated,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # the global one belongs to the models
        )
        yield from loader if workers is not None else _read_ahead(iter(loader))


class _Photos:
    """Reads and attacks the photo that all datasets of a set are asked for next."""

    def __init__(self, dataset: Any) -> None:
        self._read, self._change = dataset._get_image, dataset.common_transforms
        self._index, self._sample, self._changed = -1, None, None

    def read(self, index: int) -> Any:
        if self._index != index:
            self._index = -1  # a photo that cannot be read is no photo
            self._sample, self._changed = self._read(index), None
            self._index = index
        return self._sample

    def change(self, **photo: Any) -> Any:
        if self._changed is None:
            self._changed = self._change(**photo)
        return self._changed


def _attempted(work: Callable[[], Sample]) -> Sample | Exception:
    try:
        return work()
    except Exception as error:
        return _portable(error)


def _prepared(sample: Sample | Exception, post_function: Callable[[Sample], None] | None) -> Sample | Exception:
    """Apply a post function to a copy: the other models see the sample as it was."""
    if post_function is None or isinstance(sample, Exception):
        return sample
    own = {name: value.clone() if isinstance(value, Tensor) else value for name, value in sample.items()}

    def apply() -> Sample:
        post_function(own)
        return own

    return _attempted(apply)


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the error's own class makes of it
        return RuntimeError(told(error))
    return error if str(copy) == str(error) else RuntimeError(told(error))


def _collated(samples: Sequence[Sequence[Sample | Exception]]) -> list[Any]:
    batches: list[Any] = []
    for parts in zip(*samples, strict=True):
        error = next((part for part in parts if isinstance(part, Exception)), None)
        batches.append(error or _attempted(partial(default_collate, list(parts))))
    return batches


def _read_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """Fetch the next batch in a thread while the caller works with this one."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
