"""Reads and writes tensors on disk: never runs code from a file, never leaves half a file behind."""

from __future__ import annotations

import argparse
import errno
import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from qmanet_benco.errors import RequestError
from qmanet_benco.files import sha256_of, write_atomically
from qmanet_benco.model.calibration import Calibration

HARMLESS: list[Any] = [argparse.Namespace]
"""Classes that a checkpoint may name although they are no tensors: the stock trainer stores its flags in one."""

TORCH_SAVE = (b"PK\x03\x04", pickle.dumps(0x1950A86A20F9469CFC6C, 2))
MOST_OPERATIONS = 1_000_000
"""So many operations of a file are looked at as a pickle's; a file in which that many are valid is a pickle."""

MOST_PICKLE = 1 << 26
"""Bytes of a file in torch's old format that are searched for what its pickles name."""
BYTE_ARRAY = re.compile(rb"c(__builtin__|builtins)\nbytearray\n")
"""How a pickle names the class; torch's restricted unpickler knows no other way of naming one."""

PICKLE_CURE = "if you trust its source, pass --allow-pickle (it then runs whatever code the file holds)"

IMAGE_SIZE = "image_size"
"""Entry in a ``.safetensors`` file's metadata, and flag of the stock trainer."""
CALIBRATION = "calibration"
"""Entry in a ``.safetensors`` file's metadata."""
LARGEST_SIDE = 8192
"""Pixels, of the images that weights may say they were trained for."""


def read_checkpoint(path: str | Path, allow_pickle: bool = False) -> dict[str, Any]:
    """Read a ``.safetensors`` file or a file of ``torch.save`` on the CPU.

    Args:
        path: the file.
        allow_pickle: let the file's pickle run code; only for files whose source is trusted.

    Returns:
        The dictionary that the file holds.

    Raises:
        RequestError: the file is missing, truncated, no checkpoint, its pickle would run code, or it is not the file
            whose SHA-256 stands beside it.
    """
    path = Path(path)
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a folder may not be entered
        raise RequestError(f"{path} is not a file", "a checkpoint (.safetensors, .pth)", "check the path")
    verify_sum(path)
    if path.suffix != ".safetensors" and not allow_pickle:
        refuse_bomb(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path, allow_pickle)
    if not isinstance(content, dict):
        raise RequestError(f"{path} holds a {type(content).__name__}", "a dictionary of tensors")
    return content


