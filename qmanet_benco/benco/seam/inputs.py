"""Flags and data of a stock script, checked before it starts: nothing has been written when one is refused."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from qmanet_benco.benco.seam.checkpoints import check_checkpoint, check_folder
from qmanet_benco.benco.seam.pairs import NEGATIVE, Pair, check_pairs, pair_folder
from qmanet_benco.errors import RequestError

FOLDER = "a ManiDataset folder (images in Tp, masks in Gt)"
PAIR_LIST = 'a JSON list of ["image", "mask"] pairs, "Negative" in place of an authentic image\'s mask'
BALANCED_LIST = 'a JSON list of ["ManiDataset" or "JsonDataset", "path"] entries'
NAMED_SETS = 'JSON {"name": "path of a ManiDataset folder or of a JSON list"}'
NO_FILE = ("", "random", "checkpoint")
"""Values of QMA-Net's weight flags that do not name a file."""
BALANCED_SAMPLES = 1840
"""Images that the framework draws from each set of a balanced list in an epoch (balanced_dataset.py)."""

Warn = Callable[[str], None]


def check_request(
    script: str, args: Namespace, model_args: Namespace, world_size: int, allow_pickle: bool, warn: Warn
) -> None:
    """Check everything that a script is going to read.

    Args:
        script: ``train``, ``test``, ``test_robust``, ``test_complexity`` or ``test_save_images``.
        args: the stock script's flags.
        model_args: the model's flags.
        world_size: processes of the whole group.
        allow_pickle: checkpoints may run code.
        warn: called with what is allowed and probably not meant.

    Raises:
        RequestError: the first thing that is wrong.
    """
    _check_sizes(args)
    _check_device(args)
    if args.model == "QMANet":
        _check_qmanet(script, args, model_args)
    _check_outputs(args)
    _check_stored_weights(script, args, allow_pickle)
    if script == "train":
        images = _check_training_data(args)
        _check_batches(args, images, world_size, warn)
        _check_sets(read_test_sets(Path(args.test_data_path), "--test_data_path"))
    elif script == "test":
        _check_sets(read_named_sets(Path(args.test_data_json), "--test_data_json"))
    elif script in ("test_robust", "test_save_images"):
        pairs = read_set(Path(args.test_data_path), "--test_data_path")
        check_pairs(pairs, "--test_data_path")
        if script == "test_save_images":
            _warn_of_equal_names(pairs, warn)


def read_set(path: Path, origin: str) -> list[Pair]:
    """The pairs of a ManiDataset folder or of a JSON list.

    Raises:
        RequestError: it is neither.
    """
    _must_exist(path, origin, f"{FOLDER}, or {PAIR_LIST}")
    return pair_folder(path, origin) if path.is_dir() else read_pair_list(path, origin)


def read_pair_list(path: Path, origin: str) -> list[Pair]:
    """The pairs of a JSON list.

    Raises:
        RequestError: it is missing, no JSON, empty, or no such list.
    """
    content = _read_json(path, origin, PAIR_LIST)
    if not isinstance(content, list) or not content:
        raise RequestError(f"{origin} {path} holds {_kind(content)}", PAIR_LIST)
    for number, entry in enumerate(content, start=1):
        if not isinstance(entry, list) or len(entry) < 2 or not all(isinstance(word, str) for word in entry[:2]):
            raise RequestError(f"{origin} {path}, entry {number}: {_shown(entry)}", PAIR_LIST)
    pairs = [Pair(entry[0], entry[1]) for entry in content]
    for number, pair in enumerate(pairs, start=1):
        for file in pair:
            if file != NEGATIVE and not os.path.isfile(file):  # noqa: PTH113 - a Path for each of 100,000 names is slow
                raise RequestError(
                    f"{origin} {path}, entry {number}: {file} does not exist",
                    "image files",
                    "" if Path(file).is_absolute() else f"relative paths start from the current folder, {Path.cwd()}",
                )
    return pairs


def is_balanced_list(path: Path) -> bool:
    """Whether a JSON file is meant as a balanced list: its first entry begins with a data set class."""
    content = _read_json(path, "--data_path", f"{PAIR_LIST}, or {BALANCED_LIST}")
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, list) and bool(first) and str(first[0]).endswith("Dataset")


