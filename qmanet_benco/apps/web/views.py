"""Pictures for the web page: the overlay at a threshold, the noise view, the explanation."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from qmanet_benco.apps.photo import Pixels
from qmanet_benco.apps.predict import Plane, device_of, normalised
from qmanet_benco.images import fitting
from qmanet_benco.model.network import QMANetwork

PREVIEW_SIDE = 1400
"""Pixels of the longer side of what the page shows; downloads have the photo's own size."""
PANEL_SIDE = 320
RED = (255, 60, 20)
PALE = 0.75
"""How far the colour of an unmarked pixel is moved towards grey, in [0, 1]."""
FULL = 65535
"""Probability 1 in 16 bits."""


def overlay(photo: Pixels, marked: NDArray[np.bool_]) -> Pixels:
    """Draw the photo in pale colours, marked pixels under red and their outline in full red; all H x W x 3."""
    grey = photo.mean(axis=2, keepdims=True, dtype=np.float32)
    pale = photo + (grey - photo) * PALE  # red must stand out on red photos too
    inner = cv2.erode(marked.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    share = np.where(inner[..., None] > 0, 0.5, 1.0)
    red = photo + (np.array(RED, np.float32) - photo) * share
    return np.where(marked[..., None], red, pale).round().astype(np.uint8)


def noise_picture(model: QMANetwork, pixels: Pixels) -> Pixels:
    """Draw the noise view X_noise in colours, side x side x 3: each channel from its 1st to its 99th percentile."""
    side = model.image_size
    square = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)
    with torch.inference_mode():
        view = model.noise_view(normalised(square).to(device_of(model)))[0].float().cpu().numpy()
    low, high = (np.percentile(view, percent, axis=(1, 2), keepdims=True) for percent in (1, 99))
    scaled = (view - low) / np.maximum(high - low, 1e-9)
    return np.ascontiguousarray((scaled.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))


def panel_picture(pixels: Pixels, panel: Plane) -> bytes:
    """Draw a panel of the explanation as JPEG: the photo in grey under the panel's heat, at most :data:`PANEL_SIDE`."""
    grey = shrunk(pixels, PANEL_SIDE).mean(axis=2, keepdims=True)
    size = grey.shape[1], grey.shape[0]
    heat = cv2.resize(np.nan_to_num(panel).astype(np.float32), size, interpolation=cv2.INTER_LINEAR).clip(0, 1)
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return encode((0.35 * grey + 0.65 * colours).clip(0, 255).astype(np.uint8), ".jpg")


def encode(values: NDArray[np.uint8] | NDArray[np.uint16], ending: str) -> bytes:
    """PNG or JPEG of a plane or of H x W x 3 in RGB; OpenCV wants BGR. Quick rather than small."""
    turned = values[..., ::-1] if values.ndim == 3 else values
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if ending == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 90]
    written, content = cv2.imencode(ending, turned, options)
    if not written:
        raise RuntimeError(f"OpenCV wrote no {ending}")
    return content.tobytes()


def decode(content: bytes) -> Pixels:
    """H x W x 3 in RGB of a JPEG that :func:`encode` made."""
    return np.ascontiguousarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])


def shrunk(pixels: Pixels, side: int = PREVIEW_SIDE) -> Pixels:
    """Shrink a picture so that its longer side is at most ``side``."""
    size = fitting((pixels.shape[1], pixels.shape[0]), side)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
