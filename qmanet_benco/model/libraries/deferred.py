"""Packages of others that stay unexecuted until something of them is asked for.

``mmseg.models.backbones.mit`` and a few files of ``timm.layers`` are all that the network needs, but importing them the
usual way executes the packages around them: every backbone, mmengine's runner, torch's compiler, torchvision. Within
:func:`deferred`, a package knows where its files are, so that a single file of it can be imported. Whatever else is
read from it or imported below it later executes it first.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

ENCODER = (
    "mmengine.model",
    "mmengine.model.wrappers",
    "mmcv.cnn",
    "mmseg.models",
    "mmseg.models.utils",
    "mmseg.models.backbones",
)
"""The packages around mmsegmentation's encoder."""
_FILES = {
    "mmengine.model": ("base_module", "weight_init"),
    "mmengine.model.wrappers": ("utils",),
    "mmcv.cnn": ("bricks",),
    "mmseg.models.utils": ("embed", "shape_convert"),
}
"""The files of a package that the encoder needs names from."""

_WRITTEN = ("__all__", "__version__")
"""Names with underscores that packages define themselves; Python asks for others of every module."""

_executing = threading.RLock()
_here = threading.local()
"""``_here.deferring``: whether this thread imports single files at the moment."""


class _Deferred(types.ModuleType):
    """A package that is executed when an attribute is read that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _WRITTEN:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        for file in _FILES.get(self.__name__, ()):
            module = importlib.import_module(f"{self.__name__}.{file}")
            if name in vars(module):
                return vars(module)[name]
        execute(self)
        return getattr(self, name)


class _Finder(MetaPathFinder):
    """Executes a deferred package before a file below it is imported, as Python does it with others."""

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        parent = sys.modules.get(fullname.rpartition(".")[0])
        if type(parent) is not _Deferred or getattr(_here, "deferring", False):
            return None
        execute(parent)
        module = sys.modules.get(fullname)
        if module is None:
            return None
        spec = ModuleSpec(fullname, _Loaded(module))
        module.__spec__ = spec  # Python takes the spec of a module that was loaded meanwhile, and would load it again
        return spec


class _Loaded(Loader):
    """Hands out a module that its package has imported in the meantime."""

    def __init__(self, module: types.ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, _: ModuleSpec) -> types.ModuleType:
        return self.module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self.spec


def execute(package: types.ModuleType) -> None:
    """Executes a deferred package in place, after the one that it lies in; it is an ordinary module then."""
    with _executing:
        parent = sys.modules.get(package.__name__.rpartition(".")[0])
        if type(parent) is _Deferred:
            execute(parent)
        spec = package.__spec__
        if type(package) is not _Deferred or spec is None or spec.loader is None:
            return
        package.__class__ = types.ModuleType  # type: ignore[assignment]
        deferring, _here.deferring = getattr(_here, "deferring", False), False
        try:
            with compiled_operators():
                spec.loader.exec_module(package)
        except BaseException:
            package.__class__ = _Deferred
            raise
        finally:
            _here.deferring = deferring


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Files of these packages can be imported within, without executing the packages.

    Args:
        names: a package after the one that it lies in. Those that are loaded already stay as they are.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    made: list[types.ModuleType] = []
    deferring, _here.deferring = getattr(_here, "deferring", False), True
    try:
        for name in names:
            spec = None if name in sys.modules else importlib.util.find_spec(name)
            if spec is None:  # where it is not installed, the import that follows says so
                continue
            package = importlib.util.module_from_spec(spec)
            package.__class__ = _Deferred
            made.append(package)
            sys.modules[name] = package
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], last, package)
        yield
    except BaseException:
        for package in made:
            sys.modules.pop(package.__name__, None)
        raise
    finally:
        _here.deferring = deferring


def mix_vision_transformer() -> Any:
    """Imports mmsegmentation's MixVisionTransformer and little else.

    Raises:
        ImportError: mmsegmentation or what it needs is not installed.
    """
    with deferred(*ENCODER):
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
