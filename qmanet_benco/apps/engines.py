"""Engines: what computes a probability from an image: PyTorch, OpenVINO or onnxruntime, all in float32."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qmanet_benco.apps.conversion import INPUT, require, to_onnx, to_openvino
from qmanet_benco.errors import RequestError
from qmanet_benco.model.network import QMANetwork

Engine = Callable[[Tensor], Tensor]
"""B x 3 x H x W, ImageNet-normalised, float32 -> B x 1 x H x W in [0, 1], float32, on the CPU."""

ENGINES = ("torch", "openvino", "onnx")


def build_engine(model: QMANetwork, engine: str, threads: int = 0) -> Engine:
    """The same network in another engine, converted in memory.

    Args:
        model: a network with all of its weights.
        engine: ``"torch"``, ``"openvino"`` or ``"onnx"``.
        threads: for the engine's own pool; 0: the engine's default. PyTorch has one setting for the process, which
            is left alone.

    Returns:
        A callable: B x 3 x H x W, ImageNet-normalised -> B x 1 x H x W in [0, 1].

    Raises:
        RequestError: the engine is unknown or its extra is not installed.
    """
    if engine == "openvino":
        return OpenVinoEngine(to_openvino(model), threads)
    if engine == "onnx":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            to_onnx(model, path)
            return OnnxEngine(path, threads)
    if engine != "torch":
        raise RequestError(f"engine {engine!r}", f"one of {', '.join(ENGINES)}")
    return TorchEngine(model)


class TorchEngine:
    """Eager PyTorch, on whatever device the model is."""

    def __init__(self, model: QMANetwork) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        return self.model(image)


class OpenVinoEngine:
    """OpenVINO on the CPU, compiled anew for each shape of image.

    Args:
        graph: an ``openvino.Model`` of any batch, height and width.
        threads: 0 leaves the number to OpenVINO.
    """

    MOST_SHAPES = 4
    """Compiled models that are kept; the oldest goes first."""

    def __init__(self, graph: Any, threads: int = 0) -> None:
        self._core = require("openvino").Core()
        self._graph = graph
        self._options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = str(threads)
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, image: Tensor) -> Tensor:
        values = image.detach().cpu().float().contiguous().numpy()
        return torch.from_numpy(np.array(self._for(values.shape)([values])[0]))

    def _for(self, shape: tuple[int, ...]) -> Any:
        """The graph compiled for one shape: constant sizes let it fold, fuse and plan its memory."""
        if shape not in self._compiled:
            if len(self._compiled) >= self.MOST_SHAPES:
                del self._compiled[next(iter(self._compiled))]
            fixed = self._graph.clone()
            fixed.reshape(list(shape))
            self._compiled[shape] = self._core.compile_model(fixed, "CPU", self._options)
        return self._compiled[shape]


class OnnxEngine:
    """onnxruntime on the CPU.

    Args:
        path: an ``.onnx`` file, or its bytes.
        threads: 0 leaves the number to onnxruntime.
    """

    def __init__(self, path: Path | bytes, threads: int = 0) -> None:
        runtime = require("onnx", "onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        source = path if isinstance(path, bytes) else str(path)
        self._session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def __call__(self, image: Tensor) -> Tensor:
        values = image.detach().cpu().float().contiguous().numpy()
        return torch.from_numpy(self._session.run(None, {INPUT: values})[0])
