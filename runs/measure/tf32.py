"""What TF32 will cost NoisePrint++, predicted on a CPU: its rounding is imitated, factor by factor.

``python runs/measure/tf32.py noiseprint++.th PHOTO...``

Printed for each way to compute: correlation with float64 and the largest difference in units of the residual's
standard deviation, of two crops of each photo. "Sums toward zero" also imitates sums of tensor cores: eight exact
products at a time are added to a float32 number, and what does not fit is cut off. A card may order its sums otherwise.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from qmanet_benco.model import noiseprint
from qmanet_benco.model.noiseprint import INPUT_SCALE, NoisePrintPP
from qmanet_benco.model.noiseprint_arithmetic import TF32_THREE, convolution, rounded

CROP = 128
CHANNELS_AT_ONCE = 8
Convolution = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def cut_off(x: Tensor) -> Tensor:
    """TF32 numbers of float32 numbers, toward zero: what tensor cores see of a number that nobody rounded."""
    return (x.view(torch.int32) & -(1 << 13)).view(torch.float32)


def in_tf32(rounding: Callable[[Tensor], Tensor]) -> Convolution:
    """A convolution whose factors are rounded, and whose sums are float32's."""

    def convolve(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        return F.conv2d(rounding(x), rounding(weight), bias, padding=padding)

    return convolve


def in_three_products(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """The package's own three products, with both factors of each cut off to TF32."""
    with mock.patch("torch.nn.functional.conv2d", lambda x, w, b, **given: _conv2d(cut_off(x), cut_off(w), b, **given)):
        return convolution(x, weight, bias, padding, TF32_THREE)


def sums_toward_zero(rounding: Callable[[Tensor], Tensor], three: bool = False) -> Convolution:
    """A convolution as tensor cores add it up."""

    def convolve(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        products = [(rounding(x), rounding(weight))]
        if three:
            high, low = rounded(x), x - rounded(x)
            high_weight, low_weight = rounded(weight), weight - rounded(weight)
            products = [(high, high_weight), (high, cut_off(low_weight)), (cut_off(low), high_weight)]
        rows, columns = (side + 2 * padding - 2 for side in x.shape[2:])
        sums = bias.view(1, -1, 1, 1).expand(len(x), -1, rows, columns)
        for image, kernel in products:
            padded = F.pad(image, [padding] * 4).double()
            for row, column in ((row, column) for row in range(3) for column in range(3)):
                seen = padded[:, :, row : row + rows, column : column + columns].split(CHANNELS_AT_ONCE, dim=1)
                taps = kernel[:, :, row, column].double().split(CHANNELS_AT_ONCE, dim=1)
                for values, factors in zip(seen, taps, strict=True):
                    sums = _toward_zero(sums.double() + torch.einsum("bihw,oi->bohw", values, factors))
        return sums

    return convolve


WAYS: dict[str, Convolution] = {
    "fp32": lambda x, w, b, p: F.conv2d(x, w, b, padding=p),
    "tf32, rounded to nearest": in_tf32(rounded),
    "tf32, cut off": in_tf32(cut_off),
    "tf32x3": in_three_products,
    "tf32, rounded to nearest, sums toward zero": sums_toward_zero(rounded),
    "tf32x3, sums toward zero": sums_toward_zero(rounded, three=True),
}


@torch.no_grad()
def predicted(network: NoisePrintPP, rgb: Tensor, way: str) -> Tensor:
    """The residual of ``rgb`` (B x 3 x H x W in [0, 1]) as one of :data:`WAYS` computes it."""
    convolve = WAYS[way]
    with mock.patch.object(noiseprint, "convolution", lambda x, w, b, p, _: convolve(x, w, b, p)):
        return network._residual(rgb * INPUT_SCALE)


@torch.no_grad()
def in_float64(network: NoisePrintPP, rgb: Tensor) -> Tensor:
    """The residual in float64."""
    return copy.deepcopy(network).double()._residual(rgb.double() * INPUT_SCALE)


def correlation(output: Tensor, reference: Tensor) -> float:
    """Pearson's, over all pixels."""
    pair = torch.stack([output.detach().double().cpu().flatten(), reference.detach().double().cpu().flatten()])
    return float(torch.corrcoef(pair)[0, 1])


def largest_difference(output: Tensor, reference: Tensor) -> float:
    """In units of the reference's standard deviation."""
    output, reference = output.detach().double().cpu(), reference.detach().double().cpu()
    return float((output - reference).abs().max() / reference.std())


_conv2d = F.conv2d


def _toward_zero(x: Tensor) -> Tensor:
    nearest = x.float()
    smaller = torch.nextafter(nearest, torch.zeros_like(nearest))
    return torch.where(nearest.double().abs() > x.abs(), smaller, nearest)


def _crops(path: Path) -> dict[str, Tensor]:
    """1 x 3 x CROP x CROP in [0, 1] out of the middle and of the upper left corner."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    images = {}
    for place, parts in (("middle", 2), ("corner", len(pixels))):
        top, left = (max(0, (side - CROP) // parts) for side in pixels.shape[:2])
        part = pixels[top : top + CROP, left : left + CROP].copy()
        images[place] = torch.from_numpy(part).permute(2, 0, 1)[None].float() / 255
    return images


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Predict on a CPU what TF32 will cost NoisePrint++.")
    made.add_argument("weights", type=Path, help="noiseprint++.th")
    made.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    return made


def main() -> int:
    from qmanet_benco.model.weights.encoders import read_noiseprint

    given = parser().parse_args()
    network = NoisePrintPP()
    network.load_published(read_noiseprint(given.weights))
    for photo in given.photos:
        for place, rgb in _crops(photo).items():
            reference = in_float64(network, rgb)
            for way in WAYS:
                output = predicted(network, rgb, way)
                figures = f"{correlation(output, reference):.8f} {largest_difference(output, reference):8.1e}"
                print(f"{figures}  {way:45} {place} of {photo.name}", flush=True)  # noqa: T201 - a script's result
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
