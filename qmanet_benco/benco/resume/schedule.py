"""Counts the optimiser's steps of a training, and ends its schedule with ``--max-steps``."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from qmanet_benco.benco.seam.patches import Patches, Stock
from qmanet_benco.errors import RequestError


def steps_of_epoch(images: int, world: int, args: Namespace) -> int:
    """Count the optimiser's steps of an epoch.

    Raises:
        RequestError: an epoch has no step at all.
    """
    steps = -(-images // world) // args.batch_size // args.accum_iter
    if not steps:
        raise RequestError(
            f"{images} images for {world} process(es) of --batch_size {args.batch_size} --accum_iter {args.accum_iter}",
            "at least one step in an epoch",
            "lower --accum_iter or --batch_size",
        )
    return steps


def batches_of_epoch(max_steps: int, batches: int, accum_iter: int, epoch: int) -> int | None:
    """Batches of an epoch before ``max_steps`` are reached; None: all."""
    if not max_steps:
        return None
    left = max_steps - epoch * (batches // accum_iter)
    return min(batches, max(0, left) * accum_iter)


def scale_schedule(patches: Patches, epochs: float, args: Namespace) -> None:
    """Let the learning rate's schedule end after some epochs: warm-up and cosine keep their shares of ``args``."""
    warmup_share = min(1.0, args.warmup_epochs / args.epochs)

    def adjust_learning_rate(stock: Stock, optimizer: Any, epoch: float, args: Namespace) -> float:
        scaled = Namespace(**vars(args) | {"epochs": epochs, "warmup_epochs": warmup_share * epochs})
        return float(stock(optimizer, epoch, scaled))

    from IMDLBenCo.training_scripts.trainer import trainer

    patches.wrap(trainer, "adjust_learning_rate", adjust_learning_rate)
