"""The post function: with a cache it attaches the sample's NoisePrint++ residual in the data loader's workers.

Where the residual is not known yet, the key comes with it under which the model stores it. Nothing else is computed in
a worker: the network makes the SRM residual itself, BayarConv is learnt, and NoisePrint++ takes hundreds of times as
long as decoding the image, which a worker would only take from the same cores
(``python runs/measure/transform_costs.py``).

The framework gives a post function nothing but the sample, and workers that it spawns know the environment only: hence
an environment variable names the folder. It makes batches of samples that have the same entries in the same shapes:
hence NaN for what is not known. Weights are loaded after the model is built, and the folder is that of the weights:
hence the model sets the variable again after ``load_state_dict``.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IMDLBenCo.registry import POSTFUNCS
from torch import Tensor

from qmanet_benco.files import write_atomically

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "QMANET_NOISEPRINT_CACHE"
"""Environment variable with the folder of the residuals of one set of weights; it reaches spawned workers too."""


def attach_noiseprint(sample: dict[str, Any], folder: Path) -> None:
    """Add ``noiseprint_key`` and ``noiseprint_residual`` (1 x H x W; NaN where it is not known yet) to a sample.

    The key is the SHA-256 of the exact pixels, so an augmented image never meets another image's residual.

    Args:
        sample: its ``image`` is 3 x H x W, resized or padded and ImageNet-normalised. Changed in place.
        folder: the residuals of the weights in use.
    """
    image: Tensor = sample["image"]
    key = pixel_key(image)
    sample["noiseprint_key"] = torch.frombuffer(bytearray(key), dtype=torch.uint8)
    residual = read_residual(folder, key)
    expected = (1, *image.shape[1:])
    if residual is None or residual.shape != expected:
        residual = torch.full(expected, float("nan"))
    sample["noiseprint_residual"] = residual


@POSTFUNCS.register_module(force=True)  # importing twice changes nothing
def qmanet_post_func(sample: dict[str, Any]) -> None:
    """Attach a kept residual to a sample: the framework's hook after resize and normalisation, in the workers."""
    folder = cache_in_use()
    if folder is not None:
        attach_noiseprint(sample, folder)


def pixel_key(image: Tensor) -> bytes:
    """SHA-256 of an image's size and exact pixels (3 x H x W, float32), 32 bytes."""
    digest = hashlib.sha256(repr(tuple(image.shape)).encode())
    digest.update(image.contiguous().numpy().tobytes())
    return digest.digest()


def read_residual(folder: Path, key: bytes) -> Tensor | None:
    """Read a stored residual, 1 x H x W in float32; None where there is none or it is damaged."""
    path = _path(folder, key)
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        logger.warning("%s is damaged (%s); it is computed again", path, error)
        return None


def store_residual(folder: Path, key: bytes, residual: Tensor) -> None:
    """Store a residual, 1 x H x W; a full disk is reported once per image and costs nothing but the cache."""
    array = residual.detach().float().cpu().numpy()

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)

    try:
        write_atomically(_path(folder, key), write)
    except OSError as error:
        logger.warning("a NoisePrint++ residual cannot be stored in %s: %s", folder, error)


def use_cache(folder: str | Path, fingerprint: str) -> Path:
    """Look up residuals of the weights with this fingerprint below ``folder`` from now on."""
    home = Path(folder).expanduser().resolve() / fingerprint
    os.environ[CACHE_VARIABLE] = str(home)
    return home


def cache_in_use() -> Path | None:
    """Return the folder of the residuals of the weights in use; None without a cache."""
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder) if folder else None


def _path(folder: Path, key: bytes) -> Path:
    name = key.hex()
    return folder / name[:2] / f"{name}.npy"
