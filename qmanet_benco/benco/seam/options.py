"""The launcher's own flags of a training: a table, read from among the stock script's flags before it sees them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from qmanet_benco.errors import RequestError

AUGMENTATIONS = ("stock", "none")
BAD_STEPS = 10
"""More steps than a loss scaler needs to find its scale again; far fewer than would cost an epoch."""


@dataclass(frozen=True)
class Options:
    """What the launcher adds to a training; the defaults leave the stock behaviour."""

    keep: int = 0
    """A checkpoint after every epoch, the newest so many and the best kept; 0: the stock rhythm, nothing removed."""
    augment: str = "stock"
    max_steps: int = 0
    """Optimiser steps of the whole run; 0: as many as ``--epochs`` gives."""
    val_fraction: float = 0.0
    clip_grad: float = 0.0
    """Largest norm of the gradient; 0: not clipped."""
    max_bad_steps: int = BAD_STEPS
    deterministic: bool = False


@dataclass(frozen=True)
class Flag:
    """One row of the table."""

    name: str
    kind: Callable[[str], Any]
    metavar: str
    help: str
    expected: str
    is_valid: Callable[[Any], bool]

    @property
    def option(self) -> str:
        """As the user writes it."""
        return f"--{self.name.replace('_', '-')}"


FLAGS = (
    Flag(
        "keep",
        int,
        "N",
        "write a checkpoint after every epoch, with its SHA-256 beside it; keep the newest N and the best",
        "0 (off), 1 or more",
        lambda value: value >= 0,
    ),
    Flag(
        "augment",
        str,
        "stock|none",
        "none: no augmentation, so that an image is the same in every epoch (for --noiseprint_cache)",
        "stock or none",
        AUGMENTATIONS.__contains__,
    ),
    Flag(
        "max_steps",
        int,
        "N",
        "stop after N optimiser steps, with the learning rate's schedule scaled to them (in place of --epochs)",
        "0 (off), 1 or more",
        lambda value: value >= 0,
    ),
    Flag(
        "val_fraction",
        float,
        "F",
        "choose the checkpoint on this part of the training set, held out, in place of --test_data_path",
        "a number between 0 and 0.9",
        lambda value: 0 <= value <= 0.9,
    ),
    Flag(
        "clip_grad",
        float,
        "NORM",
        "largest norm of the gradient of a step",
        "0 (off) or a number above it",
        lambda value: value >= 0 and math.isfinite(value),
    ),
    Flag(
        "max_bad_steps",
        int,
        "N",
        f"stop after N steps without a finite loss in an epoch or in a row (default {BAD_STEPS})",
        "1 or more",
        lambda value: value >= 1,
    ),
    Flag(
        "deterministic",
        bool,
        "",
        "on CUDA: slower algorithms that give the same bits each time (`qmanet doctor` lists what else does not)",
        "",
        lambda _value: True,
    ),
)


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
            raise RequestError(f"{flag.option} for {script}", "train")
        if flag.name in values and not flag.is_valid(values[flag.name]):
            raise RequestError(f"{flag.option} {values[flag.name]}", flag.expected)
    return Options(**values), rest


def help_text() -> str:
    """Return the launcher's own flags, as lines for a help page."""
    rows = [(f"  {flag.option} {flag.metavar}".rstrip(), flag.help) for flag in FLAGS]
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
        assert flag.name in {field.name for field in fields(Options)}
        if flag.kind is bool:
            parser.add_argument(flag.option, dest=flag.name, action="store_true", default=None)
        else:
            parser.add_argument(flag.option, dest=flag.name, type=flag.kind, default=None)
    return parser
