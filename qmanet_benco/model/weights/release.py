"""Exports a trainer's checkpoint as one small file that loads anywhere: safetensors with configuration and size."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from qmanet_benco.errors import RequestError
from qmanet_benco.files import write_atomically, writing
from qmanet_benco.model.calibration import Calibration
from qmanet_benco.model.network import SMALLEST_SIDE, QMANetwork
from qmanet_benco.model.weights.builder import load_model
from qmanet_benco.model.weights.files import LARGEST_SIDE, write_safetensors
from qmanet_benco.model.weights.sources import as_name, locate

LARGEST_DIFFERENCE = {False: 1e-6, True: 0.05}
"""How far a probability of the file may be from the source's, in 32 bits and in 16 (CHOICE)."""


def export_safetensors(
    source: str | Path,
    target: Path,
    *,
    image_size: int = 0,
    half: bool = False,
    calibration: Calibration | None = None,
) -> float:
    """Write a model's weights as safetensors, load them again and compare.

    Args:
        source: as for :func:`~qmanet_benco.load_model`.
        target: ``.safetensors``.
        image_size: side in pixels that the weights were trained for, stored with them; 0: the source's.
        half: floating-point tensors in 16 bits; they load as 32.
        calibration: threshold and score, stored with the weights; None: the source's, if it has one.

    Returns:
        The largest difference of a probability between source and file, on a seeded image of that size.

    Raises:
        RequestError: the name, the source or a value is wrong, a tensor does not fit into 16 bits, the folder cannot be
            written, or the file differs by more than :data:`LARGEST_DIFFERENCE`. Then nothing is left behind, and a
            file that was there before stays.
    """
    if target.suffix != ".safetensors":
        raise RequestError(f"{target}", "a name that ends in .safetensors")
    if os.path.realpath(locate(as_name(source))) == os.path.realpath(target):
        raise RequestError(f"{target}, which is also read", "another name")
    model = load_model(source)
    side = image_size or model.image_size
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise RequestError(f"image size {side}", f"{SMALLEST_SIDE} to {LARGEST_SIDE} pixels")
    state = {name: _narrowed(name, tensor) if half else tensor for name, tensor in model.state_dict().items()}
    difference = 0.0

    def write(part: Path) -> None:
        nonlocal difference
        write_safetensors(part, state, side, calibration or model.calibration)
        difference = _compare(model, load_model(part), half)

    with writing(target):
        write_atomically(target, write)
    return difference


def _compare(model: QMANetwork, again: QMANetwork, half: bool) -> float:
    """The largest difference of a probability.

    Raises:
        RequestError: it is too large.
    """
    side = again.image_size
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        difference = float((model(image) - again(image)).abs().max())
    if not difference <= LARGEST_DIFFERENCE[half]:  # NaN is refused too
        raise RequestError(
            f"a probability of the written file differs by {difference:.1e}", f"at most {LARGEST_DIFFERENCE[half]}"
        )
    return difference


def _narrowed(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    narrow = tensor.half()
    if not torch.isfinite(narrow).all():
        raise RequestError(f"{name} has values beyond 65504", "weights that fit into 16 bits", "leave --half out")
    return narrow
