"""Tells which stock script a user's own copy stems from, and lets it import the modules beside it while it runs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qmanet_benco.errors import RequestError

TELLING = {
    "train_one_epoch": "train",
    "inference_and_save_one_epoch": "test_save_images",
    "FlopCountAnalysis": "test_complexity",
    "GaussianBlurWrapper": "test_robust",
    "GaussianNoiseWrapper": "test_robust",
    "JpegCompressionWrapper": "test_robust",
    "test_one_epoch": "test",
}
"""Names that only one of the stock scripts imports; the first that a copy uses tells which one it stems from."""
PARSER = "get_args_parser"
"""The function of a stock script that parses its flags."""


def kind_of(path: str) -> str:
    """Tell the stock script that a copy stems from, by the file's name or else by what it uses.

    Args:
        path: the copy, as ``benco init`` makes it; the user may have changed and renamed it.

    Raises:
        RequestError: there is no such file, or it is no copy of a stock script.
    """
    expected = (
        f"a copy of {', '.join(f'{name}.py' for name in dict.fromkeys(TELLING.values()))}, as `benco init` makes it"
    )
    file = Path(path)
    if not path.endswith(".py"):
        raise RequestError(f"{path or 'nothing'} in place of SCRIPT.py", expected, "give the script before its flags")
    try:
        tree = ast.parse(file.read_bytes(), path)
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror})", expected, "check the path") from error
    except (SyntaxError, ValueError) as error:
        raise RequestError(f"{path} is not valid Python ({error})", expected) from error
    if not any(isinstance(node, ast.FunctionDef) and node.name == PARSER for node in tree.body):
        raise RequestError(f"{path} has no function {PARSER}", expected, f"`python {path}` runs any other script")
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    kinds = [kind for name, kind in TELLING.items() if name in used]
    if file.stem in TELLING.values():
        return file.stem
    if not kinds:
        raise RequestError(
            f"{path} uses none of {', '.join(TELLING)}",
            expected,
            "name it as the framework's script that it stems from",
        )
    return kinds[0]


@contextmanager
def beside(path: str) -> Iterator[None]:
    """Let a script find the modules of its folder within the block, as under ``python SCRIPT.py``.

    Afterwards those modules, and the models that they and the script registered, are gone.
    """
    if not path:
        yield
        return
    from IMDLBenCo.registry import MODELS, POSTFUNCS

    folder = str(Path(path).resolve().parent)
    registries = [registry.module_dict for registry in (MODELS, POSTFUNCS)]
    former, modules = [dict(registry) for registry in registries], set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(f"{folder}/"):
                del sys.modules[name]
        for registry, content in zip(registries, former, strict=True):
            registry.clear()
            registry.update(content)
