"""One cell of a suite: one model on one set under one attack. Its records are one file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qmanet_benco.benco.seam.pairs import NEGATIVE
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import told
from qmanet_benco.evaluation.attacks import NONE, Attack
from qmanet_benco.evaluation.detection import image_score
from qmanet_benco.evaluation.metrics import image_metrics
from qmanet_benco.evaluation.suite import fingerprint
from qmanet_benco.evaluation.suite.open_sets import OpenSet
from qmanet_benco.evaluation.suite.records import Store
from qmanet_benco.evaluation.suite.suite import RESIZE, ModelEntry, Suite
from qmanet_benco.model.calibration import Calibration
from qmanet_benco.model.weights.files import stored_calibration, stored_image_size

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """What is scored together."""

    model: ModelEntry
    images: OpenSet
    attack: Attack

    @property
    def keys(self) -> dict[str, Any]:
        """The columns that all rows of the cell share."""
        names = {"model": self.model.name, "seed": self.model.seed, "set": self.images.entry.name}
        return {**names, "attack": self.attack.name, "level": self.attack.level}

    @property
    def attack_label(self) -> str:
        """The attack with its level, e.g. ``jpeg-50``."""
        return f"{self.attack.name}-{self.attack.level:g}"

    @property
    def label(self) -> str:
        """The cell in the name of its file, e.g. ``QMA-Net@0 CASIAv1 jpeg-50``."""
        return f"{self.model.name}@{self.model.seed} {self.images.entry.name} {self.attack_label}"

    def fingerprint(self, suite: Suite, device: torch.device) -> str:
        """Hash all that the rows depend on."""
        model = self.model
        return fingerprint.fingerprint(
            {
                "model": model.model,
                "source": zoo.source_hash(model.model),
                "flags": fingerprint.hash_flags(model.flags),
                "weights": fingerprint.hash_weights(model.checkpoint) if model.trained else f"random {model.seed}",
                "names": (model.name, model.seed, self.images.entry.name, model.chosen),
                "set": self.images.digest,
                "attack": (self.attack.name, self.attack.level, 0 if self.attack == NONE else suite.seed),
                "settings": (suite.image_size, suite.resize, suite.batch, suite.precision, suite.seed),
                "kept": suite.save_predictions,
                "device": device.type,
                "code": fingerprint.code_version(),
                "libraries": fingerprint.environment(),
            }
        )


@dataclass(frozen=True)
class ImagePrediction:
    """What a model said of one image, beside the truth."""

    index: int
    """In the set."""
    probability: torch.Tensor
    """H x W in [0, 1]."""
    truth: torch.Tensor
    """H x W of 0 and 1."""
    valid: torch.Tensor | None
    """H x W: 1 where the image is, 0 where it was padded; None without padding."""
    size: tuple[int, int]
    """Height and width of the file, in pixels."""
    score: float | None
    """The model's own for the whole image, where it has one."""

    @property
    def inside(self) -> torch.Tensor:
        """The probability without padding, which lies below and to the right."""
        if self.valid is None:
            return self.probability
        rows, columns = int(self.valid.any(dim=1).sum()), int(self.valid.any(dim=0).sum())
        return self.probability[:rows, :columns]

    @classmethod
    def of_batch(
        cls, batch: Mapping[str, Any], indices: tuple[int, ...], probability: torch.Tensor, scores: torch.Tensor | None
    ) -> list[ImagePrediction]:
        """Take a batch of the framework's apart; ``probability`` is B x 1 x H x W, ``scores`` B."""
        padded = "shape_mask" in batch
        predictions = []
        for place, index in enumerate(indices):
            valid = batch["shape_mask"][place, 0] if padded else None
            height, width = (int(side) for side in batch["origin_shape"][place])
            score = None if scores is None else float(scores[place])
            truth = batch["mask"][place, 0]
            predictions.append(cls(index, probability[place, 0], truth, valid, (height, width), score))
        return predictions

    def row(self, cell: Cell, calibration: Calibration | None) -> dict[str, Any]:
        """Score the image: its row in the records.

        ``authentic`` is what the list of the set says, the framework's "Negative": a tampered image whose mask is
        black stays a tampered one.

        Raises:
            RequestError: the image-level score is not finite.
        """
        score, rule = image_score(self.inside.numpy(), self.score, calibration, self.size)
        return {
            **cell.keys,
            "image": cell.images.stem(self.index),
            **image_metrics(self.probability, self.truth, self.valid),
            "authentic": cell.images.pairs[self.index].mask == NEGATIVE,
            "image_score": score,
            "image_score_rule": rule,
            "image_maximum": float(self.inside.max()),
            "height": self.size[0],
            "width": self.size[1],
            "selection": cell.model.chosen,
        }


@dataclass(eq=False)
class Contender:
    """A model that is being scored, together with others on the same images."""

    entry: ModelEntry
    stores: Mapping[tuple[int, int], tuple[Cell, Store]]
    """The records of its unfinished cells, by the places of set and attack."""
    model: nn.Module
    calibration: Calibration | None
    failure: str = ""
    """Why it is not scored any more."""
    pending: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """Rows that are not in a part yet, by the batch's number."""

    def fail(self, error: Exception) -> None:
        self.failure = failure_of(self.entry, error)

    @property
    def bytes(self) -> int:
        """Bytes that its weights take."""
        return sum(tensor.nbytes for tensor in (*self.model.parameters(), *self.model.buffers()))


def failure_of(entry: ModelEntry, error: Exception) -> str:
    """Say in one line why a model cannot be scored."""
    logger.debug("%s failed", entry.name, exc_info=error)
    return f"{entry.name}: {told(error)}"


def calibration_for(checkpoint: Path, suite: Suite) -> Calibration | None:
    """Return the calibration that travels with the weights, where it holds for the suite's images; else None."""
    stored = stored_calibration(checkpoint)
    fits = stored is not None and not stored.native and suite.resize == RESIZE
    return stored if fits and stored_image_size(checkpoint, {}) == suite.image_size else None
