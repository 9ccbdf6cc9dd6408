"""One stock script in this process: corrected, checked, run, and everything process-wide put back."""

from __future__ import annotations

import builtins
import contextlib
import errno
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qmanet_benco.benco.launch import elastic, shaping
from qmanet_benco.benco.launch.defaults import with_defaults
from qmanet_benco.benco.launch.doctor import opencv_cure
from qmanet_benco.benco.launch.plan import Run
from qmanet_benco.benco.seam import flags, options, own_scripts
from qmanet_benco.benco.seam.patches import Patches
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.benco.zoo import own_models
from qmanet_benco.errors import RequestError, missing_module

logger = logging.getLogger(__name__)

_STORAGE_FAILS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ENOENT,
    errno.ENOTDIR,
}
"""A full disk, a folder that is read-only or gone, a lost mount."""
_MEMORY_FAILS = ("out of memory", "can't allocate memory")
"""In the messages of libraries below torch, which raise no error of its own class."""
_HOLDERS = ("torch.distributed.optim", "torch.distributed.nn")
"""Their functions have the group of the moment of their import as a default (torch 2.14). A group that is held is never
freed; its threads go on, and one that wants the interpreter while the process ends aborts it, after all its work."""
_QUIET_MESSAGES = (r"HOPE YOU TO READ.*", r".*Overwriting .* in registry.*", r".*is deprecated.*")


