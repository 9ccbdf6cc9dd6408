"""Keeps pictures beside the records: small ones for the report's gallery, and predictions where asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from qmanet_benco.benco.seam.pairs import Pair
from qmanet_benco.evaluation.attacks import NONE
from qmanet_benco.evaluation.suite.cell import Cell, ImagePrediction
from qmanet_benco.evaluation.suite.open_sets import spread
from qmanet_benco.evaluation.suite.records import preview, safe_name
from qmanet_benco.evaluation.suite.suite import ModelEntry, Suite
from qmanet_benco.files import write_atomically
from qmanet_benco.images import fitting, open_image
from qmanet_benco.pixels import as_rgb, mask_colours

LONG_SIDE = 256
"""Pixels."""


@dataclass(frozen=True)
class Pictures:
    """What a run keeps of its images."""

    out: Path
    """The run's folder."""
    suite: Suite
    models: Sequence[ModelEntry]

    def keep(self, cell: Cell, prediction: ImagePrediction) -> None:
        """Write the pictures of one image that the suite asks for."""
        images, entry, probability = cell.images, cell.model, prediction.probability
        name, pair = images.entry.name, images.pairs[prediction.index]
        if self.suite.save_predictions:
            folder = self.out / "predictions" / self._folder_name(entry) / safe_name(name) / cell.attack_label
            keep_prediction(folder, images.stem(prediction.index), probability)
        previewed = spread(images.indices, self.suite.previews) if self.suite.previews else ()
        if cell.attack == NONE and prediction.index in previewed:
            keep_inputs(self.out, name, pair)
            keep_mask(self.out, f"{entry.name}@{entry.seed}", name, pair, prediction.inside)

    def _folder_name(self, entry: ModelEntry) -> str:
        several = sum(entry.name == other.name for other in self.models) > 1
        return safe_name(f"{entry.name}@{entry.seed}" if several else entry.name)


def keep_inputs(run: Path, name: str, pair: Pair) -> None:
    """Write small pictures of photo and truth where they are not there yet."""
    photo, truth = (preview(run, kind, name, Path(pair.image).stem) for kind in ("photo", "truth"))
    if photo.is_file() and truth.is_file():
        return
    with open_image(pair.image) as image:
        size = fitting(image.size, LONG_SIDE)
        _save(as_rgb(image).resize(size, Image.Resampling.LANCZOS), photo)
    if Path(pair.mask).is_file():
        with open_image(pair.mask) as mask:
            grey = Image.fromarray(mask_colours(mask)).convert("L")
            _save(grey.resize(size, Image.Resampling.NEAREST), truth)
    else:
        _save(Image.new("L", size), truth)


def keep_mask(run: Path, model: str, name: str, pair: Pair, probability: torch.Tensor) -> None:
    """Write a small picture of a mask: the probability (H x W in [0, 1], without padding) in 8 bits."""
    with open_image(pair.image) as image:
        size = fitting(image.size, LONG_SIDE)
    grey = (probability.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    picture = Image.fromarray(np.ascontiguousarray(grey)).resize(size, Image.Resampling.BILINEAR)
    _save(picture, preview(run, "mask", name, Path(pair.image).stem, model))


def keep_prediction(folder: Path, stem: str, probability: torch.Tensor) -> None:
    """Write ``folder/<stem>.npy``: the probability, H x W in float32; a reader never meets half of it."""
    pixels = probability.numpy().astype(np.float32)
    write_atomically(folder / f"{stem}.npy", lambda path: np.save(path, pixels))


def _save(image: Image.Image, target: Path) -> None:
    write_atomically(target, image.save)
