"""The numbers that a network computes with: float32, or bfloat16 where the processor multiplies it in hardware.

Under ``bf16`` everything but the noise view runs under ``torch.autocast``; residuals are differences of nearly equal
numbers and stay in float32 (:mod:`qmanet_benco.model.noise_view`), and so do the probabilities that come out.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from qmanet_benco.errors import RequestError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

FP32, BF16 = "fp32", "bf16"
PRECISIONS = (FP32, BF16)


def has_bf16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 in hardware: x86 by ``avx512_bf16`` or AMX, and NVIDIA's from Ampere.

    PyTorch computes it elsewhere too, but more slowly than float32.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # PyTorch's only answers to this question have an underscore
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def known(precision: str) -> str:
    """Check the name of a precision, and return it.

    Raises:
        RequestError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise RequestError(f"precision {precision!r}", f"one of {', '.join(PRECISIONS)}")
    return precision


def usable(precision: str, device: torch.device) -> str:
    """Return the precision that a device can compute in: float32, with a warning, where it lacks bfloat16.

    Raises:
        RequestError: there is no such precision.
    """
    if known(precision) == BF16 and not has_bf16(device):
        logger.warning("this %s has no bfloat16 arithmetic (avx512_bf16, AMX): fp32 is used", device.type)
        return FP32
    return precision


def computing(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which operations run in bfloat16 for ``bf16``; for ``fp32`` it changes nothing."""
    import torch

    return torch.autocast(device.type, torch.bfloat16) if precision == BF16 else nullcontext()
