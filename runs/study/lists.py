"""Lists of forgeries as the framework's JsonDataset reads them, for the stages that train the model that ships.

Usage: python runs/study/lists.py OUT.json LIST.json...     joins lists to one
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from qmanet_benco.data.masks import read_mask
from qmanet_benco.data.prepare.manifest import NEGATIVE
from qmanet_benco.images import load_whole, normalised, open_image


class Listed(NamedTuple):
    """One entry of a list."""

    image: Path
    mask: Path | None
    """None: authentic."""


def read_list(path: Path) -> list[Listed]:
    """The entries; relative paths are relative to the list's folder."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [Listed(path.parent / image, None if mask == NEGATIVE else path.parent / mask) for image, mask in entries]


def read_pair(listed: Listed) -> tuple[Tensor, Tensor]:
    """The image, 3 x H x W, ImageNet-normalised, and its mask, 1 x H x W in {0, 1}."""
    pixels = np.asarray(load_whole(open_image(listed.image)).convert("RGB"))
    tampered = np.zeros(pixels.shape[:2], bool) if listed.mask is None else read_mask(listed.mask, "bright")
    image = torch.from_numpy(normalised(pixels)).permute(2, 0, 1)
    return image, torch.from_numpy(tampered.astype(np.float32))[None]


def main(out: str, *lists: str) -> None:
    """Joins lists."""
    joined = [listed for path in lists for listed in read_list(Path(path))]
    entries = [[str(image.resolve()), str(mask.resolve()) if mask else NEGATIVE] for image, mask in joined]
    Path(out).write_text(json.dumps(entries), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
