"""Takes the random states of Python, numpy and torch, as values that need no pickled code, and puts them back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

STATES = "qmanet_random_states"
"""Entry of a checkpoint: one :func:`taken` for each process, by rank."""


def taken() -> dict[str, Any]:
    """Take the present states as numbers, strings and tensors, which ``weights_only=True`` accepts."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss)],
        "numpy_gauss": float(cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def put_back(states: Mapping[str, Any]) -> None:
    """Set what :func:`taken` gave; CUDA's only for as many devices as there are."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, position, has_gauss = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, states["numpy_gauss"]))
    torch.set_rng_state(states["torch"].cpu())
    if torch.cuda.is_available():
        for device, state in zip(range(torch.cuda.device_count()), states["cuda"], strict=False):
            torch.cuda.set_rng_state(state.cpu(), device)


@contextmanager
def unchanged() -> Iterator[None]:
    """Keep what is drawn within the block from changing what is drawn after it."""
    states = taken()
    try:
        yield
    finally:
        put_back(states)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Start Python's, numpy's and torch's CPU generators from these numbers; after the block they are as they were.

    CUDA's are left alone: it is for the preparation of a sample, which happens on the CPU.
    """
    seeds = np.random.SeedSequence([number % 2**32 for number in numbers]).generate_state(3)
    former = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(int(seeds[0]))
        np.random.seed(int(seeds[1]))
        torch.default_generator.manual_seed(int(seeds[2]))
        yield
    finally:
        random.setstate(former[0])
        np.random.set_state(former[1])
        torch.set_rng_state(former[2])
