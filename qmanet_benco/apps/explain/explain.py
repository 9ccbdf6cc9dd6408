"""Shows what in a photo a model's answer rests on: Grad-CAM of its stages, and what the tamper queries look at.

Grad-CAM (Selvaraju et al. 2017) by the library grad-cam: a channel's weight is the mean gradient of the target over
the map, and the panel is the positive part of the weighted sum. The target is the sum of the mask's logits over the
pixels that are called tampered. Figures 1 and 6 of the paper show such panels.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmanet_benco.apps.engines.conversion import frozen
from qmanet_benco.apps.explain.panels import Explanation, binary, draw
from qmanet_benco.apps.explain.probes import as_map, probed, without_interaction
from qmanet_benco.apps.photo import read_mask, read_photo
from qmanet_benco.apps.predict import Plane, device_of, normalised, resolved
from qmanet_benco.errors import RequestError, require
from qmanet_benco.files import write_atomically, writing
from qmanet_benco.model.network import SMALLEST_SIDE, QMANetwork

__all__ = ["Explanation", "draw", "explain", "write_explanation"]

SUSPICIOUS = 0.01
"""Fraction of the pixels that is explained where none is called tampered."""

FORMATS = ("png", "pdf", "svg")

_one_at_a_time = threading.Lock()


def explain(
    model: QMANetwork, photo: Path | NDArray[np.uint8], mask: NDArray[Any] | None = None, image_size: int = 0
) -> Explanation:
    """Explain a model's answer to a photo.

    One forward and one backward pass; two calls at the same time wait for each other.

    Args:
        model: of :func:`~qmanet_benco.load_model`; unchanged afterwards.
        photo: a file, or H x W x 3 in uint8, RGB.
        mask: the pixels whose logits are explained, H x W of the upright photo, bool, 0/1 or 0..255 (above 127); by
            default those that the model itself calls tampered at this size, and where there are none the most
            suspicious hundredth.
        image_size: side of the square that the photo is resized to; 0: the one that the model was trained for.

    Returns:
        Panels ``probability``; ``RGB 1`` to ``RGB 4`` (R_i, what GAE's stages hand on); ``noise 1`` to ``noise 4``
        (N_i, LAE's); ``fused 1`` to ``fused 4`` (the levels that the decoder has); and, where the model has queries,
        ``queries on RGB 1`` to ``4`` and ``queries on noise 1`` to ``4`` (attention, the mean of heads and queries).

    Raises:
        RequestError: the photo or the mask cannot be used, the mask has another shape than the photo, or the library
                grad-cam is not installed.
    """
    side = image_size or model.image_size
    if side < SMALLEST_SIDE:
        raise RequestError(f"image size {side}", f"{SMALLEST_SIDE} pixels or more")
    grad_cam = require("explain", "pytorch_grad_cam").GradCAM
    whole = read_photo(photo)
    square = cv2.resize(whole, (side, side), interpolation=cv2.INTER_LINEAR)
    wanted = None if mask is None else _resized_mask(mask, whole.shape[:2], side)
    with _one_at_a_time, frozen(model), probed(model) as probes:
        logits = model.localize(normalised(square).to(device_of(model)), edges=False).mask_logits[0, 0]
        pixels, target = _target(logits.detach(), wanted, resolved(model, False, image_size, None).threshold)
        features = list(probes.features.values())  # zeros where the decoder does not use a stage
        gradients = torch.autograd.grad(logits[pixels].sum(), features, materialize_grads=True)
        combine = grad_cam(model, target_layers=[]).get_cam_image  # features and gradients are here already
    panels = {"probability": logits.detach().sigmoid().cpu().numpy()}
    for name, feature, gradient in zip(probes.features, features, gradients, strict=True):
        planes = (as_map(tensor.detach()).float().cpu().numpy() for tensor in (feature, gradient))
        panels[name] = _scaled(np.maximum(combine(None, None, None, *planes)[0], 0), side)
    for name, weights in probes.attention.items():
        panels[name] = _scaled(as_map(weights[..., None])[0, 0].cpu().numpy(), side)
    return Explanation(panels, target)


def write_explanation(
    photo: Path,
    out: Path,
    models: Mapping[str, QMANetwork],
    *,
    mask: Path | None = None,
    interaction_off: bool = False,
    image_size: int = 0,
) -> dict[str, Explanation]:
    """Explain a photo by each of some models and write the figure.

    Args:
        photo: a file.
        out: ``.png``, ``.pdf`` or ``.svg``.
        models: by the name that the figure shows.
        mask: a file with the true mask; its pixels are then the target of all models.
        interaction_off: explain each model that has interaction a second time with the interaction switched off.
        image_size: see :func:`explain`.

    Returns:
        The explanations, by the names in the figure.

    Raises:
        RequestError: a file cannot be used, or no model has interaction to switch off.
    """
    check_target(out, [photo] if mask is None else [photo, mask])
    kind = out.suffix.lower().removeprefix(".")
    if interaction_off and not any(model.config.interaction_stages for model in models.values()):
        raise RequestError("--without-interaction of models that have none", "a model with interaction")
    pixels, truth = read_photo(photo), None if mask is None else read_mask(mask)
    explanations: dict[str, Explanation] = {}
    for name, model in models.items():
        explanations[name] = explain(model, pixels, truth, image_size)
        if interaction_off and model.config.interaction_stages:
            with without_interaction(model):
                explanations[f"{name}, interaction off"] = explain(model, pixels, truth, image_size)
    figure = draw(explanations, pixels, truth)
    with writing(out):
        write_atomically(out, lambda path: figure.savefig(path, dpi=150, format=kind))
    return explanations


def check_target(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse a figure's name before anything is computed.

    Raises:
        RequestError: its ending is unknown, or it is one of the files that are read.
    """
    if out.suffix.lower().removeprefix(".") not in FORMATS:
        raise RequestError(f"--out {out}", f"a name that ends in {', '.join(f'.{each}' for each in FORMATS)}")
    for path in inputs:
        if os.path.realpath(path) == os.path.realpath(out):
            raise RequestError(f"--out {out}, which is also read", "another name")


def labels(sources: Sequence[str]) -> list[str]:
    """Make a short name for each model: its file's stem, with the folder where two would be the same."""
    short = [Path(source).stem if source.endswith((".safetensors", ".pth", ".pt")) else source for source in sources]
    if len(set(short)) < len(short):
        short = [f"{index}: {source}" for index, source in enumerate(sources, 1)]
    return short


def _resized_mask(mask: NDArray[Any], shape: tuple[int, ...], side: int) -> NDArray[np.bool_]:
    truth = binary(mask)
    if truth.shape != shape:
        raise RequestError(
            f"a mask of shape {truth.shape}", f"{shape}", "give this photo's mask, height x width, upright"
        )
    plane = cv2.resize(truth.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) > 0
    if not plane.any():
        raise RequestError("a mask without a tampered pixel", "at least one", "leave the mask out")
    return plane


def _target(logits: Tensor, wanted: NDArray[np.bool_] | None, threshold: float) -> tuple[Tensor, str]:
    """Choose the pixels whose logits are added up, H x W bool, and how they were chosen."""
    called = logits.sigmoid() > threshold
    if wanted is not None:
        pixels, how = torch.from_numpy(wanted).to(logits.device), "the given mask"
    elif called.any():
        pixels, how = called, "what the model calls tampered"
    else:
        bound = logits.flatten().topk(max(1, round(SUSPICIOUS * logits.numel()))).values[-1]
        pixels, how = logits >= bound, "the most suspicious pixels, as the model calls none tampered"
    return pixels, f"{how} ({pixels.float().mean().item():.1%} of the image)"


def _scaled(plane: Plane, side: int) -> Plane:
    """Resize to the image's size and stretch to 0..1; a flat plane is 0.

    Not by the library's scale_cam_image: it adds 1e-7 to the largest value, which attention weights come near to.
    """
    large = cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR)
    low, high = float(large.min()), float(large.max())
    if high - low <= 1e-6 * abs(high):
        return np.zeros((side, side), np.float32)
    return np.asarray(((large - low) / (high - low)).clip(0, 1), np.float32)
