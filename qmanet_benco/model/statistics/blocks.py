"""Statistics of JPEG blocks: how the processing history of each 8 x 8 block differs from the rest of its image.

Not in the paper. A small network that is trained from nothing learns such statistics slowly; here they are computed.
What is measured: energies of the block's DCT bands, the error when the block is quantised again ("JPEG ghosts", Farid
2009), zeroed coefficients (Popescu and Farid 2004 on double quantisation), noise residuals (Fridrich and Kodovsky
2012), and the strength of edges at each phase of the grid (Li et al. 2009). Each is seen relative to its image.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from qmanet_benco.model.noise_view import GREY_LEVELS, SRM_KERNELS, Denormalise

BLOCK = 8
"""Side of a JPEG block in pixels."""
GHOST_QUALITIES = (50, 60, 70, 80, 88, 94, 97)
"""JPEG qualities that each block is quantised with once more."""
BANDS = ((1, 2), (3, 5), (6, 9), (10, 14))
"""Bands of a block's DCT by the sum of its two frequencies; the mean (0) is left out."""
SMALLEST_ENERGY = 0.02
"""Added before the logarithm, in squared grey levels."""
# ITU-T T.81 (1992), table K.1: quantisation of luminance at quality 50
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_LAPLACE = ((0, 0, 0, 0, 0), (0, 0, 1, 0, 0), (0, 1, -4, 1, 0), (0, 0, 1, 0, 0), (0, 0, 0, 0, 0))


class BlockStatistics(nn.Module):
    """Image -> statistics of its blocks; nothing in it is learnt.

    The first 97 of the 101 channels are compared within their image by the encoder: 38 energies and 16
    phases of the grid as means of a block and its neighbours, five shares, and the 38 energies of the block alone. The
    last four are saturation and the mean colour.
    """

    PHASES = slice(38, 54)
    COMPARED = 97
    CHANNELS = 101

    dct: Tensor
    tables: Tensor
    bands: Tensor
    residuals: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.denormalise = Denormalise()
        frequency = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)).ravel()
        bands = np.stack([(frequency >= low) & (frequency <= high) for low, high in BANDS])
        divisor, second_order = SRM_KERNELS[1]
        constants = {
            "dct": _dct_kernels(),
            "tables": np.stack([_table(quality) for quality in GHOST_QUALITIES]),
            "bands": bands / bands.sum(1, keepdims=True),
            "residuals": np.stack([np.array(second_order) / divisor, np.array(_LAPLACE) / 4])[:, None],
        }
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values.astype(np.float32)), persistent=False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W, ImageNet-normalised -> B x 101 x ceil(H / 8) x ceil(W / 8), float32."""
        with torch.autocast(image.device.type, enabled=False):
            rgb = whole_blocks(self.denormalise(image))
            luminance, chrominance = luminance_and_chrominance(rgb)
            coefficients = F.conv2d(luminance - 128, self.dct, stride=BLOCK)
            energies = self._energies(luminance, chrominance, coefficients)
            beside = F.pad(luminance, (0, 1, 0, 0), mode="replicate")[..., 1:]
            compared = [
                _logarithm(around_block(energies)),
                _grid(luminance),
                around_block(self._of_bands((coefficients.abs() < 0.5).float())) * 2 - 1,
                around_block(mean_of_block(((beside - luminance).abs() < 1).float())),
                _logarithm(energies),
            ]
            saturated = around_block(mean_of_block((rgb.amax(1, keepdim=True) > 250).float()))
            colour = mean_of_block(torch.cat([(luminance - 128) / 64, chrominance / 32], dim=1))
            return torch.cat([*compared, saturated, colour], dim=1)

    def _energies(self, luminance: Tensor, chrominance: Tensor, coefficients: Tensor) -> Tensor:
        """Of the bands, of the ghosts' bands, of the colours' bands and of two residuals, B x 38 x h x w."""
        energies = [self._of_bands(coefficients.square())]
        for table in self.tables:
            ghost = coefficients - (coefficients / table).round() * table
            energies.append(self._of_bands(ghost.square()))
        blue, red = (F.conv2d(plane, self.dct, stride=BLOCK).square() for plane in chrominance.split(1, dim=1))
        energies.append(self._of_bands((blue + red) / 2))
        residual = F.conv2d(F.pad(luminance, (2, 2, 2, 2), mode="replicate"), self.residuals)
        return torch.cat([*energies, mean_of_block(residual.square())], dim=1)

    def _of_bands(self, coefficients: Tensor) -> Tensor:
        """Means over each band, B x 64 x h x w -> B x 4 x h x w."""
        return F.conv2d(coefficients, self.bands[:, :, None, None])


def whole_blocks(rgb: Tensor) -> Tensor:
    """RGB in [0, 1], B x 3 x H x W -> whole grey levels 0..255, padded until 8 divides both sides."""
    height, width = rgb.shape[2:]
    return F.pad((rgb * GREY_LEVELS).round(), (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")


def luminance_and_chrominance(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """B x 3 x H x W -> B x 1 x H x W, B x 2 x H x W, as ITU-R BT.601 and JPEG weigh them."""
    red, green, blue = rgb.split(1, dim=1)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    return luminance, torch.cat([0.564 * (blue - luminance), 0.713 * (red - luminance)], dim=1)


def _table(quality: int) -> NDArray[np.float64]:
    """Quantisation of luminance as the Independent JPEG Group's library scales it, 64 x 1 x 1."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return np.clip(np.floor((np.array(_LUMINANCE) * percent + 50) / 100), 1, 255).reshape(-1, 1, 1)


