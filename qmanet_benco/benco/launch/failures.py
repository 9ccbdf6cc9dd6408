"""Tells what ended a stock script in the user's terms: what was wrong, and the flag that mends it."""

from __future__ import annotations

import errno

from qmanet_benco.benco.launch.defaults import with_defaults
from qmanet_benco.benco.launch.plan import Run
from qmanet_benco.benco.seam import flags
from qmanet_benco.errors import RequestError

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


def in_users_terms(error: Exception, run: Run) -> Exception:
    """Make the error that a user can mend, without a loader worker's traceback or the names of a thousand tensors.

    Any other error comes back as it is.
    """
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
    """Name the flags that decide whether a batch fits into the memory, with their values."""
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
