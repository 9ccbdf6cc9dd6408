"""Prepares this process for the framework, and puts back everything process-wide afterwards."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from qmanet_benco.benco.launch.doctor import opencv_cure
from qmanet_benco.benco.seam import own_scripts
from qmanet_benco.benco.seam.patches import Patches
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.benco.zoo import own_models
from qmanet_benco.errors import RequestError, missing_module

_HOLDERS = ("torch.distributed.optim", "torch.distributed.nn")
"""Modules whose functions keep the group of processes that exists when they are imported, as a default argument (torch
2.14). A group that is kept is never freed. Its threads go on, and one that needs the interpreter while the process ends
aborts the process after all its work. So they are imported before there is a group."""
_QUIET_MESSAGES = (r"HOPE YOU TO READ.*", r".*Overwriting .* in registry.*", r".*is deprecated.*")


@contextlib.contextmanager
def prepared(debug: bool, plugins: Sequence[str] = (), file: str = "") -> Iterator[None]:
    """Import the framework and the plugin; after the block what the scripts change in a process is as it was.

    Args:
        debug: let warnings through.
        plugins: modules and files that register models of the user's own; they stay registered.
        file: the user's own script, which finds the modules beside it within the block.

    Raises:
        RequestError: something is missing, or a plugin fails.
    """
    with Patches() as patches:
        if not debug:
            _silence(patches)
        _import_framework()
        own_models.load_plugins(plugins)
        _put_back_later(patches)
        with own_scripts.beside(file):
            yield


def _import_framework() -> None:
    """Import the framework and register the plugin and the baselines that are not in its zoo.

    What would hold on to a group of processes is imported too, before there is one.

    Raises:
        RequestError: a package is missing, or a system library, as libGL for OpenCV on a server.
    """
    try:
        for module in (*_HOLDERS, *zoo.PLUGINS):
            importlib.import_module(module)
    except ImportError as error:
        if "cannot open shared object file" in str(error):
            raise RequestError(f"OpenCV cannot be imported ({error})", "", opencv_cure()) from error
        if isinstance(error, ModuleNotFoundError):
            raise missing_module(error) from error
        raise


def _silence(patches: Patches) -> None:
    patches.enter_context(warnings.catch_warnings())
    for category in (FutureWarning, DeprecationWarning, ResourceWarning):
        warnings.filterwarnings("ignore", category=category)
    for message in _QUIET_MESSAGES:
        warnings.filterwarnings("ignore", message=message)


def _put_back_later(patches: Patches) -> None:
    import torch
    import torch.multiprocessing

    patches.set(builtins, "print", builtins.print)  # misc.setup_for_distributed replaces it
    patches.set(sys, "argv", list(sys.argv))
    cudnn = torch.backends.cudnn
    patches.callback(
        torch.backends.cudnn.set_flags,
        cudnn.enabled,
        _benchmark=cudnn.benchmark,
        _deterministic=cudnn.deterministic,
    )
    patches.callback(torch.multiprocessing.set_sharing_strategy, torch.multiprocessing.get_sharing_strategy())
    patches.push(_leave_group)


def _leave_group(kind: type[BaseException] | None, *_: Any) -> None:
    """Leave the group that the script joined. After an error in a larger one others may not answer any more."""
    import torch.distributed

    if torch.distributed.is_initialized() and (kind is None or torch.distributed.get_world_size() == 1):
        torch.distributed.destroy_process_group()
