"""Build any model of the comparison: QMA-Net, the framework's baselines, their corrected versions, SAM.

What a machine without CUDA, network or the authors' own folders needs is done here, at the seam: nothing of the
framework is edited or copied. The table is :mod:`~qmanet_benco.benco.zoo.baselines`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import io
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qmanet_benco.benco.corrections import cpu, table
from qmanet_benco.benco.corrections.row import Request
from qmanet_benco.benco.resume import random_states
from qmanet_benco.benco.seam.patches import Patches
from qmanet_benco.benco.zoo.baselines import BASELINES, NOT_BUILT, Baseline
from qmanet_benco.errors import RequestError, did_you_mean

STOCK_FILE = "stock:"
_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
PLUGINS = (
    "qmanet_benco.benco.plugin",
    "qmanet_benco.benco.zoo.all_tampered",
    "qmanet_benco.benco.zoo.corrected",
    "qmanet_benco.benco.zoo.sam",
)
"""Modules that register models."""
_DETECTION_HEAD = (
    "its pred_label comes from a detection head that phase 2 does not train (trufor.py:35): the number is of random "
    "weights; a second training with --phase 3 trains it"
)


def registered_name(name: str) -> str:
    """Return the registered name of a model that is given by it or by its name in the paper, in any case.

    Raises:
        RequestError: there is no such model.
    """
    known = {registered.lower(): registered for registered in _registry()}
    known |= {row.row.lower(): row.name for row in BASELINES.values() if row.row}
    known["qma-net"] = "QMANet"
    for published, why in NOT_BUILT.items():
        if name.lower() == published.lower():
            raise RequestError(f"model {name} cannot be run", "", why)
    if name.lower() not in known:
        names = sorted(set(known.values()))
        own = "--plugin FILE.py, or plugins: [FILE.py] in a suite, registers one of your own"
        raise RequestError(f"model {name!r}", f"one of {', '.join(names)}", f"{did_you_mean(name, names, 0.5)} {own}")
    return known[name.lower()]


def build_model(name: str, flags: Mapping[str, object], seed: int = 0, image_size: int = 512) -> nn.Module:
    """Build a model from a random, seeded start.

    Args:
        name: registered or published name, e.g. ``Cat_Net`` or ``CAT-Net``; ``QMANet`` works as well.
        flags: arguments of its constructor; those that are left out have the values of a random start.
        seed: of the random start; equal seeds give equal weights, and no global generator is moved.
        image_size: side of its images in pixels, for the models that are built for one size.

    Returns:
        The model in training mode on the CPU. It also runs without CUDA, where its author calls ``.cuda()``.

    Raises:
        RequestError: the name or a flag is wrong, or a file that a flag names is.
    """
    name = registered_name(name)
    factory = model_class(name)
    check_flags(name, flags)
    arguments = _converted_flags(name, factory, fresh_flags(name, image_size) | dict(flags))
    with construction(), random_states.unchanged(), contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        return _portable(_constructed(name, factory, arguments))


def model_class(name: str) -> Callable[..., nn.Module]:
    """Return the class of a model, given by its registered or published name.

    Raises:
        RequestError: there is none of this name.
    """
    model: Callable[..., nn.Module] = _registry()[registered_name(name)]
    return model


def check_flags(name: str, flags: Mapping[str, Any]) -> None:
    """Check a model's name and the names of its flags.

    Raises:
        RequestError: one is unknown.
    """
    parameters = inspect.signature(model_class(name)).parameters
    for flag in flags:
        if flag not in parameters:
            expected = f"one of {', '.join(parameters) or 'none'}"
            raise RequestError(f"{name} has no flag {flag!r}", expected, did_you_mean(flag, parameters))


def post_function(name: str) -> Callable[[dict[str, Any]], None] | None:
    """Return the model's post function, which changes a sample of the framework's data sets in place; None without one.

    It works without jpegio, and can be sent to a loader's workers.

    Raises:
        RequestError: there is no such model.
    """
    from IMDLBenCo.registry import POSTFUNCS

    wanted = f"{registered_name(name)}_post_func".lower()
    registered = next((known for known in POSTFUNCS.module_dict if known.lower() == wanted), None)
    return None if registered is None else partial(_post, registered)


def row_of(name: str) -> Baseline:
    """Return what is known of a model; a row of defaults for QMA-Net and for models that are not in the paper.

    Raises:
        RequestError: there is no such model.
    """
    name = registered_name(name)
    return BASELINES.get(name, Baseline(name, ""))


def image_score_note(name: str, flags: Mapping[str, object]) -> str:
    """Return what an image-level table should say about a model's ``pred_label``; empty where nothing is to be said."""
    name = registered_name(name)
    if name in ("Trufor", "Trufor_RGB") and flags.get("phase", 2) != 3:
        return _DETECTION_HEAD
    if name == "QMANet":
        return "its pred_label is the mean of the most suspicious thousandth of the pixels; the paper has no such score"
    return ""


