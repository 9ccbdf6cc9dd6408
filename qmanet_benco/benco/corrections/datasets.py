"""Corrects how the framework's data sets read images, masks and lists (``datasets/``)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from qmanet_benco.benco.corrections.row import INPUT_CHECKS, TESTS, Request, Rows, around, nothing
from qmanet_benco.benco.resume import random_states
from qmanet_benco.benco.seam import jpeg_coefficients, lists, pairs
from qmanet_benco.benco.seam.patches import Patches, Stock

JPEG_COEFFICIENTS = "jpegio"


_ALL = ("train", *TESTS)
ROWS = Rows()

ROWS.add(
    INPUT_CHECKS,
    "datasets/abstract_dataset.py:45",
    "assert tp_shape == gt_shape",
    "wrong paths, stray files, shifted pairs, grey masks and damaged checkpoints are refused before the run",
)(nothing)


@ROWS.add(
    "paired-names",
    "datasets/iml_datasets.py:23",
    r"gt_list\.sort\(\)",
    "images and masks are paired by sorted position, whatever their names say: 10.jpg with the mask of 1.jpg",
    _ALL,
)
@around("IMDLBenCo.datasets:ManiDataset._init_dataset_path")
def pair_by_name(_stock: Stock, self: Any, path: str) -> tuple[list[str], list[str]]:
    self.entry_path = path
    paired = pairs.pair_folder(Path(path), "data set")
    return [pair.image for pair in paired], [pair.mask for pair in paired]


@ROWS.add(
    "every-mode",
    "datasets/utils.py:29",
    r"img\.convert\('RGB'\)",
    "16-bit grey becomes white, transparency uncovers what is hidden, a mask in the alpha channel is all white",
    _ALL,
)
@around("IMDLBenCo.datasets.abstract_dataset:AbstractDataset._get_image")
def read_every_mode(stock: Stock, self: Any, index: int) -> Any:
    from IMDLBenCo.datasets import utils

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


@ROWS.add(
    "named-files",
    "datasets/utils.py:28",
    r"Image\.open",
    "an unreadable image, unequal sizes or a grey mask are reported with their file names while loading",
    _ALL,
)
@around("IMDLBenCo.datasets.abstract_dataset:AbstractDataset._get_image")
def name_bad_files(stock: Stock, self: Any, index: int) -> Any:
    pair = pairs.Pair(self.tp_path[index], self.gt_path[index])
    try:
        sample = stock(self, index)
    except (AssertionError, OSError, ValueError, SyntaxError) as error:
        pairs.check_pairs([pair], "data set")  # says which of the two, and why
        raise pairs.unreadable(pair.image, error) from error
    if pair.mask != pairs.NEGATIVE:
        pairs.check_mask(sample[1], pair.mask)
    return sample


@ROWS.add(
    "list-errors",
    "training_scripts/train.py:238",
    "except:",
    'a bare except hides what is wrong with a JSON list ("is not registered in DATASETS")',
    _ALL,
)
def explain_lists(patches: Patches, _: Request) -> None:
    from IMDLBenCo.datasets import BalancedDataset, JsonDataset

    def pairs_of_list(self: Any, path: str) -> tuple[list[str], list[str]]:
        self.entry_path = path
        read = lists.read_pair_list(Path(path), "data set")
        return [pair.image for pair in read], [pair.mask for pair in read]

    def init(stock: Stock, self: Any, path: str | None = None, *args: Any, **kwargs: Any) -> None:
        # train.py comes here whatever was wrong with the file as a list of pairs
        if path is not None and not lists.is_balanced_list(Path(path)):
            lists.read_pair_list(Path(path), "data set")
        stock(self, path, *args, **kwargs)

    patches.set(JsonDataset, "_init_dataset_path", pairs_of_list)
    patches.wrap(BalancedDataset, "__init__", init)


@ROWS.add(
    JPEG_COEFFICIENTS,
    "datasets/utils.py:11",
    "import jpegio as jio",
    "CAT-Net needs jpegio, which nothing declares and which has no wheel; jpeglib reads the same coefficients",
    _ALL,
)
def read_coefficients(patches: Patches, _: Request) -> None:
    """CAT-Net's post function with jpeglib where jpegio is not installed."""
    if find_spec("jpegio") is not None:
        return
    from IMDLBenCo.datasets import utils

    patches.set(utils, "import_jpegio", lambda: jpeg_coefficients)


@ROWS.add(
    "seeded-samples",
    "datasets/abstract_dataset.py:97",
    r"self\.common_transforms\(image",
    "augmentations depend on the number of loader workers",
    ("train",),
)
def seed_samples(patches: Patches, _: Request) -> None:
    """Seed python, numpy and torch for each sample of a data set that knows its ``qmanet_position``.

    So a sample depends on seed, epoch and index only: not on the number of loader workers or processes. A balanced list
    draws its images with the same seed; within it the sets have no position of their own.
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
