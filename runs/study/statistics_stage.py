"""Trains the encoder of statistics alone, on statistics that are computed once and kept beside each list.

Usage: python runs/study/statistics_stage.py OUT.safetensors LIST.json... [--start WEIGHTS] [--steps 2000] [--help]
    LIST   forgeries of one size in pixels, as the framework's JsonDataset reads them (``qmanet data demo``); a step
           takes sixteen of 256 x 256 or as many pixels of another size, each list in proportion to its pixels; what is
           measured of an image is kept in LIST.statistics.npy, 1.4 MB for each of 512 x 512
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
from numpy.typing import NDArray
from torch import Tensor, nn

from lists import Listed, read_list, read_pair
from qmanet_benco.errors import RequestError
from qmanet_benco.files import write_atomically, writing
from qmanet_benco.memory import keep_freed_memory
from qmanet_benco.model.config import variant_config
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.statistics.blocks import BLOCK
from qmanet_benco.model.statistics.encoder import StatisticsEncoder
from qmanet_benco.model.statistics.measured import ImageStatistics, mirrored, transposed
from qmanet_benco.model.weights.files import write_safetensors
from qmanet_benco.model.weights.trained import trained_state

BLOCKS = 16 * 32 * 32
"""Of a step."""
WARMUP, DICE_WEIGHT = 100, 0.3
IMAGE_WEIGHT, SUSPICIOUS = 0.1, 0.02
"""Weight of the images' cross entropy, and the share of its blocks, the highest, whose mean logit stands for it."""


class Examples(NamedTuple):
    """What is kept of a list of forgeries."""

    statistics: NDArray[np.float16]
    """N x 175 x h x w, on disk."""
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
    examples = [read(path, network.statistics.measured, path.with_suffix(".statistics.npy")) for path in options.lists]
    random = np.random.default_rng(options.seed)
    train(network.statistics, examples, options.steps, options.learning_rate, random)
    write_safetensors(options.out, network.state_dict(), BLOCK * examples[0].masks.shape[2])


def read(path: Path, measured: ImageStatistics, kept: Path) -> Examples:
    """Computes the statistics of a list's images, or takes what an earlier run left in the file ``kept``.

    Raises:
        RequestError: an image has another size than the first, or ``kept`` is of other images.
    """
    entries = read_list(path)
    first = statistics_of(measured, entries[0])
    shape = (len(entries), *first.shape)

    def compute(unfinished: Path) -> None:
        with unfinished.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})
            for index, listed in enumerate(entries):
                values = statistics_of(measured, listed)
                if values.shape != first.shape:
                    size = " x ".join(str(BLOCK * side) for side in first.shape[1:])
                    raise RequestError(
                        f"{listed.image} has another size", f"about {size} pixels, as the first of {path}"
                    )
                stream.write(values.tobytes())
                if index % 500 == 499:
                    sys.stderr.write(f"{path}: {index + 1} of {len(entries)}\n")

    if not kept.exists():
        with writing(kept):
            write_atomically(kept, compute, only_writer=True)
    statistics = np.load(kept, mmap_mode="r")
    if statistics.shape != shape or not np.allclose(statistics[0], first, atol=0.05):
        raise RequestError(f"{kept} is of other images or another version", f"the statistics of {path}", "remove it")
    masks = [F.avg_pool2d(read_pair(listed)[1][None], BLOCK, ceil_mode=True) for listed in entries]
    return Examples(statistics, torch.cat(masks))


def statistics_of(measured: ImageStatistics, listed: Listed) -> NDArray[np.float16]:
    """Of one image, 175 x h x w."""
    return measured(read_pair(listed)[0][None])[0].half().numpy()


def train(
    encoder: StatisticsEncoder, examples: list[Examples], steps: int, learning_rate: float, random: np.random.Generator
) -> None:
    """AdamW with a cosine; cross entropy of blocks and images, and Dice of the forgeries."""
    of_image = nn.Parameter(torch.ones(2))
    optimiser = torch.optim.AdamW([*encoder.parameters(), of_image], learning_rate, weight_decay=0.05, fused=True)
    pixels = np.array([float(masks.numel()) for _, masks in examples])
    left: list[list[int]] = [[] for _ in examples]
    losses: list[float] = []
    for step in range(steps):
        for group in optimiser.param_groups:
            cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2
            group["lr"] = learning_rate * min(1, (step + 1) / WARMUP) * cosine
        taken = int(random.choice(len(examples), p=pixels / pixels.sum()))
        statistics, masks = examples[taken]
        count = max(2, BLOCKS // masks[0].numel())
        if len(left[taken]) < count:
            left[taken] = random.permutation(len(masks)).tolist()
        chosen, left[taken] = sorted(left[taken][:count]), left[taken][count:]
        seen, target = turned(torch.from_numpy(statistics[chosen]).float(), masks[chosen], random)
        logits = encoder.head(encoder.encode(seen))
        forged = target.flatten(1).sum(1) > 0
        suspicious = logits.flatten(1).topk(max(1, round(SUSPICIOUS * logits[0].numel())), 1).values.mean(1)
        loss = F.binary_cross_entropy_with_logits(logits, target)
        loss = loss + IMAGE_WEIGHT * F.binary_cross_entropy_with_logits(
            of_image[0] * suspicious + of_image[1], forged.float()
        )
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
    """One of the eight orientations, each as often."""
    if random.random() < 0.5:
        statistics, masks = mirrored(statistics), masks.flip(3)
    statistics, masks = transposed(statistics), masks.transpose(2, 3)
    if random.random() < 0.5:
        statistics, masks = mirrored(statistics), masks.flip(3)
    if random.random() < 0.5:
        statistics, masks = transposed(statistics), masks.transpose(2, 3)
    return statistics, masks


def _dice(logits: Tensor, target: Tensor) -> Tensor:
    probability, target = logits.sigmoid().flatten(1), target.flatten(1)
    return (1 - (2 * (probability * target).sum(1) + 1) / (probability.sum(1) + target.sum(1) + 1)).mean()


if __name__ == "__main__":
    try:
        main()
    except RequestError as error:
        sys.exit(str(error))
