"""How the noise residual of an image is ordered: co-occurrences, likeness at short distances and between colours.

Not in the paper. Co-occurrences of third-order residuals are what Splicebuster (Cozzolino, Poggi and Verdoliva 2015)
tells sources apart by, after Fridrich and Kodovsky (2012); likeness at short distances shows interpolation, likeness
between colours demosaicing and subsampling.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qmanet_benco.model.noise_view import Denormalise
from qmanet_benco.model.statistics.blocks import (
    around_block,
    luminance_and_chrominance,
    mean_of_block,
    whole_blocks,
)

LEVELS = (-1, 0, 1)
"""Of a quantised residual."""
LEVEL = 2.001
"""Grey levels of one such level. Residuals of grey photos are whole numbers: none may be half a level."""
LAGS = (1, 2, 3, 4)
"""Pixels between two residuals that are compared."""
LARGEST, LARGEST_OF_COLOURS = 60.0, 80.0
"""Residuals are clipped there, in grey levels, so that an edge does not outweigh the noise."""
CLASSES = 25
"""Of four neighbouring levels, where the reverse and the negative count as the same: neither tells a source."""
SMALLEST_ENERGY = 0.5
"""Added to energies, in squared grey levels."""


class ResidualStatistics(nn.Module):
    """Image -> statistics of its residuals around each block; nothing in it is learnt.

    The 62 channels: 25 classes of four neighbouring residuals across and 25 down, as roots of frequencies; correlations
    of a residual with those one to four pixels to the right and below; correlation of red and of blue with green, and
    logarithms of their energies' ratios. Levels, lags and limits are a CHOICE.
    """

    TRANSPOSED = ((slice(0, 25), slice(25, 50)), (slice(50, 54), slice(54, 58)))
    """Channels that change places when an image is transposed."""
    CHANNELS = 62

    classes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.denormalise = Denormalise()
        self.register_buffer("classes", torch.tensor(_classes()), persistent=False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W, ImageNet-normalised -> B x 62 x ceil(H / 8) x ceil(W / 8), float32."""
        with torch.autocast(image.device.type, enabled=False):
            rgb = whole_blocks(self.denormalise(image))
            across, _ = luminance_and_chrominance(rgb)
            down = across.transpose(2, 3)
            return torch.cat(
                [
                    self._cooccurrences(across),
                    self._cooccurrences(down).transpose(2, 3),
                    _likeness(across),
                    _likeness(down).transpose(2, 3),
                    _colours(rgb),
                ],
                dim=1,
            )

    def _cooccurrences(self, luminance: Tensor) -> Tensor:
        """Roots of the frequencies of each class of four neighbours in a row, B x 25 x H / 8 x W / 8."""
        first, second, third, fourth = _beside(luminance, 4)
        residual = first - 3 * second + 3 * third - fourth
        index = torch.zeros_like(residual)
        for level in _beside((residual / LEVEL).round().clamp(LEVELS[0], LEVELS[-1]), 4):
            index = index * len(LEVELS) + (level - LEVELS[0])
        index = torch.where(index >= 0, index, torch.zeros_like(index))  # NaN still reaches the loss, by the lags
        of_pixels = self.classes[index.long()]
        shares = [mean_of_block((of_pixels == kind).float()) for kind in range(CLASSES)]
        return around_block(torch.cat(shares, dim=1)).sqrt() * 2


def _classes() -> list[int]:
    """Class of each of the 81 fours of levels."""
    numbers: dict[tuple[int, ...], int] = {}
    classes = []
    for levels in product(LEVELS, repeat=4):
        negative = tuple(-level for level in levels)
        name = min(levels, levels[::-1], negative, negative[::-1])
        classes.append(numbers.setdefault(name, len(numbers)))
    return classes


def _beside(plane: Tensor, count: int) -> list[Tensor]:
    """A plane and what stands beside each pixel: from one to the left on."""
    width = plane.shape[3]
    padded = F.pad(plane, (1, count - 2, 0, 0), mode="replicate")
    return [padded[..., shift : shift + width] for shift in range(count)]


def _laplacian(planes: Tensor) -> Tensor:
    around = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    beside = around[..., 1:-1, :-2] + around[..., 1:-1, 2:] + around[..., :-2, 1:-1] + around[..., 2:, 1:-1]
    return 4 * planes - beside


def _likeness(luminance: Tensor) -> Tensor:
    """Correlation of the residual with that of the pixel one to four to the right, B x 4 x H / 8 x W / 8."""
    residual = _laplacian(luminance).clamp(-LARGEST, LARGEST)
    energy = _energy(residual)
    width = residual.shape[3]
    padded = F.pad(residual, (0, max(LAGS), 0, 0), mode="replicate")
    return torch.cat([_mean(residual * padded[..., lag : lag + width]) / energy for lag in LAGS], dim=1)


def _colours(rgb: Tensor) -> Tensor:
    """Correlation of red and blue with green, logarithms of the ratios of their energies, B x 4 x H / 8 x W / 8."""
    red, green, blue = _laplacian(rgb).clamp(-LARGEST_OF_COLOURS, LARGEST_OF_COLOURS).split(1, dim=1)
    of_red, of_green, of_blue = (_energy(colour) for colour in (red, green, blue))
    return torch.cat(
        [
            _mean(red * green) / (of_red * of_green).sqrt(),
            _mean(blue * green) / (of_blue * of_green).sqrt(),
            torch.log(of_red / of_green),
            torch.log(of_blue / of_green),
        ],
        dim=1,
    )


def _mean(pixels: Tensor) -> Tensor:
    return around_block(mean_of_block(pixels))


def _energy(residual: Tensor) -> Tensor:
    return _mean(residual.square()) + SMALLEST_ENERGY
