"""Corrects the stock ``test.py`` and ``test_save_images.py``."""

from __future__ import annotations

import builtins
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, DistributedSampler

from qmanet_benco.benco.corrections.row import RELATIVE_CHECKPOINT, Request, Rows, around, nothing
from qmanet_benco.benco.seam.checkpoints import safe_load
from qmanet_benco.benco.seam.patches import Patches, Stock

_SAVING = ("test_save_images",)
ROWS = Rows()


@ROWS.add(
    "safe-checkpoints",
    "training_scripts/test.py:261",
    "weights_only=False",
    "a checkpoint could run code; --allow-pickle lets it",
)
def load_safely(patches: Patches, request: Request) -> None:
    patches.wrap(torch, "load", partial(safe_load, allow_pickle=request.allow_pickle))


@ROWS.add(
    "log-per-set",
    "training_scripts/test.py:283",
    "full_log_dir",
    "the results of all sets go into the last set's log.txt",
    ("test",),
)
@around("IMDLBenCo.training_scripts.tester:test_one_epoch")
def log_each_set(stock: Stock, *args: Any, **kwargs: Any) -> Any:
    writer = kwargs.get("log_writer")
    if writer is not None:
        kwargs["args"].full_log_dir = writer.log_dir  # where the script writes this set's line next
    return stock(*args, **kwargs)


ROWS.add(
    RELATIVE_CHECKPOINT,
    "training_scripts/test_save_images.py:217",
    r"os\.path\.join\(args\.checkpoint_path, chkpt_dir\)",
    "a relative --checkpoint_path is joined to itself",
    _SAVING,
)(nothing)


@ROWS.add(
    "every-mask",
    "training_scripts/test_save_images.py:210",
    "drop_last=True",
    "images of an incomplete last batch get no mask",
    _SAVING,
)
@around("IMDLBenCo.training_scripts.tester:inference_and_save_one_epoch")
def save_every_image(stock: Stock, *args: Any, data_loader: DataLoader[Any], **kwargs: Any) -> Any:
    """Let the loader not drop its last batch; every process gets as many as the others, or they would wait."""
    from IMDLBenCo.training_scripts.utils import misc

    dataset: Any = data_loader.dataset
    sampler: DistributedSampler[Any] = DistributedSampler(
        dataset, misc.get_world_size(), misc.get_rank(), shuffle=False, drop_last=False
    )
    complete = DataLoader(
        dataset,
        sampler=sampler,
        batch_size=data_loader.batch_size,
        num_workers=data_loader.num_workers,
        pin_memory=data_loader.pin_memory,
    )
    return stock(*args, data_loader=complete, **kwargs)


@ROWS.add(
    "no-pixel-prints",
    "training_scripts/tester/tester.py:273",
    r"print\(mask_pred_i\)",
    "every mask's pixels are printed",
    _SAVING,
)
def print_no_arrays(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.tester import tester as tester_module

    def print_words(*values: Any, **kwargs: Any) -> None:
        if not any(isinstance(value, np.ndarray) for value in values):
            builtins.print(*values, **kwargs)  # noqa: T201 - the script's own output

    patches.set(tester_module, "print", print_words)
