"""NoisePrint++ (Guillaro et al. 2023, TruFor): a frozen denoising network that shows a camera's and an editor's traces.

17 convolutions of 3x3, 64 wide, ReLU between them, 15 of them followed by BatchNorm in the published file.
It was trained on RGB / 256. The published weights allow non-profit use only and are never part of this project.

Two things are done with the published weights, both in float64 when they are read and neither changing the function:

* the BatchNorms, frozen for good, are folded into the convolutions;
* the inputs of four layers are centred. Layers 7 to 10 see channels whose mean is thousands of times their spread
  (a bias of 1,483 cancels it), which costs float32 three digits: the error against float64 is 4.6e-4 without and
  1e-5 with centring, on ``skimage.data.astronaut()[0:96, 0:96]`` (tests/model/test_noiseprint.py). A channel's centre
  is the mean that its own BatchNorm statistics predict behind the ReLU; the next layer's bias takes it back.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qmanet_benco.errors import RequestError
from qmanet_benco.model import noiseprint_cpu
from qmanet_benco.model.noiseprint_arithmetic import ARITHMETICS, FLOAT32, convolution, precision

DEPTH = 17
WIDTH = 64
INPUT_SCALE = 255 / 256
"""From RGB in [0, 1] to the RGB / 256 that the network was trained on."""
CENTRED_LAYERS = (7, 8, 9, 10)
"""Layers whose outputs are centred; counted from 0."""
BATCH_NORM_EPSILON = 1e-5

CURE = (
    "give --noiseprint_weights FILE (noiseprint++.th of the TruFor repository, `qmanet weights fetch noiseprint++`), "
    "or leave the source out with --noise_sources srm,bayar"
)


class NoisePrintPP(nn.Module):
    """The network as 17 convolutions. It stays frozen and in eval mode, also under ``train()``.

    It starts without weights (NaN, so that nothing can pass for a result); :meth:`load_published`,
    :meth:`randomise` or ``load_state_dict`` fill it.
    """

    filled: bool
    arithmetic: str
    """How convolutions on CUDA compute; see :meth:`set_arithmetic`."""

    def __init__(self) -> None:
        super().__init__()
        self.arithmetic = FLOAT32
        widths = [3, *[WIDTH] * (DEPTH - 1), 1]
        self.layers = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 3, padding=1) for i in range(DEPTH))
        for index in CENTRED_LAYERS:
            self.register_buffer(f"centre{index}", torch.zeros(WIDTH))
        self.requires_grad_(False)
        for tensor in self.parameters():
            tensor.fill_(math.nan)
        self.filled = False
        super().train(False)

    def train(self, mode: bool = True) -> NoisePrintPP:
        """Stay in eval mode whatever is asked."""
        del mode
        return super().train(False)

    def forward(self, rgb: Tensor) -> Tensor:
        """Noise residual of an image.

        Args:
            rgb: B x 3 x H x W in [0, 1], any precision and any autocast around it.

        Returns:
            B x 1 x H x W in float32, about 0.1 to 0.2 in standard deviation on photos.

        Raises:
            RequestError: no weights were loaded.
        """
        if not self.filled:
            raise RequestError("NoisePrint++ has no weights", "weights that were loaded", CURE)
        with torch.no_grad(), torch.autocast(rgb.device.type, enabled=False), precision(self.arithmetic):
            x = rgb.float() * INPUT_SCALE
            if noiseprint_cpu.fused_on(x):
                return noiseprint_cpu.in_parts(x, lambda part: self._residual(part, fused=True), reach=DEPTH)
            return self._residual(x)

    def _residual(self, x: Tensor, fused: bool = False) -> Tensor:
        """B x 3 x H x W scaled RGB -> B x 1 x H x W; ``fused`` computes convolution and ReLU in one operator."""
        x = x.contiguous(memory_format=torch.channels_last)
        for index in range(DEPTH):
            x = self._layer(index, x, fused)
        return x

    def _layer(self, index: int, x: Tensor, fused: bool) -> Tensor:
        layer = self._convolution(index)
        weight = layer.weight.contiguous(memory_format=torch.channels_last)
        # behind a centred layer the input is padded already: zero padding of the original is minus the centre there
        padding = 0 if index - 1 in CENTRED_LAYERS else 1
        rectified = index < DEPTH - 1 and index not in CENTRED_LAYERS
        if fused:
            x = noiseprint_cpu.fused_convolution(x, weight, layer.bias, padding, rectified)
        else:
            x = convolution(x, weight, layer.bias, padding, self.arithmetic)
            x = F.relu(x) if rectified else x
        return self._centred(index, x, fused) if index in CENTRED_LAYERS else x

    def _centred(self, index: int, x: Tensor, fused: bool) -> Tensor:
        """ReLU of a centred layer's output, with one pixel of padding around."""
        lowest = -self._centre(index).view(1, -1, 1, 1)
        if fused:
            return noiseprint_cpu.clamped_and_padded(x, lowest)
        return F.pad(torch.maximum(x, lowest) - lowest, (1, 1, 1, 1)) + lowest

    def _convolution(self, index: int) -> nn.Conv2d:
        return cast(nn.Conv2d, self.layers[index])

    def _centre(self, index: int) -> Tensor:
        return self.get_buffer(f"centre{index}")

    @torch.no_grad()
    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Fill the network from the names of the published file (``0.weight`` ... ``47.bias``).

        Raises:
            RequestError: a tensor is missing, unknown or has another shape.
        """
        folded = _fold(weights)
        for index, (weight, bias, centre) in enumerate(folded):
            layer = self._convolution(index)
            layer.weight.copy_(weight)
            cast(Tensor, layer.bias).copy_(bias)
            if centre is not None:
                self._centre(index).copy_(centre)
        self.filled = True

    @torch.no_grad()
    def randomise(self) -> None:
        """Fill the network with random values: for cost measurements and tests, worthless as a noise view."""
        for tensor in self.parameters():
            if tensor.dim() == 1:
                nn.init.zeros_(tensor)
            else:
                nn.init.kaiming_normal_(tensor, nonlinearity="relu")
        self.filled = True

    def set_arithmetic(self, name: str) -> None:
        """Choose how convolutions are computed on CUDA.

        Args:
            name: ``fp32``, ``tf32`` or ``tf32x3``; see :mod:`qmanet_benco.model.noiseprint_arithmetic`.

        Raises:
            RequestError: the name is unknown.
        """
        if name not in ARITHMETICS:
            raise RequestError(f"noiseprint_arithmetic {name!r}", f"one of {', '.join(ARITHMETICS)}")
        self.arithmetic = name

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name these weights and the arithmetic."""
        digest = hashlib.sha256(b"" if self.arithmetic == FLOAT32 else self.arithmetic.encode())
        for tensor in self.state_dict().values():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        first = state_dict.get(f"{prefix}layers.0.weight")
        if first is None:
            return
        if not first.is_meta and not bool(torch.isfinite(first).all()):
            raise RequestError(
                "the checkpoint holds no NoisePrint++ weights (it was saved before they were loaded)", "", CURE
            )
        self.filled = True


