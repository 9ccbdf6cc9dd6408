"""Copy-move: a field of nearest neighbours within the image, and how far the offsets of neighbours agree.

Not in the paper. Copies within a photo (copy-move) have the history of the whole, so neither noise nor statistics of
blocks tell them; their likeness does. After Cozzolino, Poggi and Verdoliva (2015): descriptors that no rotation and no
mirroring changes (circular harmonics), a field of nearest neighbours that is propagated as PatchMatch does, and the
error of an affine fit to it. The first field compares places all over the image instead of starting at random.
Neighbours propose their offset, and the one that their offset and the next one's continue to, so that copies may be
turned, mirrored or scaled; what was changed much is found less well, because descriptors change with the scale.

Which place is most similar must not hang on the order in which an engine adds. Pixels are whole grey levels, kernels
multiples of 1/4096, waves of 1/8, descriptors of 1/2. Every sum stays below 2^24 such parts, which float32 holds
exactly, and factors have at most 9 bits, so that TF32 is exact too. Convolutions by FFT or Winograd are not. Of equals
the first in reading order is taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from qmanet_benco.model.noise_view import Denormalise
from qmanet_benco.model.statistics.blocks import BLOCK, whole_blocks

STEP = 4
"""Pixels between the places of the field, and between those that the first field may choose."""
SEED_STEP = 11
"""Pixels between the places of the first field; odd, so that whatever the offset of a copy is, some of its places meet
a place that the first field may choose."""
RADIUS, RINGS, ORDERS = 8, 3, (1, 2, 3)
"""Of a descriptor's disc in pixels; rings of a disc; orders of the harmonics beside the mean."""
SMALLEST_OFFSET = 20
"""Pixels, along one side at least, between a place and its match."""
ROUNDS = (2, 4, 1, 2, 1, 2, 1)
"""How many places away a neighbour proposes its offset, and twice as many the next one, round for round."""
TOLERANCE = 4
"""Pixels up to which two offsets agree."""
_KERNEL, _WAVE, _DESCRIPTOR = 2**12, 2**3, 2
"""Kernels, waves and descriptors are rounded to multiples of one over these."""
_PART, _PART_ON_CPU = 2**26, 2**19
"""Likenesses that are held at once: 256 MB, and what stays in the cache of one core."""
_NEVER = 1e9


