"""The arithmetic of NoisePrint++'s convolutions on CUDA: float32, TF32, or three products in TF32.

TF32 keeps 10 bits of a factor's mantissa and adds in float32. NoisePrint++ holds most of the network's multiply-adds,
and its result is a small difference of large numbers, so what TF32 costs it has to be measured: docs/gpu.md. A CPU
computes in float32 whatever is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

FLOAT32, TF32, TF32_THREE = "fp32", "tf32", "tf32x3"
ARITHMETICS = (FLOAT32, TF32, TF32_THREE)
"""``tf32x3`` splits both factors into a TF32 number and the rest and leaves out the product of the two rests."""
_DROPPED_BITS = 13
"""Bits of float32's 23-bit mantissa that TF32 has not."""


def rounded(x: Tensor) -> Tensor:
    """The nearest TF32 numbers of float32 numbers, as float32; halves away from zero."""
    bits = x.view(torch.int32)
    half = 1 << (_DROPPED_BITS - 1)
    return ((bits + half) & -(1 << _DROPPED_BITS)).view(torch.float32)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, arithmetic: str) -> Tensor:
    """A convolution with stride 1.

    Args:
        x: B x C x H x W in float32.
        weight: O x C x k x k in float32.
        bias: O in float32.
        padding: zeros around the image.
        arithmetic: of :data:`ARITHMETICS`; :func:`precision` has to be set to it.
    """
    if arithmetic == TF32_THREE:
        high, high_weight = rounded(x), rounded(weight)
        x = torch.cat([high, high, x - high], dim=1)
        weight = torch.cat([high_weight, weight - high_weight, high_weight], dim=1)
    return F.conv2d(x, weight, bias, padding=padding)


def precision(arithmetic: str) -> AbstractContextManager[None]:
    """Allow or forbid TF32 in cuDNN's convolutions; afterwards it is as it was.

    A compiler cannot trace the switch, so compiled CUDA code must set it outside.
    """
    if torch.compiler.is_compiling() or not torch.backends.cudnn.is_available():
        return nullcontext()
    return _cudnn_precision("ieee" if arithmetic == FLOAT32 else "tf32")


@contextmanager
def _cudnn_precision(name: str) -> Iterator[None]:
    # Reading the older switch, cudnn.allow_tf32, is an error where a user has set this one.
    setting = cast(Any, torch.backends.cudnn).conv
    former = setting.fp32_precision
    setting.fp32_precision = name
    try:
        yield
    finally:
        setting.fp32_precision = former