def fresh_flags(name: str, image_size: int = 512) -> dict[str, object]:
    """Make the constructor's arguments for a random start at an image size; ``name`` is a registered one."""
    row = BASELINES.get(name)
    return _resolved(row, row.fresh, image_size) if row else {}


def script_defaults(script: str, name: str, image_size: int) -> list[str]:
    """Flags that a stock script needs for a model; what the user gives comes after them and wins.

    Args:
        script: the stock script; only ``train`` starts from pretrained weights.
        name: value of ``--model``.
        image_size: value of ``--image_size``.
    """
    row = BASELINES.get(name)
    if row is None:
        return []
    values = _resolved(row, {**row.fresh, **row.training} if script == "train" else row.fresh, image_size)
    flags = [part for flag, value in values.items() for part in (f"--{flag}", str(value))]
    return flags + ([] if row.edge_width is None else ["--edge_mask_width", str(row.edge_width)])


def source_hash(name: str) -> str:
    """SHA-256 of the file that defines a model, which need not belong to a released version of anything."""
    path = inspect.getsourcefile(inspect.unwrap(model_class(name)))
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""


@contextlib.contextmanager
def construction() -> Iterator[None]:
    """Let the zoo's models be built on this machine within the block: no CUDA, no download, no file needed."""
    with table.corrected(Request("test"), table.BUILDING):
        yield


def _registry() -> dict[str, Any]:
    for module in PLUGINS:
        importlib.import_module(module)
    from IMDLBenCo.registry import MODELS

    return MODELS.module_dict


def _resolved(row: Baseline, flags: Mapping[str, object], image_size: int) -> dict[str, object]:
    resolved = {name: _stock_file(value) for name, value in flags.items()}
    return resolved | {flag: value(image_size) for flag, value in row.size_flags.items()}


def _stock_file(value: object) -> object:
    """Read ``stock:NAME`` as the path of the framework's own configuration file."""
    if not isinstance(value, str) or not value.startswith(STOCK_FILE):
        return value
    spec = importlib.util.find_spec("IMDLBenCo")
    assert spec is not None, "the framework is installed with this package"
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "statics/model_zoo/configs" / value.removeprefix(STOCK_FILE))


def _converted_flags(name: str, factory: Any, flags: Mapping[str, object]) -> dict[str, Any]:
    """Convert the flags to the constructor's arguments."""
    parameters = inspect.signature(factory).parameters
    needed = [name for name, given in parameters.items() if given.default is given.empty and given.kind not in _ANY]
    missing = [flag for flag in needed if flag not in flags]
    if missing:
        raise RequestError(f"{name} without {missing[0]}", f"a value for {missing[0]}, which has no default")
    return {flag: _converted(name, flag, parameters[flag], value) for flag, value in flags.items()}


def _constructed(name: str, factory: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> nn.Module:
    try:
        return factory(**arguments)
    except RequestError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RequestError(
            f"{name} cannot be built ({type(error).__name__}: {reason})",
            "flags and files that its constructor accepts",
            f"see `qmanet benco test --model {name} --help`",
        ) from error


def _converted(name: str, flag: str, parameter: inspect.Parameter, value: Any) -> Any:
    """Convert a value as the constructor's annotation or default asks for it, as the command line would convert it."""
    kind = parameter.annotation if parameter.annotation is not parameter.empty else type(parameter.default)
    if kind not in (bool, int, float, str) or value is None:
        return value
    words = {"true": True, "false": False, "1": True, "0": False}
    try:
        if kind is bool:
            return words[str(value).lower()]
        if kind is int and float(value) != int(value):
            raise ValueError
        return kind(value)
    except (ValueError, KeyError, TypeError):
        raise RequestError(f"{flag}={value!r} for {name}", f"a value of type {kind.__name__}") from None


def _portable(model: nn.Module) -> nn.Module:
    """Give the model a ``forward`` that also works outside of :func:`construction`."""
    from IMDLBenCo.model_zoo.cat_net.cat_net import Cat_Net

    if isinstance(model, Cat_Net) and not torch.cuda.is_available():
        model.forward = _on_cpu(model.forward)
    return model


def _on_cpu(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def on_cpu(*args: Any, **kwargs: Any) -> Any:
        with Patches() as patches:
            cpu.stay_on_cpu(patches, Request("test"))
            return forward(*args, **kwargs)

    return on_cpu


def _post(name: str, sample: dict[str, Any]) -> None:
    """Apply a registered post function; a top-level function, so that it can be sent to another process."""
    from IMDLBenCo.registry import POSTFUNCS

    _registry()
    with construction():
        POSTFUNCS.module_dict[name](sample)
