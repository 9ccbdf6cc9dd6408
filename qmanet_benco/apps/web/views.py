"""Pictures for the web page: what a browser needs to draw any threshold itself, the noise view, the explanation."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from qmanet_benco.apps.photo import Pixels
from qmanet_benco.apps.predict import Plane, Prediction
from qmanet_benco.images import normalised
from qmanet_benco.model.network import QMANetwork

PREVIEW_SIDE = 1400
"""Pixels of the longer side of what the browser draws; downloads have the photo's own size."""
PANEL_SIDE = 320
STEPS = 100
"""The slider's threshold is a hundredth."""
FULL = 65535
"""Sixteen bits: probability 1."""


@dataclass(frozen=True)
class Views:
    """Encoded pictures of one analysed photo."""

    photo: bytes
    """JPEG, at most :data:`PREVIEW_SIDE`."""
    probability: bytes
    """PNG of the same size: red is the high byte of the probability in 16 bits, green the low one."""
    noise: bytes
    """PNG, image_size x image_size."""
    sixteen: bytes
    """PNG at the photo's own size, 16 bits."""
    fractions: tuple[float, ...]
    """Of the pixels at the photo's own size: how many are above 0.00, 0.01, ... 1.00."""
    size: tuple[int, int]
    """Width and height of the previews."""


def make_views(model: QMANetwork, pixels: Pixels, found: Prediction) -> Views:
    """Everything that the page shows of a photo, from one answer of the network."""
    sixteen = (found.probability * FULL).round().astype(np.uint16)
    size = preview_size(*pixels.shape[:2])
    small = cv2.resize(sixteen, size, interpolation=cv2.INTER_AREA)
    packed = np.stack([np.zeros_like(small), small & 255, small >> 8], axis=2).astype(np.uint8)  # blue, green, red
    return Views(
        photo=encode(_shrunk(pixels, size), ".jpg"),
        probability=encode(packed[..., ::-1], ".png"),
        noise=encode(noise_picture(model, pixels), ".png"),
        sixteen=encode(sixteen, ".png"),
        fractions=_fractions(sixteen),
        size=size,
    )


def mask_at(sixteen: bytes, threshold: float) -> bytes:
    """The mask as PNG, 0 or 255: where the stored 16-bit probability is above the threshold."""
    plane = cv2.imdecode(np.frombuffer(sixteen, np.uint8), cv2.IMREAD_UNCHANGED)
    return encode((plane > threshold * FULL).astype(np.uint8) * 255, ".png")


def noise_picture(model: QMANetwork, pixels: Pixels) -> Pixels:
    """The noise view X_noise as colours, side x side x 3: each channel from its 1st to its 99th percentile."""
    side = model.image_size
    square = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)
    image = torch.from_numpy(normalised(np.asarray(square, np.uint8))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        view = model.noise_view(image.to(next(model.parameters()).device))[0].float().cpu().numpy()
    low, high = (np.percentile(view, percent, axis=(1, 2), keepdims=True) for percent in (1, 99))
    scaled = (view - low) / np.maximum(high - low, 1e-9)
    return np.ascontiguousarray((scaled.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))


def panel_picture(pixels: Pixels, panel: Plane) -> bytes:
    """One panel of the explanation as JPEG: the photo in grey under the panel's heat, at most :data:`PANEL_SIDE`."""
    size = preview_size(pixels.shape[0], pixels.shape[1], PANEL_SIDE)
    grey = _shrunk(pixels, size).mean(axis=2, keepdims=True)
    heat = cv2.resize(np.nan_to_num(panel).astype(np.float32), size, interpolation=cv2.INTER_LINEAR).clip(0, 1)
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return encode((0.35 * grey + 0.65 * colours).clip(0, 255).astype(np.uint8), ".jpg")


def preview_size(height: int, width: int, side: int = PREVIEW_SIDE) -> tuple[int, int]:
    """Width and height with the longer one at most ``side``, never enlarged."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def encode(values: NDArray[np.uint8] | NDArray[np.uint16], ending: str) -> bytes:
    """PNG or JPEG of a plane or of H x W x 3 in RGB; OpenCV wants BGR. Quick rather than small."""
    turned = values[..., ::-1] if values.ndim == 3 else values
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if ending == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 90]
    written, content = cv2.imencode(ending, turned, options)
    if not written:
        raise RuntimeError(f"OpenCV wrote no {ending}")
    return content.tobytes()


def _shrunk(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _fractions(sixteen: NDArray[np.uint16]) -> tuple[float, ...]:
    counts = np.bincount(sixteen.ravel(), minlength=FULL + 1)
    above = sixteen.size - np.cumsum(counts)
    return tuple(float(above[int(step / STEPS * FULL)] / sixteen.size) for step in range(STEPS + 1))
