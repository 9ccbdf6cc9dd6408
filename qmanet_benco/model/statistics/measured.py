"""All that is measured of an image before anything is learnt: blocks, residuals, and what is seen twice."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qmanet_benco.model.statistics.blocks import BLOCK, BlockStatistics
from qmanet_benco.model.statistics.copies import CopyMoveField
from qmanet_benco.model.statistics.residuals import ResidualStatistics


class ImageStatistics(nn.Module):
    """Image -> statistics of each of its blocks; nothing in it is learnt.

    The first 171 of the 175 channels are compared within their image by the encoder; the last four are saturation and
    the mean colour.
    """

    COMPARED = BlockStatistics.COMPARED + ResidualStatistics.CHANNELS + CopyMoveField.CHANNELS
    CHANNELS = BlockStatistics.CHANNELS + ResidualStatistics.CHANNELS + CopyMoveField.CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.blocks = BlockStatistics()
        self.residuals = ResidualStatistics()
        self.copies = CopyMoveField()

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W, ImageNet-normalised -> B x 175 x ceil(H / 8) x ceil(W / 8), float32."""
        blocks = self.blocks(image)
        compared, rest = blocks[:, : BlockStatistics.COMPARED], blocks[:, BlockStatistics.COMPARED :]
        return torch.cat([compared, self.residuals(image), self.copies(image), rest], dim=1)


def mirrored(statistics: Tensor) -> Tensor:
    """Those of the image whose left and right are exchanged, B x 175 x h x w, for widths that 8 divides.

    Exact for the phases of the grid, near for the rest.
    """
    order = list(range(ImageStatistics.CHANNELS))
    across = slice(BlockStatistics.PHASES.start, BlockStatistics.PHASES.start + BLOCK)
    order[across] = order[across][::-1]
    return statistics.flip(3)[:, order]


def transposed(statistics: Tensor) -> Tensor:
    """Those of the image whose rows and columns are exchanged, B x 175 x h x w -> B x 175 x w x h.

    Exact but for what rests on JPEG's tables, which are not symmetric, and for the copies.
    """
    order = list(range(ImageStatistics.CHANNELS))
    phases = BlockStatistics.PHASES
    pairs = [(slice(phases.start, phases.start + BLOCK), slice(phases.start + BLOCK, phases.stop))]
    start = BlockStatistics.COMPARED
    pairs += [
        (slice(start + one.start, start + one.stop), slice(start + other.start, start + other.stop))
        for one, other in ResidualStatistics.TRANSPOSED
    ]
    for one, other in pairs:
        order[one], order[other] = order[other], order[one]
    return statistics.transpose(2, 3)[:, order]
