"""The patches themselves: one function for each row of :mod:`~qmanet_benco.benco.corrections.table`.

The framework is imported where a patch is applied: the table can be read without it.
"""

from __future__ import annotations

import argparse
import builtins
import random
from dataclasses import dataclass, field
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, DistributedSampler

from qmanet_benco.benco.resume import samples, steps
from qmanet_benco.benco.resume.training import Training, observe
from qmanet_benco.benco.seam import flags, inputs, pairs
from qmanet_benco.benco.seam.checkpoints import safe_globals, safe_load, save_atomically
from qmanet_benco.benco.seam.options import Options
from qmanet_benco.benco.seam.patches import Patches


@dataclass(frozen=True)
class Request:
    """What the patches need to know of a run."""

    script: str
    allow_pickle: bool = False
    training: Training = field(default_factory=lambda: Training(Options()))
    """What happens in a training between the script's calls."""


def keep_cudnn(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    stock = misc.seed_torch

    @wraps(stock)
    def seed_torch(seed: int) -> None:
        stock(seed)
        torch.backends.cudnn.enabled = True

    patches.set(misc, "seed_torch", seed_torch)


def seed_random(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    stock = misc.seed_torch

    @wraps(stock)
    def seed_torch(seed: int) -> None:
        stock(seed)
        random.seed(seed)

    patches.set(misc, "seed_torch", seed_torch)


def allow_own_flags(patches: Patches, _: Request) -> None:
    patches.enter_context(safe_globals())


def load_safely(patches: Patches, request: Request) -> None:
    patches.set(torch, "load", safe_load(torch.load, request.allow_pickle))


def save_whole(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    def save_on_master(content: Any, path: str | Path) -> None:
        if misc.is_main_process():
            save_atomically(content, path)

    patches.set(misc, "save_on_master", save_on_master)


def log_each_set(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts import tester

    stock = tester.test_one_epoch

    @wraps(stock)
    def test_one_epoch(*args: Any, **kwargs: Any) -> Any:
        writer = kwargs.get("log_writer")
        if writer is not None:
            kwargs["args"].full_log_dir = writer.log_dir  # where the script writes this set's line next
        return stock(*args, **kwargs)

    patches.set(tester, "test_one_epoch", test_one_epoch)


def save_every_image(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts import tester

    stock = tester.inference_and_save_one_epoch

    @wraps(stock)
    def inference_and_save_one_epoch(*args: Any, data_loader: DataLoader[Any], **kwargs: Any) -> Any:
        return stock(*args, data_loader=_complete(data_loader), **kwargs)

    patches.set(tester, "inference_and_save_one_epoch", inference_and_save_one_epoch)


def _complete(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The loader without its ``drop_last``; every process gets as many batches as the others, or they would wait."""
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


def print_no_arrays(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.tester import tester as tester_module

    def print_words(*values: Any, **kwargs: Any) -> None:
        if not any(isinstance(value, np.ndarray) for value in values):
            builtins.print(*values, **kwargs)  # noqa: T201 - the script's own output

    patches.set(tester_module, "print", print_words)


def explain_lists(patches: Patches, _: Request) -> None:
    from IMDLBenCo.datasets import BalancedDataset, JsonDataset

    stock = BalancedDataset.__init__

    def pairs_of_list(self: Any, path: str) -> tuple[list[str], list[str]]:
        self.entry_path = path
        read = inputs.read_pair_list(Path(path), "data set")
        return [pair.image for pair in read], [pair.mask for pair in read]

    @wraps(stock)
    def init(self: Any, path: str | None = None, *args: Any, **kwargs: Any) -> None:
        # train.py comes here whatever was wrong with the file as a list of pairs
        if path is not None and not inputs.is_balanced_list(Path(path)):
            inputs.read_pair_list(Path(path), "data set")
        stock(self, path, *args, **kwargs)

    patches.set(JsonDataset, "_init_dataset_path", pairs_of_list)
    patches.set(BalancedDataset, "__init__", init)


def pair_by_name(patches: Patches, _: Request) -> None:
    from IMDLBenCo.datasets import ManiDataset

    def pairs_of_folder(self: Any, path: str) -> tuple[list[str], list[str]]:
        self.entry_path = path
        found = pairs.pair_folder(Path(path), "data set")
        return [pair.image for pair in found], [pair.mask for pair in found]

    patches.set(ManiDataset, "_init_dataset_path", pairs_of_folder)


def read_every_mode(patches: Patches, _: Request) -> None:
    from IMDLBenCo.datasets import utils
    from IMDLBenCo.datasets.abstract_dataset import AbstractDataset

    stock = AbstractDataset._get_image

    @wraps(stock)
    def _get_image(self: Any, index: int) -> Any:
        if self.img_loader is not utils.pil_loader:
            return stock(self, index)
        pair = pairs.Pair(self.tp_path[index], self.gt_path[index])
        image = pairs.read_photo(pair.image)
        negative = pair.mask == pairs.NEGATIVE
        mask = np.zeros(image.shape) if negative else pairs.read_mask(pair.mask)
        sizes = [(each.shape[1], each.shape[0]) for each in (image, mask)]
        if sizes[0] != sizes[1]:
            raise pairs.different_sizes(pair, *sizes)
        return image, mask, int(not negative), *sizes, *pair

    patches.set(AbstractDataset, "_get_image", _get_image)


def name_bad_files(patches: Patches, _: Request) -> None:
    from IMDLBenCo.datasets.abstract_dataset import AbstractDataset

    stock = AbstractDataset._get_image

    @wraps(stock)
    def _get_image(self: Any, index: int) -> Any:
        pair = pairs.Pair(self.tp_path[index], self.gt_path[index])
        try:
            sample = stock(self, index)
        except (AssertionError, OSError, ValueError, SyntaxError) as error:
            pairs.check_pairs([pair], "data set")  # says which of the two, and why
            raise pairs.unreadable(pair.image, error) from error
        if pair.mask != pairs.NEGATIVE:
            pairs.check_mask(sample[1], pair.mask)
        return sample

    patches.set(AbstractDataset, "_get_image", _get_image)


def measure_with_post_function(patches: Patches, _: Request) -> None:
    from qmanet_benco.benco.corrections import counting

    counting.measure_with_post_function(patches)


def count_attention(patches: Patches, _: Request) -> None:
    from qmanet_benco.benco.corrections import counting

    counting.count_attention(patches)


def report_both_conventions(patches: Patches, _: Request) -> None:
    from qmanet_benco.benco.corrections import counting

    counting.report_both_conventions(patches)


def read_bools(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    patches.set(misc, "create_argparser", flags.strict_bools(misc.create_argparser))


def explain_flags(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    patches.set(misc, "create_argparser", flags.explained(misc.create_argparser))


def refuse_in_one_line(patches: Patches, _: Request) -> None:
    patches.set(argparse.ArgumentParser, "error", flags.refuse)


def read_coefficients(patches: Patches, _: Request) -> None:
    """CAT-Net's post function with jpeglib where jpegio is not installed."""
    if find_spec("jpegio") is not None:
        return
    from IMDLBenCo.datasets import utils

    from qmanet_benco.benco.seam import jpeg_coefficients

    patches.set(utils, "import_jpegio", lambda: jpeg_coefficients)


def resume_exactly(patches: Patches, request: Request) -> None:
    observe(patches, request.training)


def seed_each_sample(patches: Patches, _: Request) -> None:
    samples.seed_samples(patches)


def skip_bad_steps(patches: Patches, request: Request) -> None:
    request.training.guard = steps.StepGuard(request.training.options)
    steps.guard_steps(patches, request.training.guard)


def fuse_adamw(patches: Patches, _: Request) -> None:
    from timm.optim import optim_factory

    stock = optim_factory.create_optimizer

    @wraps(stock)
    def create_optimizer(*args: Any, **kwargs: Any) -> Any:
        made = stock(*args, **kwargs)
        if type(made) is not torch.optim.AdamW:
            return made
        return torch.optim.AdamW([{**group, "foreach": None, "fused": True} for group in made.param_groups])

    patches.set(optim_factory, "create_optimizer", create_optimizer)


def nothing(_: Patches, __: Request) -> None:
    """The launcher itself does it, before the script starts."""
