"""The launcher's own flags of a training: a table, read from among the stock script's flags before it sees them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from qmanet_benco.errors import RequestError

BAD_STEPS = 10
"""More steps than a loss scaler needs to find its scale again; far fewer than would cost an epoch."""


def _flag(
    default: Any, metavar: str, explained: str, expected: str = "", is_valid: Callable[[Any], bool] = lambda _: True
) -> Any:
    """Make a field with what its flag shows: its value's name, its help, and what a wrong value should have been."""
    shown = {"metavar": metavar, "help": explained, "expected": expected, "is_valid": is_valid}
    return field(default=default, metadata=shown)


@dataclass(frozen=True)
class Options:
    """The launcher's options of a training, each with a flag; the defaults leave the stock behaviour."""

    keep: int = _flag(
        0,
        "N",
        "write a checkpoint after every epoch, with its SHA-256 beside it; keep the newest N and the best",
        "0 (off), 1 or more",
        lambda value: value >= 0,
    )
    augment: str = _flag(
        "stock",
        "stock|none",
        "none: no augmentation, so that an image is the same in every epoch (for --noiseprint_cache)",
        "stock or none",
        lambda value: value in ("stock", "none"),
    )
    max_steps: int = _flag(
        0,
        "N",
        "stop after N optimiser steps, with the learning rate's schedule scaled to them (in place of --epochs)",
        "0 (off), 1 or more",
        lambda value: value >= 0,
    )
    val_fraction: float = _flag(
        0.0,
        "F",
        "choose the checkpoint on this part of the training set, held out, in place of --test_data_path",
        "a number between 0 and 0.9",
        lambda value: 0 <= value <= 0.9,
    )
    clip_grad: float = _flag(
        0.0,
        "NORM",
        "largest norm of the gradient of a step",
        "0 (off) or a number above it",
        lambda value: value >= 0 and math.isfinite(value),
    )
    max_bad_steps: int = _flag(
        BAD_STEPS,
        "N",
        f"stop after N steps without a finite loss in an epoch or in a row (default {BAD_STEPS})",
        "1 or more",
        lambda value: value >= 1,
    )
    deterministic: bool = _flag(
        False,
        "",
        "on CUDA: slower algorithms that give the same bits each time (`qmanet doctor` lists what else does not)",
    )


FLAGS = fields(Options)


def written(name: str) -> str:
    """Write an option as the user does."""
    return f"--{name.replace('_', '-')}"


def split(script: str, flags: Sequence[str]) -> tuple[Options, list[str]]:
    """Take the launcher's own flags out.

    Args:
        script: the stock script; only ``train`` has any.
        flags: the user's.

    Returns:
        The launcher's options, and the flags that remain for the script and the model.

    Raises:
        RequestError: a value is wrong, or a flag is given for another script.
    """
    given, rest = _parser().parse_known_args(list(flags))
    values = {name: value for name, value in vars(given).items() if value is not None}
    for flag in FLAGS:
        if flag.name in values and script != "train":
            raise RequestError(f"{written(flag.name)} for {script}", "train")
        if flag.name in values and not flag.metadata["is_valid"](values[flag.name]):
            raise RequestError(f"{written(flag.name)} {values[flag.name]}", flag.metadata["expected"])
    return Options(**values), rest


def help_text() -> str:
    """Return the launcher's own flags, as lines for a help page."""
    rows = [(f"  {written(flag.name)} {flag.metadata['metavar']}".rstrip(), flag.metadata["help"]) for flag in FLAGS]
    width = max(len(left) for left, _ in rows) + 2
    resume = (
        "  --resume auto",
        "go on from the newest undamaged checkpoint of --output_dir; start new without one",
    )
    return "\n".join(["Flags of the launcher for a training:", *(f"{a:{width}}{b}" for a, b in (*rows, resume))])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RequestError(message.removeprefix("argument "), "", "`qmanet benco train --help` lists the flags")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flag in FLAGS:
        if isinstance(flag.default, bool):
            parser.add_argument(written(flag.name), dest=flag.name, action="store_true", default=None)
        else:
            parser.add_argument(written(flag.name), dest=flag.name, type=type(flag.default), default=None)
    return parser
