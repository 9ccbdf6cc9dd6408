"""NoisePrint++ on a CPU: a few images or one strip at a time, convolution and ReLU in one operator of oneDNN.

Nothing here knows the network: :mod:`qmanet_benco.model.noiseprint` hands over what is to be computed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

PART_PIXELS = 1024 * 1024
"""Larger images are computed in strips of about so many pixels: at 64 channels a layer writes 256 MiB for them."""
BATCH_PIXELS = 256 * 256
"""Images are computed together up to so many pixels on a CPU."""


def in_parts(x: Tensor, residual: Callable[[Tensor], Tensor], reach: int) -> Tensor:
    """A few images at a time, a large one in strips: what a layer writes stays small, and so near the processor.

    A strip takes as many rows beyond its own as the network sees, so the values are those of the whole image.

    Args:
        x: B x C x H x W.
        residual: b x C x h x W -> b x 1 x h x W.
        reach: rows that an output sees above and below its own.

    Returns:
        B x 1 x H x W.
    """
    height, width = x.shape[2:]
    if height * width <= PART_PIXELS:
        images = max(1, BATCH_PIXELS // (height * width))
        return torch.cat([residual(part) for part in x.split(images)])
    rows = max(2 * reach, PART_PIXELS // width)
    whole = x.new_empty(len(x), 1, height, width)
    for top in range(0, height, rows):
        first, last = max(0, top - reach), min(height, top + rows + reach)
        for image, target in zip(x[:, :, first:last].split(1), whole.split(1), strict=True):
            target[:, :, top : top + rows] = residual(image)[:, :, top - first :][:, :, :rows]
    return whole


def fused_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, rectified: bool) -> Tensor:
    """Convolution and, where ``rectified``, ReLU in one operator."""
    ending = "relu" if rectified else "none"
    output: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, [padding] * 2, [1, 1], [1, 1], 1, ending, [], ""
    )
    return output


def clamped_and_padded(x: Tensor, lowest: Tensor) -> Tensor:
    """Clamp ``x`` to ``lowest`` (1 x C x 1 x 1) or more, and pad it with one pixel of ``lowest``, channels last."""
    batch, channels, height, width = x.shape
    padded = x.new_empty(batch, height + 2, width + 2, channels).permute(0, 3, 1, 2)
    for border in (padded[:, :, 0], padded[:, :, -1], padded[..., 0], padded[..., -1]):
        border.copy_(lowest[..., 0].expand_as(border))
    torch.maximum(x, lowest, out=padded[:, :, 1:-1, 1:-1])
    return padded


def fused_on(x: Tensor) -> bool:
    """Tell whether convolution and ReLU can be one operator: on a CPU with oneDNN, where nobody looks at the operators.

    Tracers, compilers and counters know convolutions, but not this operator.
    """
    watched = torch.jit.is_tracing() or torch.compiler.is_compiling() or _get_current_dispatch_mode() is not None
    if x.device.type != "cpu" or watched:
        return False
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
