"""From a trainer's checkpoint to one small file that loads anywhere: safetensors with configuration and input size."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from qmanet_benco.errors import RequestError
from qmanet_benco.model.builder import load_model
from qmanet_benco.model.files import write_safetensors


def export_safetensors(source: str | Path, target: Path, *, image_size: int = 0, half: bool = False) -> float:
    """Write a model's weights as safetensors, load them again and compare.

    Args:
        source: as for :func:`~qmanet_benco.load_model`.
        target: ``.safetensors``.
        image_size: side in pixels that the weights were trained for, stored with them; 0: the source's.
        half: floating-point tensors in 16 bits; they load as 32.

    Returns:
        The largest difference of a probability between source and file, on a seeded image of that size.

    Raises:
        RequestError: the name, the source or a value is wrong, or a tensor does not fit into 16 bits.
    """
    if target.suffix != ".safetensors":
        raise RequestError(f"{target}", "a name that ends in .safetensors")
    model = load_model(source)
    side = image_size or model.image_size
    state = {name: _narrowed(name, tensor) if half else tensor for name, tensor in model.state_dict().items()}
    write_safetensors(target, state, side)
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return float((model(image) - load_model(target)(image)).abs().max())


def _narrowed(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    narrow = tensor.half()
    if not torch.isfinite(narrow).all():
        raise RequestError(f"{name} has values beyond 65504", "weights that fit into 16 bits", "leave --half out")
    return narrow
