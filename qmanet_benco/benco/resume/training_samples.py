"""Training samples that depend on seed, epoch and index only: not on the number of loader workers or processes."""

from __future__ import annotations

from functools import wraps
from typing import Any

from qmanet_benco.benco.resume import random_states
from qmanet_benco.benco.seam.patches import Patches


def seed_samples(patches: Patches) -> None:
    """Seed python, numpy and torch for each sample of a data set that knows its ``qmanet_position``.

    A balanced list draws its images with the same seed; within it the sets have no position of their own.
    """
    from IMDLBenCo.datasets import BalancedDataset
    from IMDLBenCo.datasets.abstract_dataset import AbstractDataset

    for owner in (AbstractDataset, BalancedDataset):
        patches.set(owner, "__getitem__", _seeded(owner.__getitem__))


def _seeded(stock: Any) -> Any:
    @wraps(stock)
    def getitem(self: Any, index: int) -> Any:
        position = getattr(self, "qmanet_position", None)
        if position is None:
            return stock(self, index)
        with random_states.seeded(*position, index):
            return stock(self, index)

    return getitem


def leave_unaugmented(patches: Patches) -> None:
    """Give the training set the empty pipeline that the test sets have."""
    import albumentations
    from IMDLBenCo.datasets.abstract_dataset import AbstractDataset

    stock = AbstractDataset.__init__

    @wraps(stock)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("common_transforms") is not None:
            kwargs["common_transforms"] = albumentations.Compose([])
        stock(self, *args, **kwargs)

    patches.set(AbstractDataset, "__init__", init)
