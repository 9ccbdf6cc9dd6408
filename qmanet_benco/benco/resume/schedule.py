"""Counts the optimiser's steps of a training, and ends its schedule with ``--max-steps``."""

from __future__ import annotations

import math
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

from qmanet_benco.benco.seam.options import Options
from qmanet_benco.benco.seam.patches import Patches, Stock
from qmanet_benco.errors import RequestError


@dataclass(frozen=True)
class StepCount:
    """What ``--max-steps`` needs to know of a training."""

    per_epoch: int
    """Optimiser steps."""
    warmup_share: float
    """Fraction of the whole schedule, in [0, 1]."""

    def epochs(self, max_steps: int) -> int:
        """Epochs that are begun."""
        return math.ceil(max_steps / self.per_epoch)


def count_steps(images: int, world: int, args: Namespace) -> StepCount:
    """Steps of an epoch.

    Raises:
        RequestError: an epoch has no step at all.
    """
    per_epoch = -(-images // world) // args.batch_size // args.accum_iter
    if not per_epoch:
        raise RequestError(
            f"{images} images for {world} process(es) of --batch_size {args.batch_size} --accum_iter {args.accum_iter}",
            "at least one step in an epoch",
            "lower --accum_iter or --batch_size",
        )
    return StepCount(per_epoch, min(1.0, args.warmup_epochs / args.epochs))


def batches_of_epoch(max_steps: int, batches: int, accum_iter: int, epoch: int) -> int | None:
    """Batches of an epoch before ``max_steps`` are reached; None: all."""
    if not max_steps:
        return None
    left = max_steps - epoch * (batches // accum_iter)
    return min(batches, max(0, left) * accum_iter)


def scale_schedule(patches: Patches, options: Options, steps: StepCount) -> None:
    """Let the learning rate's schedule end with ``--max-steps``: warm-up and cosine keep their shares."""
    from IMDLBenCo.training_scripts.trainer import trainer

    epochs = options.max_steps / steps.per_epoch

    def adjust_learning_rate(stock: Stock, optimizer: Any, epoch: float, args: Namespace) -> float:
        scaled = Namespace(**vars(args) | {"epochs": epochs, "warmup_epochs": steps.warmup_share * epochs})
        return float(stock(optimizer, epoch, scaled))

    patches.wrap(trainer, "adjust_learning_rate", adjust_learning_rate)