def _published_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index in range(DEPTH):
        position = _position(index)
        shapes[f"{position}.weight"] = (1 if index == DEPTH - 1 else WIDTH, 3 if index == 0 else WIDTH, 3, 3)
        if index in (0, DEPTH - 1):
            shapes[f"{position}.bias"] = (shapes[f"{position}.weight"][0],)
        else:
            norms = ("weight", "bias", "running_mean", "running_var")
            shapes |= {f"{position + 1}.{name}": (WIDTH,) for name in norms}
    return shapes


def _position(index: int) -> int:
    """Number of the index-th convolution in the published sequence (convolution, BatchNorm, ReLU, ...)."""
    return 0 if index == 0 else 3 * index - 1


def _fold(weights: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Weight, bias and centre of every layer in float64, BatchNorm folded and centres moved into the biases."""
    shapes = _published_shapes()
    given = {name: tuple(tensor.shape) for name, tensor in weights.items() if "num_batches" not in name}
    wrong = sorted(name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name))
    if wrong:
        got = f"{wrong[0]} of shape {given.get(wrong[0], 'none')}"
        raise RequestError(
            f"not NoisePrint++ weights: {len(wrong)} tensors differ, first {got}", str(shapes.get(wrong[0])), CURE
        )
    values = {name: weights[name].double() for name in shapes}
    layers: list[tuple[Tensor, Tensor, Tensor | None]] = []
    previous_centre: Tensor | None = None
    for index in range(DEPTH):
        weight, bias, centre = _folded_layer(values, index)
        if previous_centre is not None:
            bias = bias + torch.einsum("oihw,i->o", weight, previous_centre)
        if centre is not None:
            bias = bias - centre
        layers.append((weight, bias, centre))
        previous_centre = centre
    return layers


def _folded_layer(values: Mapping[str, Tensor], index: int) -> tuple[Tensor, Tensor, Tensor | None]:
    position = _position(index)
    weight = values[f"{position}.weight"]
    if index in (0, DEPTH - 1):
        return weight, values[f"{position}.bias"], None
    gain, shift, mean, variance = (
        values[f"{position + 1}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / torch.sqrt(variance + BATCH_NORM_EPSILON)
    centre = _mean_behind_relu(shift, gain.abs()) if index in CENTRED_LAYERS else None
    return weight * scale.view(-1, 1, 1, 1), shift - mean * scale, centre


def _mean_behind_relu(mean: Tensor, deviation: Tensor) -> Tensor:
    """E[max(z, 0)] of z ~ N(mean, deviation^2)."""
    ratio = mean / deviation.clamp_min(1e-12)
    cumulative = 0.5 * (1 + torch.erf(ratio / math.sqrt(2)))
    density = torch.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    return mean * cumulative + deviation * density