def read_balanced_list(path: Path, origin: str) -> list[tuple[str, list[Pair]]]:
    """The sets of a balanced list, by path.

    Raises:
        RequestError: it is no such list, or one of its sets is wrong.
    """
    sets = []
    for number, entry in enumerate(_read_json(path, origin, BALANCED_LIST), start=1):
        where = f"{origin} {path}, entry {number}:"
        if not isinstance(entry, list) or len(entry) != 2 or entry[0] not in ("ManiDataset", "JsonDataset"):
            raise RequestError(f"{where} {_shown(entry)}", BALANCED_LIST)
        target = Path(str(entry[1]))
        read = pair_folder if entry[0] == "ManiDataset" else read_pair_list
        if not (target.is_dir() if entry[0] == "ManiDataset" else target.is_file()):
            kind = "folder" if entry[0] == "ManiDataset" else "file"
            raise RequestError(f"{where} {target} is not a {kind}", BALANCED_LIST, "check the path")
        sets.append((str(target), read(target, where)))
    return sets


def read_named_sets(path: Path, origin: str) -> dict[str, list[Pair]]:
    """The test sets of a JSON dictionary.

    Raises:
        RequestError: it is no such dictionary, or one of its sets is wrong.
    """
    content = _read_json(path, origin, NAMED_SETS)
    if not isinstance(content, dict) or not content:
        raise RequestError(f"{origin} {path} holds {_kind(content)}", NAMED_SETS)
    sets = {}
    for name, target in content.items():
        if not isinstance(target, str):
            raise RequestError(f"{origin} {path}, {name!r}: {_shown(target)}", NAMED_SETS)
        sets[name] = read_set(Path(target), f"{origin} {path}, {name!r}:")
    return sets


def read_test_sets(path: Path, origin: str) -> dict[str, list[Pair]]:
    """The test sets of a training: one folder, or a JSON dictionary."""
    _must_exist(path, origin, f"{FOLDER}, or {NAMED_SETS}")
    return {"test_dataset": pair_folder(path, origin)} if path.is_dir() else read_named_sets(path, origin)


def count_images(path: Path) -> int:
    """Images of one epoch of a training set, whose files are not read.

    Raises:
        RequestError: it is no training set.
    """
    if path.is_file() and is_balanced_list(path):
        return BALANCED_SAMPLES * len(read_balanced_list(path, "--data_path"))
    return len(read_set(path, "--data_path"))


def _check_sets(sets: dict[str, list[Pair]]) -> None:
    for name, pairs in sets.items():
        check_pairs(pairs, name)


def _check_training_data(args: Namespace) -> int:
    """Images of one epoch."""
    path = Path(args.data_path)
    _must_exist(path, "--data_path", f"{FOLDER}, {PAIR_LIST}, or {BALANCED_LIST}")
    if not path.is_dir() and is_balanced_list(path):
        sets = read_balanced_list(path, "--data_path")
        for name, pairs in sets:
            check_pairs(pairs, name)
        return BALANCED_SAMPLES * len(sets)
    pairs = read_set(path, "--data_path")
    check_pairs(pairs, "--data_path")
    return len(pairs)


