"""Makes a training sample depend on seed, epoch and index only, not on the number of loader workers or processes."""

from __future__ import annotations

from typing import Any

from qmanet_benco.benco.resume import random_states
from qmanet_benco.benco.seam.patches import Patches, Stock


def seed_samples(patches: Patches) -> None:
    """Seed python, numpy and torch for each sample of a data set that knows its ``qmanet_position``.

    A balanced list draws its images with the same seed; within it the sets have no position of their own.
    """
    from IMDLBenCo.datasets import BalancedDataset
    from IMDLBenCo.datasets.abstract_dataset import AbstractDataset

    for owner in (AbstractDataset, BalancedDataset):
        patches.wrap(owner, "__getitem__", _seeded)


def _seeded(stock: Stock, dataset: Any, index: int) -> Any:
    position = getattr(dataset, "qmanet_position", None)
    if position is None:
        return stock(dataset, index)
    with random_states.seeded(*position, index):
        return stock(dataset, index)


def leave_unaugmented(patches: Patches) -> None:
    """Give the training set the empty pipeline that the test sets have."""
    import albumentations
    from IMDLBenCo.datasets.abstract_dataset import AbstractDataset

    def init(stock: Stock, self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("common_transforms") is not None:
            kwargs["common_transforms"] = albumentations.Compose([])
        stock(self, *args, **kwargs)

    patches.wrap(AbstractDataset, "__init__", init)
