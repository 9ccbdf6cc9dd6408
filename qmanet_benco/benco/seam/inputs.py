"""Checks the flags and the data of a stock script before it starts, so that a refused one has written nothing."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch

from qmanet_benco.benco.seam.checkpoints import check_checkpoint, check_folder
from qmanet_benco.benco.seam.lists import read_named_sets, read_set, read_test_sets, read_training_set
from qmanet_benco.benco.seam.padding import warn_of_cropping
from qmanet_benco.benco.seam.pairs import Pair, check_pairs
from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import variant_config
from qmanet_benco.model.network import SMALLEST_SIDE
from qmanet_benco.model.noiseprint import CURE as NOISEPRINT_CURE
from qmanet_benco.model.weights.builder import fields_of_flags
from qmanet_benco.model.weights.pretrained import find_weights
from qmanet_benco.model.weights.trained import check_architecture, trained_state

NO_FILE = ("", "random", "checkpoint")
"""Values of QMA-Net's weight flags that do not name a file."""

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
        training = read_training_set(Path(args.data_path))
        _check_sets(args, dict(training.sets), warn)
        _check_batches(args, training.images(), world_size, warn)
        _check_sets(args, read_test_sets(Path(args.test_data_path), "--test_data_path"), warn)
    elif script == "test":
        _check_sets(args, read_named_sets(Path(args.test_data_json), "--test_data_json"), warn)
    elif script in ("test_robust", "test_save_images"):
        pairs = read_set(Path(args.test_data_path), "--test_data_path")
        _check_sets(args, {"--test_data_path": pairs}, warn)
        if script == "test_save_images":
            _warn_of_equal_names(pairs, warn)


def _check_sets(args: Namespace, sets: dict[str, list[Pair]], warn: Warn) -> None:
    for name, pairs in sets.items():
        check_pairs(pairs, name)
        if args.if_padding:
            warn_of_cropping(pairs, args.image_size, name, warn)


def _check_batches(args: Namespace, images: int, world_size: int, warn: Warn) -> None:
    """Refuse or warn where the trainer drops all: incomplete batches, and an incomplete group of ``accum_iter``."""
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
    if args.image_size < SMALLEST_SIDE:
        raise RequestError(f"--image_size {args.image_size}", f"{SMALLEST_SIDE} or more for QMANet")
    config = variant_config(model_args.variant, **fields_of_flags(vars(model_args)))
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
