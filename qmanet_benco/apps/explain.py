"""What in a photo a model's answer rests on: Grad-CAM of its stages, and what the tamper queries look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qmanet_benco.model.network import QMANetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Explanation:
    """What :func:`explain` found."""

    panels: dict[str, Plane]
    """By name, H x W in [0, 1] at the resized image's size; see :func:`explain` for the names."""
    target: str
    """Of which pixels the logits were added up, in words."""


def explain(
    model: QMANetwork, photo: Path | NDArray[np.uint8], mask: NDArray[Any] | None = None, image_size: int = 0
) -> Explanation:
    """Explain a model's answer to a photo.

    Args:
        model: of :func:`~qmanet_benco.load_model`.
        photo: a file, or H x W x 3 in uint8, RGB.
        mask: the pixels whose logits are explained, H x W, bool or 0..255, at the photo's size; by default those
            that the model itself calls tampered.
        image_size: side of the square that the photo is resized to; 0: the one that the model was trained for.

    Returns:
        Panels ``probability``; ``RGB 1`` to ``RGB 4`` (GAE's stages); ``noise 1`` to ``noise 4`` (LAE's);
        ``fused 1`` to ``fused 4`` (the levels that the decoder has); and, where the model has queries,
        ``queries on RGB 1`` to ``4`` and ``queries on noise 1`` to ``4``.

    Raises:
        RequestError: the photo or the mask cannot be used, or the library grad-cam is not installed.
    """
    raise NotImplementedError


def draw(explanations: Mapping[str, Explanation], photo: NDArray[np.uint8], mask: NDArray[Any] | None) -> Figure:
    """Panels of one or more models as one figure, one block of rows per name.

    Args:
        explanations: by the name that stands above each block.
        photo: H x W x 3 in uint8, RGB.
        mask: the true mask, H x W, shown beside the photo; None where it is not known.
    """
    raise NotImplementedError
