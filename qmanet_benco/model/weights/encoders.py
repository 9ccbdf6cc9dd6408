"""Reads and writes files of pretrained encoders, in any of SegFormer's namings, and of NoisePrint++."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from qmanet_benco.errors import RequestError
from qmanet_benco.files import write_atomically
from qmanet_benco.model.weights.files import read_checkpoint, state_dict_of
from qmanet_benco.model.weights.naming import from_official, to_official

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadReport:
    """What became of a file's tensors."""

    source: str
    naming: str
    landed: int
    """Tensors of the encoder that were filled; all of them, or loading fails."""
    ignored: tuple[str, ...] = field(default=())
    """Names in the file that belong to a classifier or another head."""

    def __str__(self) -> str:
        ignored = f", {len(self.ignored)} of another head ignored" if self.ignored else ""
        return f"{self.source}: {self.naming} naming, all {self.landed} encoder tensors filled{ignored}"


def load_encoder(encoder: torch.nn.Module, path: str | Path) -> LoadReport:
    """Fill a MiT encoder (mmsegmentation's layers) from a file in any of the four namings.

    Args:
        encoder: module whose state dict has mmsegmentation's names (``layers.0.0.projection.weight`` ...).
        path: ``.pth`` or ``.safetensors``.

    Returns:
        What landed.

    Raises:
        RequestError: the file is unreadable, of another size, or incomplete; the encoder is then unchanged.
    """
    state = state_dict_of(read_checkpoint(path))
    with _naming(path):
        official, naming, ignored = to_official(state)
        converted = from_official(official, "mmseg")
    expected = encoder.state_dict()
    missing = sorted(expected.keys() - converted.keys())
    surplus = sorted(converted.keys() - expected.keys())
    shapes = [n for n in expected.keys() & converted.keys() if expected[n].shape != converted[n].shape]
    if missing or surplus or shapes:
        raise RequestError(
            f"{path} does not fit the encoder: {_differences(missing, surplus, sorted(shapes), expected, converted)}",
            f"the {len(expected)} tensors of this variant's backbone",
            "give the file of the same size (mit_b3 for the paper's variant)",
        )
    encoder.load_state_dict(converted)
    report = LoadReport(str(path), naming, len(expected), ignored)
    logger.info("%s", report)
    return report


def convert_file(source: str | Path, target: str | Path, naming: str) -> LoadReport:
    """Write an encoder's weights under another naming.

    Args:
        source: ``.pth`` or ``.safetensors`` in any of the four namings.
        target: file to write, ``.safetensors`` or ``.pth``; its folder is made.
        naming: one of :data:`~qmanet_benco.model.weights.naming.NAMINGS`.

    Returns:
        What was converted; ``ignored`` names what was left out.

    Raises:
        RequestError: the source is no SegFormer encoder, or the target exists or has another ending.
    """
    target = Path(target)
    if target.suffix not in (".safetensors", ".pth"):
        raise RequestError(f"{target}", "a name ending in .safetensors or .pth")
    if target.exists():
        raise RequestError(f"{target} exists", "a new file", "nothing was written")
    state = state_dict_of(read_checkpoint(source))
    with _naming(source):
        official, source_naming, ignored = to_official(state)
        converted = {name: tensor.contiguous().clone() for name, tensor in from_official(official, naming).items()}
    if target.suffix == ".safetensors":
        write_atomically(target, lambda path: save_file(converted, path))
    else:
        write_atomically(target, lambda path: torch.save(converted, path))
    return LoadReport(str(source), source_naming, len(official), ignored)


def read_noiseprint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a NoisePrint++ file, bare or as published under ``network``.

    Raises:
        RequestError: the file cannot be read.
    """
    return state_dict_of(read_checkpoint(path))


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Put the file's name before an error about its tensors."""
    try:
        yield
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error


def _differences(
    missing: list[str],
    surplus: list[str],
    shapes: list[str],
    expected: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
) -> str:
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing, first {missing[0]}")
    if surplus:
        parts.append(f"{len(surplus)} unknown, first {surplus[0]}")
    if shapes:
        name = shapes[0]
        parts.append(f"{len(shapes)} of another shape, first {name} {tuple(given[name].shape)}")
        parts.append(f"where {tuple(expected[name].shape)} belongs")
    return ", ".join(parts)