class CopyMoveField(nn.Module):
    """Image -> offsets to what is most similar, as twelve channels that say how far they agree; nothing is learnt.

    At places 4 pixels apart, then averaged over each block: share of the neighbours (3 x 3, 5 x 5, 9 x 9) whose offset
    agrees; logarithm of the share of the whole image with about the same offset; logarithms of the error of an affine
    fit to the neighbours' offsets (3 x 3, 5 x 5, 9 x 9); logarithms of the squared difference to the match, of it
    relative to the local contrast, and of this contrast; logarithms of the offset's length, and of what is left of it
    when the match's own offset is added. All are brought to about unit scale; sizes and limits are a CHOICE.
    """

    CHANNELS = 12
    WINDOWS = (3, 5, 9)

    harmonics: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.denormalise = Denormalise()
        self.register_buffer("harmonics", torch.tensor(_harmonics(), dtype=torch.float32)[:, None], persistent=False)
        for window in self.WINDOWS:
            self.register_buffer(f"plane{window}", torch.tensor(_plane(window), dtype=torch.float32), persistent=False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W, ImageNet-normalised -> B x 12 x ceil(H / 8) x ceil(W / 8), float32."""
        with torch.autocast(image.device.type, enabled=False):
            planes = _planes(whole_blocks(self.denormalise(image)))
            offsets, difference = _field(self._descriptors(planes))
            contrast = _contrast(planes[:, :1])
            channels = [
                *(self._agreement(offsets, window) for window in self.WINDOWS),
                _votes(offsets),
                *(self._affine_error(offsets, window) for window in self.WINDOWS),
                torch.log(difference + 1) / 2,
                torch.log((difference + 1) / (contrast + 4)) / 2,
                torch.log(contrast + 4) / 3,
                torch.log(offsets.square().sum(1, keepdim=True) + 1) / 4 - 2,
                _round_trip(offsets),
            ]
            return F.avg_pool2d(torch.cat(channels, dim=1), BLOCK // STEP)

    def _descriptors(self, planes: Tensor) -> Tensor:
        """Luminance and chrominance B x 3 x h x w -> B x 13 x h x w: means of rings, moduli of harmonics."""
        padding = (RADIUS - 1, RADIUS, RADIUS - 1, RADIUS)
        luminance, *colours = F.pad(planes, padding, mode="reflect").split(1, dim=1)
        seen = F.conv2d(luminance, self.harmonics)
        rings, waves = seen[:, :RINGS], _in_parts(seen[:, RINGS:], _WAVE)
        moduli = (waves[:, 0::2].square() + waves[:, 1::2].square()).sqrt() * 1.5
        inner_and_outer = self.harmonics[: RINGS : RINGS - 1]
        return _in_parts(
            torch.cat([rings, moduli, *(F.conv2d(colour, inner_and_outer) for colour in colours)], dim=1), _DESCRIPTOR
        )

    def _agreement(self, offsets: Tensor, window: int) -> Tensor:
        """Share of the neighbours with about the same offset, B x 2 x h x w -> B x 1 x h x w."""
        beside = _neighbours(offsets, window)
        return ((beside - offsets[:, :, None]).abs().amax(1) <= TOLERANCE).float().mean(1, keepdim=True)

    def _affine_error(self, offsets: Tensor, window: int) -> Tensor:
        """Logarithm of the mean squared error of a plane through the neighbours' offsets, B x 1 x h x w."""
        plane = getattr(self, f"plane{window}")
        beside = _neighbours(offsets, window) - offsets[:, :, None]
        kept = torch.einsum("kn,bcnhw->bckhw", plane, beside).square().sum((1, 2))
        error = (beside.square().sum((1, 2)) - kept).clamp(min=0) / window**2
        return torch.log(error + 0.5)[:, None] / 4


def _planes(rgb: Tensor) -> Tensor:
    """Luminance and two differences to it in whole grey levels, nearly as ITU-R BT.601 weighs them; B x 3 x H x W."""
    red, green, blue = rgb.split(1, dim=1)
    luminance = ((77 * red + 150 * green + 29 * blue) / 256).round()
    return torch.cat([luminance, (9 * (blue - luminance) / 16).round(), (23 * (red - luminance) / 32).round()], dim=1)


def _in_parts(values: Tensor, parts: int) -> Tensor:
    return (values * parts).round() / parts


def _harmonics() -> NDArray[np.float64]:
    """Rings, then cosine and sine of each order on the outer rings, 15 x 16 x 16."""
    at = np.arange(2 * RADIUS) - RADIUS + 0.5
    distance, angle = np.hypot(at[:, None], at), np.arctan2(at[:, None], at)
    ring_width = RADIUS / RINGS
    rings = [
        np.exp(-np.square((distance - (index + 0.5) * ring_width) / ring_width * 1.2)) * (distance < RADIUS)
        for index in range(RINGS)
    ]
    rings = [ring / ring.sum() for ring in rings]
    waves = [ring * wave(order * angle) for order in ORDERS for ring in rings[1:] for wave in (np.cos, np.sin)]
    return np.round(np.stack([*rings, *waves]) * _KERNEL) / _KERNEL


def _plane(window: int) -> NDArray[np.float64]:
    """An orthonormal basis of the planes over a window, 3 x window^2."""
    at = np.arange(window) - window // 2
    across, down = np.meshgrid(at, at)
    basis, _ = np.linalg.qr(np.stack([np.ones(window**2), down.ravel(), across.ravel()], axis=1))
    return basis.T


def _field(descriptors: Tensor) -> tuple[Tensor, Tensor]:
    """Descriptors B x D x h x w -> offsets (down, across) B x 2 x h/4 x w/4 in pixels, squared difference."""
    height, width = descriptors.shape[2:]
    own, seeds = (descriptors[:, :, step // 2 :: step, step // 2 :: step] for step in (STEP, SEED_STEP))
    rows, columns = own.shape[2:]
    device = own.device
    row, column = _places(rows, STEP, device), _places(columns, STEP, device)
    down = row[:, None].expand(rows, columns).reshape(1, -1)
    across = column[None].expand(rows, columns).reshape(1, -1)
    first_down, first_across = _first(seeds, own)
    own = own.flatten(2).transpose(1, 2).contiguous()
    every = descriptors.flatten(2).transpose(1, 2).reshape(-1, descriptors.shape[1]).contiguous()
    images = torch.arange(own.shape[0], device=device)[:, None, None] * (height * width)

    def difference(to_row: Tensor, to_column: Tensor) -> Tensor:
        """Places B x K x N -> squared difference to their own descriptors; those too near are never chosen."""
        index = images + to_row * width + to_column
        there = every.index_select(0, index.flatten()).reshape(own.shape[0], -1, *own.shape[1:])
        squared = there.sub_(own[:, None]).square_().sum(3)  # in place: half the time
        near = ((to_row - down[:, None]).abs() < SMALLEST_OFFSET) & (
            (to_column - across[:, None]).abs() < SMALLEST_OFFSET
        )
        return squared.masked_fill(near, _NEVER)

    def best(to_row: Tensor, to_column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        to_row, to_column = to_row.clamp(0, height - 1), to_column.clamp(0, width - 1)
        smallest, chosen = difference(to_row, to_column).min(1, keepdim=True)
        return to_row.gather(1, chosen), to_column.gather(1, chosen), smallest

    to_row, to_column = (first_down + down)[:, None], (first_across + across)[:, None]
    beside = torch.arange(-1, 2, device=device)
    jitter_row, jitter_column = beside[:, None].expand(3, 3).reshape(1, 9, 1), beside.repeat(3).reshape(1, 9, 1)
    squared = own.new_zeros(())
    for distance in ROUNDS:
        offsets = torch.cat([to_row - down[:, None], to_column - across[:, None]], dim=1)
        grid = offsets.reshape(-1, 2, rows, columns)
        near = _shifted(grid, distance)
        proposed = torch.cat([near, 2 * near - _shifted(grid, 2 * distance)], dim=2).flatten(3)
        to_row, to_column, _ = best(proposed[:, 0] + down[:, None], proposed[:, 1] + across[:, None])
        to_row, to_column, squared = best(to_row + jitter_row, to_column + jitter_column)
    offsets = torch.cat([to_row - down[:, None], to_column - across[:, None]], dim=1)
    return offsets.reshape(-1, 2, rows, columns).to(descriptors.dtype), squared.reshape(-1, 1, rows, columns)


def _places(count: int, step: int, device: torch.device) -> Tensor:
    return torch.arange(count, device=device) * step + step // 2


def _first(seeds: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """For places of the first field the most similar place of all; others take the offset of the nearest of them.

    Offsets down and across, each B x N, in pixels.
    """
    device = own.device
    (seed_rows, seed_columns), (rows, columns) = seeds.shape[2:], own.shape[2:]
    row, column = _places(rows, STEP, device), _places(columns, STEP, device)
    seed_row, seed_column = _places(seed_rows, SEED_STEP, device), _places(seed_columns, SEED_STEP, device)
    half = own.square().sum(1).flatten(1)[:, None] / 2
    near = _near(seed_row, rows)[:, None, :, None] * columns + _near(seed_column, columns)[:, None]
    near = near.flatten(2).flatten(0, 1)
    sought, offered = seeds.flatten(2).transpose(1, 2), own.flatten(2)
    parts = [(sought, near)]
    if not torch.jit.is_tracing():  # a traced loop would keep its length
        in_cache = device.type == "cpu" and not torch.compiler.is_compiling()  # compiled, each part costs seconds
        count = max(1, (_PART_ON_CPU if in_cache else _PART) // (own.shape[0] * rows * columns))
        parts = list(zip(sought.split(count, dim=1), near.split(count), strict=True))
    most_similar = []
    for some, too_near in parts:
        likeness = torch.baddbmm(-half, some, offered)
        likeness = likeness.scatter_(2, too_near.expand(own.shape[0], -1, -1), -_NEVER)
        likeness = likeness.reshape(own.shape[0], -1, rows, columns)
        best_row = likeness.amax(3).argmax(2)
        in_row = likeness.gather(2, best_row[:, :, None, None].expand(-1, -1, 1, columns))
        most_similar.append(best_row * columns + in_row.argmax(3).squeeze(2))
    chosen = torch.cat(most_similar, dim=1).reshape(-1, seed_rows, seed_columns)
    nearest_row, nearest_column = (
        (place // SEED_STEP).clamp(max=count - 1) for place, count in ((row, seed_rows), (column, seed_columns))
    )
    offsets = (row[chosen // columns] - seed_row[:, None], column[chosen % columns] - seed_column)
    down, across = (offset[:, nearest_row][:, :, nearest_column].flatten(1) for offset in offsets)
    return down, across


def _near(seeds: Tensor, count: int) -> Tensor:
    """Which of ``count`` places along one side are too near to each place of the first field (pixels), S x 10."""
    lowest = (seeds - SMALLEST_OFFSET + STEP // 2).clamp(min=0) // STEP
    highest = ((seeds + SMALLEST_OFFSET - 1 - STEP // 2) // STEP).clamp(max=count - 1)
    reach = torch.arange(2 * SMALLEST_OFFSET // STEP, device=seeds.device)
    return (lowest[:, None] + reach).minimum(highest[:, None])


def _shifted(offsets: Tensor, distance: int) -> Tensor:
    """B x C x h x w -> the same of the nine places at a distance of 0 or that, B x C x 9 x h x w."""
    padded = F.pad(offsets.float(), (distance,) * 4, mode="replicate").to(offsets.dtype)
    return torch.stack(list(_windows(padded, 2 * distance, distance)), dim=2)


def _neighbours(values: Tensor, window: int) -> Tensor:
    """B x C x h x w -> all values of the window around each place, B x C x window^2 x h x w."""
    padded = F.pad(values, (window // 2,) * 4, mode="replicate")
    return torch.stack(list(_windows(padded, window - 1, 1)), dim=2)


def _windows(padded: Tensor, reach: int, step: int) -> Iterator[Tensor]:
    """Views of a plane that was padded by half of ``reach`` on each side."""
    height, width = padded.shape[2] - reach, padded.shape[3] - reach
    for down in range(0, reach + 1, step):
        for across in range(0, reach + 1, step):
            yield padded[:, :, down : down + height, across : across + width]


def _contrast(luminance: Tensor) -> Tensor:
    """Variance around each place, B x 1 x H x W -> B x 1 x H / 4 x W / 4, in squared grey levels."""
    around = F.pad(luminance, (RADIUS,) * 4, mode="reflect")
    window = 2 * RADIUS + STEP
    mean, square = F.avg_pool2d(around, window, STEP), F.avg_pool2d(around.square(), window, STEP)
    return (square - mean.square()).clamp(min=0)


def _votes(offsets: Tensor) -> Tensor:
    """Logarithm of the share of the image's places with about the same offset, B x 2 x h x w -> B x 1 x h x w."""
    rows, columns = offsets.shape[2:]
    bins = (offsets.flatten(2) / TOLERANCE).round().long()
    high, wide = 2 * rows + 3, 2 * columns + 3
    index = (bins[:, 0] + rows + 1) * wide + bins[:, 1] + columns + 1
    count = torch.zeros(index.shape[0], high * wide, device=index.device)
    count = count.scatter_add(1, index, torch.ones_like(index, dtype=count.dtype)).reshape(-1, 1, high, wide)
    count = 9 * F.avg_pool2d(count, 3, 1, 1)
    votes = count.flatten(1).gather(1, index) / (rows * columns)
    return (torch.log(votes + 1e-3) / 2 + 2).reshape(offsets[:, :1].shape)


def _round_trip(offsets: Tensor) -> Tensor:
    """Logarithm of the distance between a place and its match's match, B x 2 x h x w -> B x 1 x h x w."""
    rows, columns = offsets.shape[2:]
    device = offsets.device
    row = (offsets[:, 0] / STEP + torch.arange(rows, device=device)[:, None]).round().clamp(0, rows - 1)
    column = (offsets[:, 1] / STEP + torch.arange(columns, device=device)).round().clamp(0, columns - 1)
    index = (row * columns + column).long().flatten(1)[:, None].expand(-1, 2, -1)
    back = offsets.flatten(2).gather(2, index).reshape(offsets.shape)
    return torch.log((offsets + back).square().sum(1, keepdim=True) + 1) / 4
