"""Files that other engines run: ONNX and OpenVINO, run and compared with PyTorch before they are put in place."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from qmanet_benco.apps.engines.conversion import EXTRAS, to_onnx, to_openvino
from qmanet_benco.apps.engines.engines import (
    BIN_SHA256,
    CALIBRATION,
    CONFIG,
    FILES,
    FINGERPRINT,
    IMAGE_SIZE,
    load_engine,
)
from qmanet_benco.errors import RequestError, require
from qmanet_benco.files import sha256_of, writing
from qmanet_benco.images import IMAGENET_MEAN, IMAGENET_STD
from qmanet_benco.model.network import SMALLEST_SIDE, QMANetwork
from qmanet_benco.model.noise_view import GREY_LEVELS
from qmanet_benco.model.weights.builder import load_model

LARGEST_DIFFERENCE = 1e-3
"""The largest difference of a probability between the written file and PyTorch."""


def export_graph(source: str | Path, target: Path, engine: str, *, image_size: int = 0) -> float:
    """Write a model for another engine.

    Args:
        source: as for :func:`~qmanet_benco.load_model`.
        target: ``.onnx``; or ``.xml``, beside which ``.bin`` is written.
        engine: ``"onnx"`` or ``"openvino"``.
        image_size: side in pixels that the weights were trained for, stored with them; 0: the source's.

    Returns:
        The largest difference of a probability between PyTorch and the written file, on a seeded image of that size
        and on two of another size.

    Raises:
        RequestError: a name, the source or a value is wrong, an extra is missing, the folder cannot be written, or
            the file differs by more than :data:`LARGEST_DIFFERENCE`. Then nothing is left behind.
    """
    suffixes = {name: suffix for suffix, name in FILES.items()}
    if engine not in suffixes:
        raise RequestError(f"format {engine}", f"one of safetensors, {', '.join(sorted(suffixes))}")
    if target.suffix != suffixes[engine]:
        raise RequestError(f"{target}", f"a name that ends in {suffixes[engine]}")
    binary = target.with_suffix(".bin")
    if engine == "openvino" and binary.exists() and not target.exists():
        raise RequestError(f"{binary} exists and belongs to no {target.name}", "a free name")
    require(engine, *EXTRAS[engine])
    model = load_model(source)
    model.image_size = image_size or model.image_size
    if model.image_size < SMALLEST_SIDE:
        raise RequestError(f"image size {image_size}", f"{SMALLEST_SIDE} pixels or more")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            written = Path(folder) / target.name
            (_write_openvino if engine == "openvino" else _write_onnx)(model, written)
            difference = _compare(model, written)
            for name in (written.with_suffix(".bin"), written):  # the file that is named in the end is the last
                if name.exists():
                    name.replace(target.with_name(name.name))
    return difference


def _metadata(model: QMANetwork) -> dict[str, str]:
    known = {
        CONFIG: model.config.to_json(),
        IMAGE_SIZE: str(model.image_size),
        FINGERPRINT: model.fingerprint,
    }
    if model.calibration is not None:
        known[CALIBRATION] = model.calibration.to_json()
    return known


def _write_onnx(model: QMANetwork, path: Path) -> None:
    onnx = require("onnx", "onnx")
    to_onnx(model, path)
    content = onnx.load(path)
    onnx.helper.set_model_props(content, {f"qmanet.{name}": value for name, value in _metadata(model).items()})
    onnx.save(content, path)


def _write_openvino(model: QMANetwork, path: Path) -> None:
    openvino = require("openvino", "openvino")
    graph = to_openvino(model)
    for name, value in _metadata(model).items():
        graph.set_rt_info(value, ["qmanet", name])
    openvino.save_model(graph, path, compress_to_fp16=False)
    # The first file names the other by its SHA-256, since a user can mix up pairs of files.
    graph.set_rt_info(sha256_of(path.with_suffix(".bin")), ["qmanet", BIN_SHA256])
    openvino.save_model(graph, path, compress_to_fp16=False)


def _compare(model: QMANetwork, path: Path) -> float:
    """Compute the largest difference of a probability.

    Raises:
        RequestError: it is too large.
    """
    engine = load_engine(path)
    side = model.image_size
    differences = []
    for image in (
        _photo(1, side, side),
        _photo(2, max(SMALLEST_SIDE, side // 2 - 3), max(SMALLEST_SIDE, side // 2 + 9)),
    ):
        with torch.inference_mode():
            differences.append((engine(image) - model(image)).abs().max())
    largest = float(torch.stack(differences).max())
    if not largest <= LARGEST_DIFFERENCE:  # NaN is refused too
        limit = f"at most {LARGEST_DIFFERENCE}"
        raise RequestError(f"a probability of the {engine.name} file differs by {largest:.1e} from PyTorch", limit)
    return largest


def _photo(batch: int, height: int, width: int) -> Tensor:
    """Seeded, B x 3 x H x W, ImageNet-normalised: a smooth shade in whole grey levels with a camera's noise."""
    generator = torch.Generator().manual_seed(0)
    shade = torch.linspace(0.1, 0.9, width) * torch.linspace(0.3, 1.0, height)[:, None]
    rgb = (shade + 0.02 * torch.randn(batch, 3, height, width, generator=generator)).clamp(0, 1)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((rgb * GREY_LEVELS).round() / GREY_LEVELS - mean) / deviation