def _dct_kernels() -> NDArray[np.float64]:
    """The orthonormal DCT-II of a block as a convolution, 64 x 1 x 8 x 8."""
    steps = np.arange(BLOCK)
    basis = np.cos((2 * steps + 1) * steps[:, None] * np.pi / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    basis[0] /= np.sqrt(2)
    return np.einsum("ui,vj->uvij", basis, basis).reshape(BLOCK * BLOCK, 1, BLOCK, BLOCK)


def _logarithm(energies: Tensor) -> Tensor:
    return torch.log(energies + SMALLEST_ENERGY)


def _grid(luminance: Tensor) -> Tensor:
    """Strength of edges at each phase of the grid, across and down, relative to their mean; B x 16 x h x w."""
    across = _phases(_second_difference(luminance))
    down = _phases(_second_difference(luminance.transpose(2, 3))).transpose(2, 3)
    strengths = [_logarithm(around_block(phases.square())) for phases in (across, down)]
    return torch.cat([strength - strength.mean(1, keepdim=True) for strength in strengths], dim=1)


def _second_difference(luminance: Tensor) -> Tensor:
    """|2 y - left - right| of B x 1 x H x W."""
    padded = F.pad(luminance, (1, 1, 0, 0), mode="replicate")
    return (2 * luminance - padded[..., :-2] - padded[..., 2:]).abs()


def _phases(difference: Tensor) -> Tensor:
    """Mean of each of a block's eight columns, B x 1 x H x W -> B x 8 x H / 8 x W / 8."""
    columns = F.avg_pool2d(difference, (BLOCK, 1))
    return torch.cat([columns[..., phase::BLOCK] for phase in range(BLOCK)], dim=1)


def mean_of_block(pixels: Tensor) -> Tensor:
    """B x C x H x W, sides that 8 divides -> B x C x H / 8 x W / 8."""
    return F.avg_pool2d(pixels, BLOCK)


def around_block(blocks: Tensor) -> Tensor:
    """Mean of each block and its eight neighbours; B x C x h x w is kept."""
    return F.avg_pool2d(F.pad(blocks, (1, 1, 1, 1), mode="replicate"), 3, 1)
