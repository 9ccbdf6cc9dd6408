"""Corrects the stock ``test.py`` and ``test_save_images.py``."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, DistributedSampler

from qmanet_benco.benco.corrections.row import RELATIVE_CHECKPOINT, Correction, Request, nothing
from qmanet_benco.benco.seam.checkpoints import safe_load
from qmanet_benco.benco.seam.patches import Patches, Stock


def _complete(loader: DataLoader[Any]) -> DataLoader[Any]:
    """Make the loader without ``drop_last``; every process gets as many batches as the others, or they would wait."""
    from IMDLBenCo.training_scripts.utils import misc

    dataset: Any = loader.dataset
    sampler: DistributedSampler[Any] = DistributedSampler(
        dataset, misc.get_world_size(), misc.get_rank(), shuffle=False, drop_last=False
    )
    return DataLoader(
        dataset,
        sampler=sampler,
        batch_size=loader.batch_size,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
    )


def log_each_set(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts import tester

    def test_one_epoch(stock: Stock, *args: Any, **kwargs: Any) -> Any:
        writer = kwargs.get("log_writer")
        if writer is not None:
            kwargs["args"].full_log_dir = writer.log_dir  # where the script writes this set's line next
        return stock(*args, **kwargs)

    patches.wrap(tester, "test_one_epoch", test_one_epoch)


def save_every_image(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts import tester

    def inference_and_save_one_epoch(stock: Stock, *args: Any, data_loader: DataLoader[Any], **kwargs: Any) -> Any:
        return stock(*args, data_loader=_complete(data_loader), **kwargs)

    patches.wrap(tester, "inference_and_save_one_epoch", inference_and_save_one_epoch)


def print_no_arrays(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.tester import tester as tester_module

    def print_words(*values: Any, **kwargs: Any) -> None:
        if not any(isinstance(value, np.ndarray) for value in values):
            builtins.print(*values, **kwargs)  # noqa: T201 - the script's own output

    patches.set(tester_module, "print", print_words)


ROWS = (
    Correction(
        "safe-checkpoints",
        "training_scripts/test.py:261",
        "weights_only=False",
        "a checkpoint could run code; --allow-pickle lets it",
        lambda patches, request: patches.set(torch, "load", safe_load(torch.load, request.allow_pickle)),
    ),
    Correction(
        "log-per-set",
        "training_scripts/test.py:283",
        "full_log_dir",
        "the results of all sets go into the last set's log.txt",
        log_each_set,
        ("test",),
    ),
    Correction(
        RELATIVE_CHECKPOINT,
        "training_scripts/test_save_images.py:217",
        r"os\.path\.join\(args\.checkpoint_path, chkpt_dir\)",
        "a relative --checkpoint_path is joined to itself",
        nothing,
        ("test_save_images",),
    ),
    Correction(
        "every-mask",
        "training_scripts/test_save_images.py:210",
        "drop_last=True",
        "images of an incomplete last batch get no mask",
        save_every_image,
        ("test_save_images",),
    ),
    Correction(
        "no-pixel-prints",
        "training_scripts/tester/tester.py:273",
        r"print\(mask_pred_i\)",
        "every mask's pixels are printed",
        print_no_arrays,
        ("test_save_images",),
    ),
)
