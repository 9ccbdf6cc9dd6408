"""Trains the encoder of block statistics alone, on statistics that are computed once: 0.2 s a step of 16 on one core.

Usage: python runs/study/statistics_stage.py OUT.safetensors LIST.json... [--start WEIGHTS] [--steps 2000] [--help]
    LIST   forgeries of one size in pixels, as the framework's JsonDataset reads them (``qmanet data demo``); a step
           takes sixteen of 256 x 256 or as many pixels of another size, each list in proportion to its pixels
    start  trained weights: of the miniature, to which the statistics are added, or of miniature-statistics, to go on
    share  factor of what the start says by itself; 1 where it has statistics already
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lists import read_list, read_pair
from qmanet_benco.errors import RequestError
from qmanet_benco.memory import keep_freed_memory
from qmanet_benco.model.config import variant_config
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.statistics.blocks import BLOCK, BlockStatistics
from qmanet_benco.model.statistics.encoder import StatisticsEncoder
from qmanet_benco.model.weights.files import write_safetensors
from qmanet_benco.model.weights.trained import trained_state

BLOCKS = 16 * 32 * 32
"""Of a step."""
WARMUP, DICE_WEIGHT = 100, 0.3


class Examples(NamedTuple):
    """What is kept of a list of forgeries."""

    statistics: Tensor
    """N x 101 x h x w in 16 bits."""
    masks: Tensor
    """The tampered part of each block, N x 1 x h x w in [0, 1]."""


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("out", type=Path)
    made.add_argument("lists", type=Path, nargs="+")
    made.add_argument("--start", default="", help="trained weights of miniature or miniature-statistics")
    made.add_argument("--share", type=float, default=1.0, help="factor of what the start says")
    made.add_argument("--steps", type=int, default=2000)
    made.add_argument("--learning-rate", type=float, default=2e-3)
    made.add_argument("--seed", type=int, default=0)
    return made


def main() -> None:
    """Trains and writes."""
    options = parser().parse_args()
    keep_freed_memory()
    torch.manual_seed(options.seed)
    network = QMANetwork(variant_config("miniature-statistics"))
    if options.start:
        started = trained_state(options.start).tensors
        network.load_state_dict({**network.state_dict(), **started, "_extra_state": network.get_extra_state()})
    assert network.statistics is not None
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.startswith("decoder.head."):
                tensor.mul_(options.share)
    examples = [read(path, network.statistics.statistics) for path in options.lists]
    random = np.random.default_rng(options.seed)
    train(network.statistics, examples, options.steps, options.learning_rate, random)
    write_safetensors(options.out, network.state_dict(), BLOCK * examples[0].statistics.shape[2])


def read(path: Path, statistics: BlockStatistics) -> Examples:
    """Computes the statistics of a list's images."""
    of_images, of_masks = [], []
    entries = read_list(path)
    for index, listed in enumerate(entries):
        image, mask = read_pair(listed)
        of_images.append(statistics(image[None]).half())
        of_masks.append(F.avg_pool2d(mask[None], BLOCK))
        if index % 500 == 499:
            sys.stderr.write(f"{path}: {index + 1} of {len(entries)}\n")
    return Examples(torch.cat(of_images), torch.cat(of_masks))


def train(
    encoder: StatisticsEncoder, examples: list[Examples], steps: int, learning_rate: float, random: np.random.Generator
) -> None:
    """AdamW with a cosine; cross entropy, and Dice of the forgeries."""
    optimiser = torch.optim.AdamW(encoder.parameters(), learning_rate, weight_decay=0.05, fused=True)
    pixels = np.array([float(masks.numel()) for _, masks in examples])
    left: list[list[int]] = [[] for _ in examples]
    losses: list[float] = []
    for step in range(steps):
        for group in optimiser.param_groups:
            cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2
            group["lr"] = learning_rate * min(1, (step + 1) / WARMUP) * cosine
        taken = int(random.choice(len(examples), p=pixels / pixels.sum()))
        statistics, masks = examples[taken]
        count = max(1, BLOCKS // masks[0].numel())
        if len(left[taken]) < count:
            left[taken] = random.permutation(len(masks)).tolist()
        chosen, left[taken] = left[taken][:count], left[taken][count:]
        seen, target = turned(statistics[chosen].float(), masks[chosen], random)
        logits = encoder.head(encoder.encode(seen))
        forged = target.flatten(1).sum(1) > 0
        loss = F.binary_cross_entropy_with_logits(logits, target)
        if forged.any():
            loss = loss + DICE_WEIGHT * _dice(logits[forged], target[forged])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if step % 250 == 249:
            sys.stderr.write(f"step {step + 1} of {steps}: loss {np.mean(losses[-250:]):.4f}\n")


def turned(statistics: Tensor, masks: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirrored or transposed, each half of the time; the phases of the grid go along."""
    phases = BlockStatistics.PHASES
    across, down = np.arange(phases.start, phases.stop).reshape(2, BLOCK).tolist()
    before, after = list(range(phases.start)), list(range(phases.stop, statistics.shape[1]))
    if random.random() < 0.5:
        statistics, masks = statistics.flip(3)[:, [*before, *across[::-1], *down, *after]], masks.flip(3)
    if random.random() < 0.5:
        statistics, masks = statistics.flip(2)[:, [*before, *across, *down[::-1], *after]], masks.flip(2)
    if random.random() < 0.5:
        statistics, masks = statistics.transpose(2, 3)[:, [*before, *down, *across, *after]], masks.transpose(2, 3)
    return statistics, masks


def _dice(logits: Tensor, target: Tensor) -> Tensor:
    probability, target = logits.sigmoid().flatten(1), target.flatten(1)
    return (1 - (2 * (probability * target).sum(1) + 1) / (probability.sum(1) + target.sum(1) + 1)).mean()


if __name__ == "__main__":
    try:
        main()
    except RequestError as error:
        sys.exit(str(error))