def refuse_bomb(path: Path) -> None:
    """Refuse a file that would grow in memory: ``torch.save`` compresses nothing and writes each byte once.

    Raises:
        RequestError: a zip entry is compressed or shares its bytes with another one, or the pickle makes byte arrays,
            whose length it could choose freely (the only such class that torch's restricted unpickler lets through).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise _damaged(path, "its entries are compressed, which torch.save never does")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise _damaged(path, "its entries are larger than the file")
            pickles = b"".join(archive.read(entry) for entry in entries if entry.filename.endswith(".pkl"))
    except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        if isinstance(error, RequestError):
            raise
        pickles = _beginning(path)  # no zip file, or a damaged one: the reader says so
    if BYTE_ARRAY.search(pickles):
        raise RequestError(f"{path} holds more than tensors: it names builtins.bytearray", "tensors only", PICKLE_CURE)


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MOST_PICKLE)
    except OSError:
        return b""


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise RequestError(
            f"{path} cannot be read as safetensors ({error})", "an undamaged file", "fetch it again"
        ) from error


def _read_pickle(path: Path, allow_pickle: bool) -> Any:
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=not allow_pickle)
    except Exception as error:  # the unpickler raises whatever foreign bytes provoke
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> RequestError:
    """Say what is wrong with a file that torch refused: torch's own messages all speak of ``weights_only``."""
    if not _is_of_torch_save(path):
        if _is_pickle(path):
            kinds = "a file of torch.save or of safetensors"
            cure = "save its tensors again with either"
            return RequestError(f"{path} cannot be read as a checkpoint (a pickle, but not of torch.save)", kinds, cure)
        return _damaged(path, "it is no file of torch.save")
    forbidden = re.search(r"GLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and forbidden:
        return RequestError(f"{path} holds more than tensors: it names {forbidden[1]}", "tensors only", PICKLE_CURE)
    if isinstance(error, pickle.UnpicklingError):
        return _damaged(path, "its pickle is not torch.save's")
    return _damaged(path, str(error).splitlines()[0][:120] if str(error) else type(error).__name__)


def _is_of_torch_save(path: Path) -> bool:
    """Tell by its first bytes: a zip file, or the magic number that ``torch.save`` wrote before 1.6."""
    try:
        with path.open("rb") as stream:
            return stream.read(max(map(len, TORCH_SAVE))).startswith(TORCH_SAVE)
    except OSError:
        return True  # torch's own error says why


def _is_pickle(path: Path) -> bool:
    """Tell whether a file holds a whole pickle, which is read without being run; a text is none."""
    try:
        with path.open("rb") as stream:
            operations = sum(1 for _ in islice(pickletools.genops(stream), MOST_OPERATIONS))
    except Exception:  # pickletools raises whatever foreign bytes provoke
        return False
    return operations > 2


def _damaged(path: Path, reason: str) -> RequestError:
    return RequestError(
        f"{path} cannot be read as a checkpoint ({reason})", "an undamaged file", "copy or fetch it again"
    )


def state_dict_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, whether bare or under ``model``, ``state_dict`` or ``network``.

    Raises:
        RequestError: one is sparse or has no values, or it repeats its values: 4 bytes could be a terabyte by name.
    """
    for key in ("model", "state_dict", "network"):
        inner = content.get(key)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            content = inner
            break
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not dense or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise RequestError(f"tensor {name!r} is not stored value by value", "plain dense tensors")
    return tensors


def write_safetensors(
    path: str | Path, state: Mapping[str, Tensor], image_size: int, calibration: Calibration | None = None
) -> None:
    """Write tensors as safetensors, with the side in pixels that they were trained for and their calibration.

    Raises:
        OSError: there is no room; nothing is left then.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
    metadata = {"format": "pt", IMAGE_SIZE: str(image_size)}
    if calibration is not None:
        metadata[CALIBRATION] = calibration.to_json()
    try:
        write_atomically(path, lambda part: save_file(contiguous, part, metadata))
    except SafetensorError as error:  # the library has no other class for it
        raise OSError(errno.EIO, str(error)) from error


def sum_path(path: str | Path) -> Path:
    """Return the file of a checkpoint's SHA-256 (``checkpoint-3.pth.sha256``), as ``sha256sum -c`` reads it."""
    return Path(f"{path}.sha256")


def verify_sum(path: str | Path) -> None:
    """Compare a file with the SHA-256 beside it, if there is one.

    A file is read once; it is not read again as long as its size and its time of change are the same.

    Raises:
        RequestError: they differ.
    """
    beside = sum_path(path)
    try:
        expected = beside.read_text(encoding="ascii").split()
        state = Path(path).stat()
    except (OSError, ValueError):
        return
    if not expected or expected[0] != _known_sum(str(path), state.st_size, state.st_mtime_ns, state.st_ino):
        raise RequestError(
            f"{path} is not the file whose SHA-256 stands in {beside.name}",
            "an undamaged checkpoint",
            "copy it again, or use an earlier one",
        )


@lru_cache(maxsize=64)
def _known_sum(path: str, _size: int, _changed: int, _inode: int) -> str:
    return sha256_of(path)


def stored_image_size(path: Path, content: Mapping[str, Any]) -> int:
    """The side in pixels that a file's weights were trained for; 0 where it does not say.

    Args:
        path: the file: ``.safetensors`` says it in its metadata.
        content: what :func:`read_checkpoint` gave: a checkpoint of the stock trainer holds the trainer's flags.
    """
    if path.suffix != ".safetensors":
        side = getattr(content.get("args"), IMAGE_SIZE, 0)
        return checked_side(str(side), path) if isinstance(side, int | str) else 0
    with safe_open(path, "pt") as file:
        return checked_side((file.metadata() or {}).get(IMAGE_SIZE, "0"), path)


def stored_calibration(path: Path) -> Calibration | None:
    """The calibration that a ``.safetensors`` file states; None where it states none.

    Raises:
        RequestError: what it states is no calibration.
    """
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, "pt") as file:
        stored = (file.metadata() or {}).get(CALIBRATION)
    return Calibration.from_json(stored) if stored else None


def checked_side(stored: str, path: Path) -> int:
    """The side in pixels that a file states.

    Raises:
        RequestError: it is no number, or too large for an image's side.
    """
    if not re.fullmatch("[0-9]{1,9}", stored) or int(stored) > LARGEST_SIDE:
        raise RequestError(f"{path} says that its images have {stored[:20]} pixels", f"at most {LARGEST_SIDE}")
    return int(stored)