@contextlib.contextmanager
def prepared(debug: bool, plugins: Sequence[str] = (), file: str = "") -> Iterator[None]:
    """The framework and the plugin imported; afterwards what the scripts change in a process is as it was.

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


@contextlib.contextmanager
def corrections(run: Run) -> Iterator[None]:
    """What this machine and this run need of :mod:`compat` and :mod:`hardening`."""
    from qmanet_benco.benco.corrections import cpu as compat
    from qmanet_benco.benco.corrections import table as hardening
    from qmanet_benco.benco.resume.training import Training

    rows = hardening.selected(run.script, run.stock, run.without)
    training = Training(options.split(run.script, run.flags)[0])
    request = hardening.Request(run.script, run.allow_pickle, training)
    with compat.without_cuda(), hardening.corrected(request, rows):
        yield
        training.end()


def run_script(run: Run, only_check: bool) -> int:
    """Check a script's inputs and run it.

    Args:
        run: the script and its flags.
        only_check: do not run it.

    Returns:
        The script's exit code.

    Raises:
        RequestError: the request was wrong.
    """
    try:
        with corrections(run), Patches() as patches:
            own, arguments = options.split(run.script, run.flags)
            shaping.check_corrections(own, _selected(run))
            if run.file:  # its own models are registered before --model is looked up
                flags.execute(run.file, flags.DEFINITIONS)
            arguments = _arguments(replace(run, flags=tuple(arguments)))
            _choose_levels(patches, run)
            if not run.checked:
                with shaping.tried(own, run.source, arguments) as tried:
                    _check(run, tried)
            if only_check:
                return 0
            return _run(run.source, shaping.shaped(patches, own, run.source, arguments, run.processes))
    except Exception as error:
        clear = _clear(error, run)
        elastic.report(clear)
        if clear is error:
            raise
        raise clear from error


def _run(source: str, arguments: Sequence[str]) -> int:
    flags.set_arguments(source, arguments)
    try:
        flags.execute(source, "__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _selected(run: Run) -> set[str]:
    """The names of the corrections of a run."""
    from qmanet_benco.benco.corrections import table as hardening

    return {row.name for row in hardening.selected(run.script, run.stock, run.without)}


def _arguments(run: Run) -> list[str]:
    import torch

    from qmanet_benco.benco.corrections import table as hardening

    arguments = with_defaults(run.script, run.flags, torch.cuda.is_available())
    checkpoint = flags.value_of(arguments, "--checkpoint_path")
    if checkpoint and hardening.RELATIVE_CHECKPOINT in _selected(run):
        arguments += ["--checkpoint_path", str(Path(checkpoint).absolute())]
    if run.script == "train":
        arguments += _resume(arguments, os.environ.get(elastic.STARTED))
    return arguments


def _resume(arguments: Sequence[str], since: str | None) -> list[str]:
    """Flags to go on: after a restart from what this run has written, with ``--resume auto`` from what the folder has.

    Args:
        arguments: of the script.
        since: when a group that may be restarted was started, in seconds of the epoch.
    """
    from qmanet_benco.benco.resume.retention import newest_of_training

    folder = Path(flags.value_of(arguments, "--output_dir") or "./output_dir")
    newest = newest_of_training(folder, float(since)) if since else None
    if newest is not None:
        logger.warning("restarted; training goes on from %s", newest)
        return ["--resume", str(newest)]
    if flags.value_of(arguments, "--resume") != shaping.AUTO:
        return []
    newest = newest_of_training(folder)
    logger.warning("--resume auto: %s", f"from {newest}" if newest else f"no checkpoint in {folder} yet")
    return ["--resume", str(newest or "")]


def _check(run: Run, arguments: Sequence[str]) -> None:
    from qmanet_benco.benco.corrections import table as hardening
    from qmanet_benco.benco.seam import inputs

    flags.check_model(arguments)
    args, model_args = flags.parse(run.source, arguments)
    flags.check_required(args.model, model_args)
    if hardening.INPUT_CHECKS in _selected(run):
        try:
            inputs.check_request(run.script, args, model_args, run.processes, run.allow_pickle, logger.warning)
        except AttributeError as error:
            if not run.file or error.obj is not args:
                raise
            logger.warning("%s has no flag --%s, so its inputs are not checked", run.file, error.name)


def _choose_levels(patches: Patches, run: Run) -> None:
    if not run.levels:
        return
    if run.script != "test_robust":
        raise RequestError(f"--levels for {run.script}", "test_robust")
    from qmanet_benco.benco.launch.levels import choose_levels

    choose_levels(patches, run.levels)


def _clear(error: Exception, run: Run) -> Exception:
    """The error in the user's terms: without a loader worker's traceback, without the names of a thousand tensors."""
    text = str(error)
    if isinstance(error, RequestError):
        # a loader's worker sends its whole traceback as the message, with the last line's error at its end
        message = text.rpartition(f"{RequestError.__module__}.{RequestError.__name__}: ")[2]
        return error if message == text else RequestError(message)
    if isinstance(error, RuntimeError) and text.startswith("Error(s) in loading state_dict"):
        difference = " ".join(text.partition("\n")[2].split())[:200]
        return RequestError(
            f"the checkpoint does not fit the model: {difference}",
            "a checkpoint of the same model with the same flags",
            "compare --model and its flags with those of the training",
        )
    if isinstance(error, RuntimeError) and text.startswith("Expected to have finished reduction"):
        return RequestError(
            "some of the model's weights got no gradient", "every weight in the loss", "add --find_unused_parameters"
        )
    if _is_out_of_memory(error):
        return _memory_request(run)
    if isinstance(error, OSError) and error.errno in _STORAGE_FAILS:
        return RequestError(
            f"{error.filename or 'a file'} cannot be read or written ({error.strerror})",
            "storage that stays, with room",
            "checkpoints written before are as they were; go on with --resume auto",
        )
    return error


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    said = isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_FAILS)
    return said or isinstance(error, (torch.OutOfMemoryError, MemoryError))


def _memory_request(run: Run) -> RequestError:
    """What to do where a batch does not fit into the memory, with the flags that decide on it."""
    option, default = ("--batch_size", "1") if run.script == "train" else ("--test_batch_size", "2")
    arguments = with_defaults(run.script, run.flags, cuda=True)
    batch = flags.value_of(arguments, option) or default
    size = flags.value_of(arguments, "--image_size") or "512"
    cure = f"a smaller {option}"
    if run.script == "train":
        cure += " (with a larger --accum_iter the effective batch stays)"
        if (flags.value_of(arguments, "--model") or "").lower() == "qmanet":
            cure += ", or --checkpointing 1"
    return RequestError(f"the memory is full: {option} {batch} at --image_size {size}", "a batch that fits", cure)


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
