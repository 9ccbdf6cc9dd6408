"""Corrects what all stock scripts share (``training_scripts/utils/misc.py``): seeds, checkpoints, steps, flags."""

from __future__ import annotations

import argparse
import inspect
import random
import re
import textwrap
from pathlib import Path
from typing import Any

import torch

from qmanet_benco.benco.corrections.row import EXACT_RESUME, FINITE_STEPS, Request, Rows, around
from qmanet_benco.benco.resume.steps import StepGuard
from qmanet_benco.benco.seam import flags
from qmanet_benco.benco.seam.checkpoints import safe_globals, save_atomically
from qmanet_benco.benco.seam.patches import Patches, Stock

MISC = "training_scripts/utils/misc.py"
_HERE = "IMDLBenCo.training_scripts.utils.misc"
_ENTRY = re.compile(r"^(\w+)\s*(?:\([^)]*\))?:[^\S\n]*(.*(?:\n\s+.*)*)", re.MULTILINE)
ROWS = Rows()


@ROWS.add(
    "cudnn-enabled",
    f"{MISC}:380",
    r"cudnn\.enabled = False",
    "seeding switches cuDNN off: slow convolutions; deterministic stays on",
    ("train", "test_robust", "test_complexity"),
)
@around(f"{_HERE}:seed_torch")
def keep_cudnn(stock: Stock, seed: int) -> None:
    stock(seed)
    torch.backends.cudnn.enabled = True


@ROWS.add(
    "seeded-random",
    f"{MISC}:372",
    r"# random\.seed",
    "albumentations draws from Python's random, which is not seeded: equal seeds differ with --num_workers 0",
    ("train", "test_robust"),
)
@around(f"{_HERE}:seed_torch")
def seed_random(stock: Stock, seed: int) -> None:
    stock(seed)
    random.seed(seed)


@ROWS.add(
    "resume",
    f"{MISC}:339",
    r"torch\.load\(args\.resume",
    "a checkpoint holds an argparse.Namespace, which torch 2.6 and later refuse to load",
)
def allow_own_flags(patches: Patches, _: Request) -> None:
    patches.enter_context(safe_globals())


@ROWS.add(
    "atomic-checkpoints",
    f"{MISC}:231",
    r"torch\.save",
    "a kill or a full disk during a write leaves a truncated checkpoint",
    ("train",),
)
@around(f"{_HERE}:save_on_master")
def save_whole(_stock: Stock, content: Any, path: str | Path) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    if misc.is_main_process():
        save_atomically(content, path)


@ROWS.add(
    EXACT_RESUME,
    f"{MISC}:322",
    "'epoch': epoch",
    "checkpoints have no random states, so that a resumed training differs; an epoch that was saved but not tested "
    "is not tested after a restart",
    ("train",),
)
def resume_exactly(patches: Patches, request: Request) -> None:
    """Let the training see the stock functions that the script imports when it starts."""
    from IMDLBenCo.training_scripts import tester, trainer
    from IMDLBenCo.training_scripts.utils import misc

    training = request.training
    patches.wrap(misc, "load_model", training.load_model)
    patches.wrap(misc, "save_model", training.save_model)
    patches.wrap(trainer, "train_one_epoch", training.train_one_epoch)
    patches.wrap(tester, "test_one_epoch", training.test_one_epoch)


@ROWS.add(
    FINITE_STEPS,
    f"{MISC}:276",
    r"self\._scaler\.scale\(loss\)\.backward",
    "one image with a loss that is not finite makes every weight NaN",
    ("train",),
)
def skip_bad_steps(patches: Patches, request: Request) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    request.training.guard = guard = StepGuard(request.training.options)
    patches.wrap(misc.NativeScalerWithGradNormCount, "__call__", guard.call)
    patches.wrap(misc.MetricLogger, "update", guard.update)


@ROWS.add("bool-flags", f"{MISC}:398", "arg_type = param.annotation", "bool flags read False as true")
@around(f"{_HERE}:create_argparser")
def read_bools(stock: Stock, model: Any) -> argparse.ArgumentParser:
    """Let flags for true and false read ``False`` as false."""
    parser: argparse.ArgumentParser = stock(model)
    for action in parser._actions:
        if action.type is bool or isinstance(action.default, bool):  # some zoo models annotate nothing
            action.type = _truth
            action.metavar = "true|false"
    return parser


def _truth(text: str) -> bool:
    """Read ``true``, ``yes``, ``1`` or their opposites."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return words[text.lower()]


@ROWS.add("flag-help", f"{MISC}:401", "help=", "--help shows a model's flags without a word")
@around(f"{_HERE}:create_argparser")
def explain_flags(stock: Stock, model: Any) -> argparse.ArgumentParser:
    """Let the help come from the model's docstring."""
    parser: argparse.ArgumentParser = stock(model)
    texts = argument_texts(model)
    parser.description = f"Flags of the model {model.__name__}"
    for action in parser._actions:
        default = "" if action.default is None else f" (default: {action.default!r})"
        if action.dest != "help":
            action.help = (texts.get(action.dest, "") + default).strip().replace("%", "%%")
    return parser


def argument_texts(model: Any) -> dict[str, str]:
    """Read the entries ``name: text`` of ``Args:`` in the docstrings of a model's class and of its ``__init__``.

    A line that is indented further continues the entry before it.
    """
    texts: dict[str, str] = {}
    for owner in (model, getattr(model, "__init__", None)):
        block = (inspect.getdoc(owner) or "").partition("Args:\n")[2].partition("\n\n")[0]
        entries = _ENTRY.findall(textwrap.dedent(block))
        texts |= {name: " ".join(text.split()) for name, text in entries}
    return texts


@ROWS.add("flag-errors", f"{MISC}:385", "ArgumentParser", "a wrong flag prints a page of usage")
def refuse_in_one_line(patches: Patches, _: Request) -> None:
    patches.set(argparse.ArgumentParser, "error", flags.refuse)
