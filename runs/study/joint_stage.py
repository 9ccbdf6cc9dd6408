"""Trains all of a b0-statistics network but the encoder of its statistics, on forgeries of several sizes at once.

Usage: python runs/study/joint_stage.py WEIGHTS OUT.safetensors LIST.json... [--steps 1000] [--seed 0]
    WEIGHTS  what statistics_stage.py wrote
    LIST     forgeries of one size in pixels, as the framework's JsonDataset reads them; a step takes eight of 256 x 256
             or as many pixels of another size, each list in proportion to its length
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lists import Listed, read_list, read_pair
from qmanet_benco.errors import RequestError
from qmanet_benco.memory import keep_freed_memory
from qmanet_benco.model.losses import edge_band, total_loss
from qmanet_benco.model.weights.builder import load_model
from qmanet_benco.model.weights.files import write_safetensors

PIXELS = 8 * 256 * 256
LEARNING_RATE, WARMUP = 5e-4, 50


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("weights", type=Path)
    made.add_argument("out", type=Path)
    made.add_argument("lists", type=Path, nargs="+")
    made.add_argument("--steps", type=int, default=1000)
    made.add_argument("--seed", type=int, default=0)
    return made


def main() -> None:
    """Trains and writes, every hundred steps as well."""
    options = parser().parse_args()
    keep_freed_memory()
    torch.manual_seed(options.seed)
    network = load_model(options.weights).train()
    if network.statistics is None:
        raise RequestError(f"{options.weights}, a network without statistics", "what statistics_stage.py wrote")
    network.statistics.requires_grad_(False)
    network.statistics.to_noise.requires_grad_(True)
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learning, LEARNING_RATE, weight_decay=0.05, fused=True)
    batches = Batches([read_list(path) for path in options.lists], np.random.default_rng(options.seed))
    losses = []
    for step in range(options.steps):
        cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * step / options.steps)) / 2
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARMUP) * cosine
        image, mask = batches.draw()
        seen = network(image)
        band = edge_band(mask, network.config.edge_width)
        loss = total_loss(seen.mask_logits, seen.edge_logits, mask, band, network.config).total
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 5.0)
        optimiser.step()
        losses.append(loss.item())
        if step % 100 == 99 or step + 1 == options.steps:
            sys.stderr.write(f"step {step + 1} of {options.steps}: loss {np.mean(losses[-100:]):.4f}\n")
            write_safetensors(options.out, network.state_dict(), network.image_size)


class Batches:
    """Images and masks of one of the lists at a time, mirrored and turned."""

    def __init__(self, lists: list[list[Listed]], random: np.random.Generator) -> None:
        self.lists = lists
        self.random = random
        self.left: list[list[int]] = [[] for _ in lists]

    def draw(self) -> tuple[Tensor, Tensor]:
        """B x 3 x H x W, ImageNet-normalised, and B x 1 x H x W in {0, 1}."""
        lengths = np.array([len(entries) for entries in self.lists])
        chosen = int(self.random.choice(len(lengths), p=lengths / lengths.sum()))
        first, _ = read_pair(self.lists[chosen][0])
        count = max(1, PIXELS // (first.shape[1] * first.shape[2]))
        if len(self.left[chosen]) < count:
            self.left[chosen] = self.random.permutation(lengths[chosen]).tolist()
        taken, self.left[chosen] = self.left[chosen][:count], self.left[chosen][count:]
        images, masks = zip(*(self._turned(*read_pair(self.lists[chosen][index])) for index in taken), strict=True)
        return torch.stack(images), torch.stack(masks)

    def _turned(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        turns, mirrored = int(self.random.integers(4)), self.random.random() < 0.5
        image, mask = (torch.rot90(plane, turns, (1, 2)) for plane in (image, mask))
        return (image.flip(2), mask.flip(2)) if mirrored else (image, mask)


if __name__ == "__main__":
    try:
        main()
    except RequestError as error:
        sys.exit(str(error))
