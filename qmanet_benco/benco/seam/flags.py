"""The stock scripts' flags: parsed as the scripts do, checked, with errors in one line."""

from __future__ import annotations

import argparse
import builtins
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NoReturn

from qmanet_benco.benco.seam.own_scripts import PARSER
from qmanet_benco.errors import RequestError, did_you_mean

SCRIPTS = ("train", "test", "test_robust", "test_complexity", "test_save_images")
DEFINITIONS = "stock_flags"
"""The ``__name__`` under which a script is executed for its definitions only."""
Parse = Callable[[Sequence[str]], tuple[argparse.Namespace, argparse.Namespace]]
"""From the flags of the script and of the model to the script's own, and the model's."""


def execute(script: str, name: str) -> dict[str, Any]:
    """Execute a stock script's file, as ``python -m`` would; it runs only under the name ``__main__``.

    Not by runpy, which refuses under an import hook that does not hand out code, such as pytest's for ``test*.py``.

    Args:
        script: a stock script's name, or the file of a copy.
        name: :data:`DEFINITIONS` or ``__main__``.

    Returns:
        The names that the script defined.
    """
    path = _path_of(script)
    code = SourceFileLoader(script, path).get_code(script)
    assert code is not None, path
    names: dict[str, Any] = {"__name__": name, "__file__": path, "__builtins__": builtins}
    _forget_definitions()
    exec(code, names)
    return names


def _forget_definitions() -> None:
    """Unregister what the script itself has registered before: it does so again, and no name is given twice."""
    from IMDLBenCo.registry import MODELS, POSTFUNCS

    for registry in (MODELS.module_dict, POSTFUNCS.module_dict):
        for name in [key for key, entry in registry.items() if getattr(entry, "__module__", "") == DEFINITIONS]:
            del registry[name]


def _path_of(script: str) -> str:
    if script.endswith(".py"):
        return script
    spec = importlib.util.find_spec(f"IMDLBenCo.training_scripts.{script}")
    assert spec is not None, "the launcher has imported the framework"
    assert spec.origin is not None
    return spec.origin


def model_name(flags: Sequence[str]) -> str:
    """Return the value of ``--model``, empty without one."""
    return value_of(flags, "--model")


def value_of(flags: Sequence[str], name: str) -> str:
    """Find the last value that the flags give for ``name``, empty without one."""
    value = ""
    for flag, following in zip(flags, [*flags[1:], ""], strict=False):
        if flag == name:
            value = following
        elif flag.startswith(f"{name}="):
            value = flag.partition("=")[2]
    return value


def check_model(flags: Sequence[str]) -> None:
    """Check that ``--model`` names a registered model.

    Raises:
        RequestError: it does not, or is missing.
    """
    from IMDLBenCo.registry import MODELS

    name = model_name(flags)
    names = sorted(MODELS.module_dict)
    if not name:
        raise RequestError("no --model", f"--model NAME, one of {', '.join(names)}")
    if name not in names:
        hint = f"{did_you_mean(name, names, 0.5)} --plugin FILE.py registers one of your own"
        raise RequestError(f"--model {name} is not registered", f"one of {', '.join(names)}", hint)


def check_required(model: str, given: argparse.Namespace) -> None:
    """Check that every flag without a default is given: the stock scripts would pass ``None``.

    Raises:
        RequestError: one is missing.
    """
    from IMDLBenCo.registry import MODELS

    for name, parameter in inspect.signature(MODELS.get(model)).parameters.items():
        if parameter.default is parameter.empty and getattr(given, name, "given otherwise") is None:
            raise RequestError(f"--model {model} without --{name}", f"--{name}, which has no default")


def parser_of(script: str) -> Parse:
    """Execute a stock script for its definitions, and return what parses flags as the script does.

    Args:
        script: a stock script's name, or the file of a copy.
    """
    definitions = execute(script, DEFINITIONS)

    def parse(flags: Sequence[str]) -> tuple[argparse.Namespace, argparse.Namespace]:
        set_arguments(script, flags)
        args, model_args = definitions[PARSER]()
        return args, model_args

    return parse


def show(parse: Parse, model: str) -> None:
    """Print the help of a stock script and of a model on stdout."""
    from IMDLBenCo.registry import MODELS
    from IMDLBenCo.training_scripts.utils import misc

    try:
        parse(["--help"])
    except SystemExit:  # argparse's own way to end after the help
        sys.stdout.write("\n")
    misc.create_argparser(MODELS.get(model)).print_help()


def set_arguments(script: str, flags: Sequence[str]) -> None:
    """Set ``sys.argv`` as if the stock script had been called with the flags."""
    own = script.endswith(".py")
    sys.argv[:] = [f"qmanet benco run {shlex.quote(script)}" if own else f"qmanet benco {script}", *flags]


def refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """Raise the message as a RequestError, in place of ``ArgumentParser.error``; with a similar flag if one exists."""
    unknown = re.fullmatch(r"unrecognized arguments: (.*)", message)
    if not unknown:
        raise RequestError(message, "", f"`{parser_command()} --help` lists the flags")
    words = unknown.group(1).split()
    known = [*(option for action in parser._actions for option in action.option_strings), *_stock_flags()]
    hint = did_you_mean(words[0].split("=")[0], known, 0.7)
    cure = f"{hint} `{parser_command()} --help`"
    raise RequestError(f"unknown flag {' '.join(words)}", "flags of the script or of the model", cure)


def parser_command() -> str:
    """Return the command that was given, without its flags but with its model."""
    model = model_name(sys.argv[1:])
    return f"{sys.argv[0]} --model {model}" if model else sys.argv[0]


def _stock_flags() -> list[str]:
    """Read the flags that the stock script declares in its source: its parser hands on what it does not know."""
    source = Path(_path_of(shlex.split(sys.argv[0])[-1])).read_text(encoding="utf-8")
    return re.findall(r"add_argument\(\s*['\"](--\w+)", source)
