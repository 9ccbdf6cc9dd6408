"""Gives the flags that train each model: the framework's own, and the weights that the user's file names.

Usage: python runs/recipe.py MODEL [FILE] [--optional]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from qmanet_benco.benco.zoo.baselines import BASELINES, NOT_BUILT
from qmanet_benco.benco.zoo.recipes import NOTHING, OWN, weights_of
from qmanet_benco.benco.zoo.row import Weights
from qmanet_benco.errors import RequestError
from qmanet_benco.model.weights.pretrained import PUBLISHED, cached_path


def recipe(model: str, file: Path | None = None, optional: bool = False) -> list[str]:
    """Flags of the training script for a model: learning rates, the framework's own flags, and those of a file.

    Args:
        model: a baseline, or QMANet, whose recipe is its own script's.
        file: YAML ``{MODEL: {flag: value}}``; its flags come last and win.
        optional: leave out weights whose file is not there, and say so, instead of refusing.

    Raises:
        RequestError: there is no such model, or the file is none, or it names weights that are not there.
    """
    if model != OWN and model not in BASELINES:
        raise RequestError(f"baseline {model!r}", f"one of {', '.join(BASELINES)}", NOT_BUILT.get(model, ""))
    flags: list[str] = []
    if model in BASELINES:
        highest, lowest = BASELINES[model].learning_rate
        flags = ["--lr", str(highest), "--min_lr", str(lowest), *BASELINES[model].script_flags]
    wanted = {one.flag: one for one in weights_of(model)}
    for name, value in (read_flags(file).get(model) or {}).items() if file else ():
        absent = _absent(wanted[name], value) if name in wanted else ""
        if absent and not optional:
            raise RequestError(f"{file}: {model}: {name}: {absent}", "a file that is there", _cure(wanted[name]))
        if absent:
            sys.stderr.write(f"{model}: {absent}: it will start from random weights; {_cure(wanted[name])}\n")
        elif value is True and name not in wanted:
            flags.append(f"--{name}")
        else:
            flags += [f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)]
    return flags


def read_flags(file: Path) -> dict[str, dict[str, Any]]:
    """The flags of each model in a YAML file.

    Raises:
        RequestError: it cannot be read, or is something else.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        content = {} if content is None else content
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise RequestError(f"{file} cannot be read ({reason})", "YAML {MODEL: {flag: value}}") from error
    if not isinstance(content, dict) or not all(isinstance(flags, dict | None) for flags in content.values()):
        raise RequestError(f"{file}", "YAML {MODEL: {flag: value}}, as runs/baselines.yaml")
    for model in content:
        if model != OWN and model not in BASELINES:
            raise RequestError(f"{file}: {model}", f"one of {', '.join((OWN, *BASELINES))}")
    return content


def _absent(wanted: Weights, value: Any) -> str:
    """Say what of a flag's value is missing; empty where nothing is."""
    text = str(value)
    if value is True or text.lower() in NOTHING:
        return ""  # fetched by the constructor, or left out on purpose
    if text in PUBLISHED:
        return "" if cached_path(PUBLISHED[text]).is_file() else f"{text} is not fetched"
    if wanted.where.startswith("https://huggingface.co/") and text == wanted.where.removeprefix(
        "https://huggingface.co/"
    ):
        return ""
    return "" if Path(text).exists() else f"no file {text}"


def _cure(wanted: Weights) -> str:
    return f"{wanted.what}: {wanted.where}"


def parser() -> argparse.ArgumentParser:
    """Return the parser of this module's command, which ``runs/`` calls."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("model")
    command.add_argument("file", nargs="?", type=Path)
    command.add_argument("--optional", action="store_true")
    return command


def main() -> int:
    """Print a model's flags, one in each line, for the scripts of ``runs/``."""
    given = parser().parse_args()
    try:
        flags = recipe(given.model, given.file, given.optional)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"{flag}\n" for flag in flags))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
