"""Imports models of the user's own: modules and files that register with the framework, by name or path."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from qmanet_benco.errors import RequestError, missing_module, told

logger = logging.getLogger(__name__)

EXPECTED = "a Python file, or a module that can be imported, which registers models with the framework"


def load_plugins(words: Iterable[str]) -> None:
    """Import modules that register models; one that is imported already is left as it is.

    Args:
        words: names of modules, or paths of files that end in ``.py``. A file finds the modules beside it.

    Raises:
        RequestError: one is missing, fails, or has a model whose name another one has.
    """
    for word in words:
        known = set(_registered())
        module = _imported(word)
        if not any(_is_of(entry, module) for entry in _registered().values()) and set(_registered()) == known:
            logger.warning("--plugin %s registers no model", word)


def _imported(word: str) -> ModuleType:
    try:
        return _from_file(Path(word)) if word.endswith(".py") else importlib.import_module(word)
    except RequestError:
        raise
    except ModuleNotFoundError as error:
        if word.endswith(".py") or error.name not in (word, word.partition(".")[0]):
            raise missing_module(error) from error
        file = Path(f"{word.replace('.', '/')}.py")
        raise RequestError(f"--plugin {word}", EXPECTED, f"did you mean {file}?" if file.is_file() else "") from error
    except Exception as error:
        raise RequestError(
            f"--plugin {word} fails ({told(error)})", EXPECTED, "mend it; --debug shows where"
        ) from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise RequestError(f"--plugin {path} does not exist", EXPECTED, "check the path")
    path = path.resolve()
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    # at the end: a user's random.py must not be taken for Python's
    sys.path += [str(path.parent)] if str(path.parent) not in sys.path else []
    name = path.stem if _finds(path) else f"qmanet_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert isinstance(spec, ModuleSpec)
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _finds(path: Path) -> bool:
    """Tell whether ``import STEM`` finds this file, so that other scripts that import it get the same module."""
    if path.stem in sys.modules or not path.stem.isidentifier():
        return False
    spec = importlib.util.find_spec(path.stem)
    return spec is not None and spec.origin == str(path)


def _registered() -> dict[str, object]:
    from IMDLBenCo.registry import MODELS

    registered: dict[str, object] = MODELS.module_dict
    return registered


def _is_of(entry: object, module: ModuleType) -> bool:
    return getattr(entry, "__module__", "") == module.__name__