def _check_batches(args: Namespace, images: int, world_size: int, warn: Warn) -> None:
    """The trainer drops incomplete batches, and the gradients of an incomplete group of ``accum_iter``."""
    batches = -(-images // world_size) // args.batch_size
    if batches == 0:
        raise RequestError(
            f"--data_path {args.data_path} has {images} images for {world_size} process(es) of --batch_size "
            f"{args.batch_size}",
            "at least one full batch for each process",
            "lower --batch_size",
        )
    if batches < args.accum_iter:
        warn(
            f"no weight will change: an epoch has {batches} batches and --accum_iter is {args.accum_iter} "
            "(an incomplete group is dropped); lower --accum_iter"
        )


def _check_sizes(args: Namespace) -> None:
    if args.if_resizing == args.if_padding:
        got = "both --if_resizing and --if_padding" if args.if_resizing else "neither --if_resizing nor --if_padding"
        raise RequestError(got, "one of the two", "add --if_resizing" if not args.if_resizing else "drop one")
    for name, least in dict(
        epochs=1, image_size=1, batch_size=1, test_batch_size=1, accum_iter=1, num_workers=0
    ).items():
        value = getattr(args, name, least)
        if value < least:
            raise RequestError(f"--{name} {value}", f"{least} or more")


def _check_device(args: Namespace) -> None:
    device = getattr(args, "device", "")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RequestError(f"--device {device} without CUDA", "--device cpu", "leave the flag out")
    if device == "cpu" and torch.cuda.is_available():
        raise RequestError(
            "--device cpu beside a GPU", "a machine without CUDA", "hide it: CUDA_VISIBLE_DEVICES= qmanet"
        )


def _check_qmanet(script: str, args: Namespace, model_args: Namespace) -> None:
    # here, since the table of corrections is read without the network's packages
    from qmanet_benco.model.config import parse_noise_sources, variant_config
    from qmanet_benco.model.network import SMALLEST_SIDE
    from qmanet_benco.model.noiseprint import CURE as NOISEPRINT_CURE
    from qmanet_benco.model.weights.pretrained import find_weights
    from qmanet_benco.model.weights.trained import check_architecture, trained_state

    if args.image_size < SMALLEST_SIDE:
        raise RequestError(f"--image_size {args.image_size}", f"{SMALLEST_SIDE} or more for QMANet")
    changes: dict[str, Any] = {}
    if model_args.noise_sources:
        changes["noise_sources"] = parse_noise_sources(model_args.noise_sources)
    if model_args.num_queries:
        changes["num_queries"] = model_args.num_queries
    config = variant_config(model_args.variant, **changes)
    for name in ("backbone_weights", "noiseprint_weights"):
        if getattr(model_args, name) not in NO_FILE:
            find_weights(getattr(model_args, name))
    if model_args.initial_weights:
        check_architecture(trained_state(model_args.initial_weights).tensors["_extra_state"], config)
    empty = script == "train" and not (args.resume or model_args.initial_weights)
    empty = empty and model_args.noiseprint_weights == "checkpoint"
    if empty and "noiseprint" in config.noise_sources:
        raise RequestError("NoisePrint++ has no weights", "weights to train with", NOISEPRINT_CURE)


def _check_outputs(args: Namespace) -> None:
    for name in ("output_dir", "log_dir"):
        value = getattr(args, name, None)
        if not value:
            continue
        existing = next(path for path in (Path(value), *Path(value).absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise RequestError(f"--{name} {value}: {existing} is not a folder to write in", "a writable folder")


def _check_stored_weights(script: str, args: Namespace, allow_pickle: bool) -> None:
    if script == "train":
        if (args.resume or "").startswith(
            ("https:", "http:", "ftp:")
        ):  # the stock trainer would fetch and read it unchecked
            cure = "fetch it, compare its SHA-256 with what its author states, and name the file"
            raise RequestError(f"--resume {args.resume}", "a checkpoint-N.pth of the trainer", cure)
        if args.resume:
            check_checkpoint(Path(args.resume), "--resume", allow_pickle)
    elif script == "test":
        check_folder(Path(args.checkpoint_path), "--checkpoint_path", allow_pickle)
    elif script in ("test_robust", "test_save_images"):
        check_checkpoint(Path(args.checkpoint_path), "--checkpoint_path", allow_pickle)
        if script == "test_robust" and not args.checkpoint_path.endswith(".pth"):
            raise RequestError(f"--checkpoint_path {args.checkpoint_path}", "a name that ends in .pth", "rename it")


def _warn_of_equal_names(pairs: list[Pair], warn: Warn) -> None:
    stems = [Path(pair.image).stem for pair in pairs]
    surplus = len(stems) - len(set(stems))
    if surplus:
        warn(f"{surplus} images share a name with another one: the last mask of a name overwrites the others")


def _read_json(path: Path, origin: str, expected: str) -> Any:
    if path.is_dir():
        raise RequestError(f"{origin} {path} is a folder", expected)
    _must_exist(path, origin, expected)
    if not path.is_file():  # a pipe would wait for a writer, a device has no end
        raise RequestError(f"{origin} {path} is not a file", expected)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise RequestError(f"{origin} {path} is not JSON ({error})", expected) from error


def _must_exist(path: Path, origin: str, expected: str) -> None:
    if not path.exists():
        raise RequestError(f"{origin} {path} does not exist", expected, "check the path")


def _kind(content: Any) -> str:
    empty = "an empty " if isinstance(content, list | dict) and not content else "a "
    return empty + {"dict": "dictionary", "str": "string"}.get(type(content).__name__, type(content).__name__)


def _shown(entry: Any) -> str:
    return json.dumps(entry)[:80]
