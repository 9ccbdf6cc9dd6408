"""Corrects what all stock scripts share (``training_scripts/utils/misc.py``): seeds, checkpoints, steps, flags."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import torch

from qmanet_benco.benco.corrections.row import EXACT_RESUME, FINITE_STEPS, Correction, Request
from qmanet_benco.benco.resume import steps
from qmanet_benco.benco.resume.training import observe
from qmanet_benco.benco.seam import flags
from qmanet_benco.benco.seam.checkpoints import safe_globals, save_atomically
from qmanet_benco.benco.seam.patches import Patches, Stock

MISC = "training_scripts/utils/misc.py"


def keep_cudnn(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    def seed_torch(stock: Stock, seed: int) -> None:
        stock(seed)
        torch.backends.cudnn.enabled = True

    patches.wrap(misc, "seed_torch", seed_torch)


def seed_random(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    def seed_torch(stock: Stock, seed: int) -> None:
        stock(seed)
        random.seed(seed)

    patches.wrap(misc, "seed_torch", seed_torch)


def save_whole(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    def save_on_master(content: Any, path: str | Path) -> None:
        if misc.is_main_process():
            save_atomically(content, path)

    patches.set(misc, "save_on_master", save_on_master)


def skip_bad_steps(patches: Patches, request: Request) -> None:
    request.training.guard = steps.StepGuard(request.training.options)
    steps.guard_steps(patches, request.training.guard)


def read_bools(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    patches.wrap(misc, "create_argparser", flags.strict_bools)


def explain_flags(patches: Patches, _: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    patches.wrap(misc, "create_argparser", flags.explained)


ROWS = (
    Correction(
        "cudnn-enabled",
        f"{MISC}:380",
        r"cudnn\.enabled = False",
        "seeding switches cuDNN off: slow convolutions; deterministic stays on",
        keep_cudnn,
        ("train", "test_robust", "test_complexity"),
    ),
    Correction(
        "seeded-random",
        f"{MISC}:372",
        r"# random\.seed",
        "albumentations draws from Python's random, which is not seeded: equal seeds differ with --num_workers 0",
        seed_random,
        ("train", "test_robust"),
    ),
    Correction(
        "resume",
        f"{MISC}:339",
        r"torch\.load\(args\.resume",
        "a checkpoint holds an argparse.Namespace, which torch 2.6 and later refuse to load",
        lambda patches, _: patches.enter_context(safe_globals()),
    ),
    Correction(
        "atomic-checkpoints",
        f"{MISC}:231",
        r"torch\.save",
        "a kill or a full disk during a write leaves a truncated checkpoint",
        save_whole,
        ("train",),
    ),
    Correction(
        EXACT_RESUME,
        f"{MISC}:322",
        "'epoch': epoch",
        "checkpoints have no random states, so that a resumed training differs; an epoch that was saved but not tested "
        "is not tested after a restart",
        lambda patches, request: observe(patches, request.training),
        ("train",),
    ),
    Correction(
        FINITE_STEPS,
        f"{MISC}:276",
        r"self\._scaler\.scale\(loss\)\.backward",
        "one image with a loss that is not finite makes every weight NaN",
        skip_bad_steps,
        ("train",),
    ),
    Correction("bool-flags", f"{MISC}:398", "arg_type = param.annotation", "bool flags read False as true", read_bools),
    Correction("flag-help", f"{MISC}:401", "help=", "--help shows a model's flags without a word", explain_flags),
    Correction(
        "flag-errors",
        f"{MISC}:385",
        "ArgumentParser",
        "a wrong flag prints a page of usage",
        lambda patches, _: patches.set(argparse.ArgumentParser, "error", flags.refuse),
    ),
)
