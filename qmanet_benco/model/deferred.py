"""Packages of others that stay unexecuted until something of them is asked for.

``mmseg.models.backbones.mit`` and a few files of ``timm.layers`` are all that the network needs, but importing them the
usual way executes the packages around them: every backbone, mmengine's runner, torch's compiler, torchvision. That is
four fifths of the time in which a photo is analysed. A deferred package knows where its files are, so that a single
file of it can be imported; whatever else is read from it executes it after all.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LAYERS = ("timm", "timm.layers")
"""Deferred before the network is imported."""
ENCODER = (
    "mmengine.model",
    "mmengine.model.wrappers",
    "mmcv.cnn",
    "mmseg.models",
    "mmseg.models.utils",
    "mmseg.models.backbones",
)
"""Deferred while mmsegmentation's encoder is imported."""
_FILES = {
    "mmengine.model": ("base_module", "weight_init"),
    "mmengine.model.wrappers": ("utils",),
    "mmcv.cnn": ("bricks",),
    "mmseg.models.utils": ("embed", "shape_convert"),
}
"""The files of a package that the encoder needs names from."""

_executing = threading.RLock()


class _Deferred(types.ModuleType):
    """A package that is executed when an attribute is read that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        for file in _FILES.get(self.__name__, ()):
            module = importlib.import_module(f"{self.__name__}.{file}")
            if name in vars(module):
                return vars(module)[name]
        with _executing:
            if type(self) is _Deferred:
                execute(self)
        return getattr(self, name)


def execute(package: types.ModuleType) -> None:
    """Executes a deferred package in place; it is an ordinary module then."""
    spec = package.__spec__
    if spec is None or spec.loader is None:
        raise ImportError(f"{package.__name__} cannot be executed")
    package.__class__ = types.ModuleType
    try:
        with compiled_operators():
            spec.loader.exec_module(package)
    except BaseException:
        package.__class__ = _Deferred
        raise


def defer(*names: str) -> None:
    """Puts packages into ``sys.modules`` without executing them; those that are there already stay as they are.

    Args:
        names: a package after the one that it lies in.
    """
    for name in names:
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None:
            return  # the import that follows says what is missing
        package = importlib.util.module_from_spec(spec)
        package.__class__ = _Deferred
        sys.modules[name] = package
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, package)


def mix_vision_transformer() -> Any:
    """Imports mmsegmentation's MixVisionTransformer and little else.

    Raises:
        ImportError: mmsegmentation or what it needs is not installed.
    """
    defer(*ENCODER)
    return importlib.import_module("mmseg.models.backbones.mit").MixVisionTransformer


@contextmanager
def compiled_operators() -> Iterator[None]:
    """Stands in for ``mmcv._ext`` where it is absent: mmseg's package imports it, MiT calls none of it."""
    name = "mmcv._ext"
    if name in sys.modules or "mmcv" not in sys.modules or importlib.util.find_spec(name) is not None:
        yield
        return
    sys.modules[name] = _MissingOperators(name)
    try:
        yield
    finally:
        sys.modules.pop(name, None)


class _MissingOperators(types.ModuleType):
    """A module each of whose functions says that mmcv's compiled operators are not installed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> None:
            raise RuntimeError(f"mmcv's compiled operator {name} is not installed; `pip install mmcv` builds it")

        return missing
