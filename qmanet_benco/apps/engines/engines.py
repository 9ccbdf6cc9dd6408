"""Engines: what computes a probability from an image: PyTorch, OpenVINO or onnxruntime."""

from __future__ import annotations

import functools
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from qmanet_benco.apps.engines.conversion import EXTRAS, INPUT, to_onnx, to_openvino
from qmanet_benco.errors import RequestError, require
from qmanet_benco.files import sha256_of
from qmanet_benco.model.calibration import Calibration
from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.network import PAPER_IMAGE_SIZE, QMANetwork
from qmanet_benco.model.weights.builder import load_model
from qmanet_benco.model.weights.files import checked_side
from qmanet_benco.precision import FP32, usable

Engine = Callable[[Tensor], Tensor]
"""B x 3 x H x W, ImageNet-normalised, float32 -> B x 1 x H x W in [0, 1], float32, on the CPU."""

ENGINES = ("torch", "openvino", "onnx")
FILES = {".xml": "openvino", ".onnx": "onnx"}
"""Engine by the ending of the file that it reads."""
CONFIG, IMAGE_SIZE, FINGERPRINT, BIN_SHA256 = "config", "image_size", "fingerprint", "bin_sha256"
CALIBRATION = "calibration"
"""What travels in a file's metadata, in ONNX under ``qmanet.``, in OpenVINO's ``rt_info`` below ``qmanet``."""


class Localizer(Protocol):
    """What :func:`~qmanet_benco.predict` needs: a network in eval mode, or one in another engine."""

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that the weights were trained for."""

    def __call__(self, image: Tensor) -> Any:
        """B x 3 x H x W, ImageNet-normalised -> B x 1 x H x W in [0, 1]."""


@dataclass(frozen=True)
class EngineModel:
    """A network in another engine, with the metadata of its weights."""

    run: Engine
    name: str
    """The engine, one of :data:`ENGINES`."""
    config: QMANetConfig
    image_size: int
    fingerprint: str
    """SHA-256 of the weights that it was made from; see :attr:`~qmanet_benco.model.network.QMANetwork.fingerprint`."""
    calibration: Calibration | None = None
    """Threshold and score of these weights, if they have any."""
    precision: str = FP32

    def __call__(self, image: Tensor) -> Tensor:
        return self.run(image)


def load_localizer(
    weights: str,
    engine: str = "",
    *,
    device: str = "",
    threads: int = 0,
    precision: str = FP32,
    allow_pickle: bool = False,
) -> QMANetwork | EngineModel:
    """Load what predicts, from weights of either kind.

    Args:
        weights: an ``.onnx`` or ``.xml`` file of ``qmanet export``, or whatever ``load_model`` takes.
        engine: of :data:`ENGINES`; by default the file's own, else PyTorch. Ordinary weights are converted in memory.
        device: for PyTorch; by default a GPU where there is one.
        threads: on the CPU; 0: the engine's default.
        precision: of PyTorch, ``fp32`` or ``bf16``; see :func:`~qmanet_benco.precision.usable`.
        allow_pickle: let a ``.pth`` file run code.

    Raises:
        RequestError: the file, the engine, the device or the precision does not fit, or an extra is missing.
    """
    if engine and engine not in ENGINES:
        raise RequestError(f"engine {engine!r}", f"one of {', '.join(ENGINES)}")
    if threads < 0:
        raise RequestError(f"{threads} threads", "1 or more, or 0 for the engine's default")
    own = FILES.get(Path(weights).suffix.lower(), "")
    if engine and own and engine != own:
        raise RequestError(
            f"engine {engine} for {weights}", own, "leave --engine out, or give the weights it came from"
        )
    engine = engine or own or "torch"
    if engine != "torch" and device not in ("", "cpu"):
        raise RequestError(f"device {device} for the {engine} engine", "cpu", "--engine torch knows other devices")
    where = chosen_device(device if engine == "torch" else "cpu")
    if engine != "torch" and precision != FP32:
        raise RequestError(f"precision {precision} for the {engine} engine", FP32, "--engine torch knows others")
    precision = usable(precision, where)
    if own:
        return load_engine(Path(weights), threads)
    if engine != "torch":
        require(engine, *EXTRAS[engine])  # before a large file is read
        model = load_model(weights, "cpu", allow_pickle)
        run = build_engine(model, engine, threads)
        return EngineModel(run, engine, model.config, model.image_size, model.fingerprint, model.calibration)
    if threads:
        torch.set_num_threads(threads)
    model = load_model(weights, where, allow_pickle)
    model.precision = precision
    return model


def chosen_device(name: str) -> torch.device:
    """Choose the device of that name; of an empty one a GPU where there is one.

    Raises:
        RequestError: there is no such device here.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0  # a driver that is too old is counted as well
    if not name:
        return torch.device("cuda" if gpus else "cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise ValueError("it holds no numbers")
        torch.empty(1, device=device)
    except Exception as error:  # each kind of device raises a class of its own where it is absent
        here = ", ".join(["cpu", *(f"cuda:{index}" for index in range(gpus))])
        raise RequestError(f"device {name!r}, which this machine does not have", f"one of {here}") from error
    return device


def build_engine(model: QMANetwork, engine: str, threads: int = 0) -> Engine:
    """Convert a network in memory for another engine.

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


def load_engine(path: Path, threads: int = 0) -> EngineModel:
    """Load a file of ``qmanet export --format onnx`` or ``openvino``.

    Args:
        path: ``.onnx``, or ``.xml`` with its ``.bin`` beside it.
        threads: 0: the engine's default.

    Raises:
        RequestError: there is no such file, it is damaged or no QMA-Net, or the extra is not installed.
    """
    engine = FILES.get(path.suffix.lower(), "")
    if not engine:
        raise RequestError(f"{path}", "a name that ends in .onnx or .xml")
    require(engine, *EXTRAS[engine])
    if not path.is_file():
        raise RequestError(f"{path} is not a file", "a file of `qmanet export`", "check the path")
    try:
        run, stored = (_open_openvino if engine == "openvino" else _open_onnx)(path, threads)
    except RequestError:
        raise
    except Exception as error:  # both libraries raise classes of their own for whatever a damaged file provokes
        reason = " ".join(str(error).split())[:160]
        which = f"{path} with {path.stem}.bin" if engine == "openvino" else f"{path}"
        raise RequestError(
            f"{which} cannot be read ({reason})", "an undamaged file", "export or copy it again"
        ) from error
    if CONFIG not in stored:
        raise RequestError(f"{path} holds no QMA-Net", "a file of `qmanet export`", "check --weights")
    size = stored.get(IMAGE_SIZE, "0")
    config = QMANetConfig.from_json(stored[CONFIG])
    side = checked_side(size, path) or PAPER_IMAGE_SIZE
    calibration = Calibration.from_json(stored[CALIBRATION]) if CALIBRATION in stored else None
    return EngineModel(run, engine, config, side, stored.get(FINGERPRINT, ""), calibration)


def _open_onnx(path: Path, threads: int) -> tuple[Engine, Mapping[str, str]]:
    engine = OnnxEngine(path, threads)
    return engine, {name.removeprefix("qmanet."): value for name, value in engine.metadata().items()}


def _open_openvino(path: Path, threads: int) -> tuple[Engine, Mapping[str, str]]:
    binary = path.with_suffix(".bin")
    if not binary.is_file():
        raise RequestError(f"{binary} is not a file", f"the weights of {path.name} beside it", "copy both files")
    graph = _openvino_core().read_model(path)
    stored: dict[str, str] = {}
    if graph.has_rt_info("qmanet"):
        stored = {
            name: graph.get_rt_info(["qmanet", name]).astype(str) for name in graph.get_rt_info("qmanet").astype(dict)
        }
    if stored.get(BIN_SHA256) != sha256_of(binary) and stored:
        raise RequestError(
            f"{binary} is not what {path.name} was written with", "both files of one export", "copy both"
        )
    return OpenVinoEngine(graph, threads), stored


class TorchEngine:
    """Eager PyTorch, on whatever device the model is."""

    def __init__(self, model: QMANetwork) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        return self.model(image)


@functools.cache
def _openvino_core() -> Any:
    """Make OpenVINO's ``Core`` once for the process.

    Its CPU plugin gives the thread another signal stack and takes it back when the ``Core`` ends. Two that do not end
    in reverse order leave the thread a stack that is gone, and the next signal that Python handles (Ctrl-C, the end of
    a loader's process) is a segmentation fault (OpenVINO 2026.4).
    """
    return require("openvino", "openvino").Core()


class OpenVinoEngine:
    """OpenVINO on the CPU, compiled once for all shapes.

    Compiled for one shape the paper's network took 4 % less time at 512 x 512, but each new shape then costs seconds.

    Args:
        graph: an ``openvino.Model`` of any batch, height and width.
        threads: 0 leaves the number to OpenVINO.
    """

    def __init__(self, graph: Any, threads: int = 0) -> None:
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        self._compiled = _openvino_core().compile_model(graph, "CPU", options)
        self._one_at_a_time = threading.Lock()  # a second thread's call is an error of OpenVINO's

    def __call__(self, image: Tensor) -> Tensor:
        values = image.detach().cpu().float().contiguous().numpy()
        with self._one_at_a_time:
            answer = np.array(self._compiled([values])[0])  # a copy: the next call fills the same memory
        return torch.from_numpy(answer)


class OnnxEngine:
    """onnxruntime on the CPU.

    Args:
        path: an ``.onnx`` file.
        threads: 0 leaves the number to onnxruntime.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        runtime = require("onnx", "onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what goes wrong is raised as well
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def metadata(self) -> dict[str, str]:
        """Return the file's metadata."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, image: Tensor) -> Tensor:
        values = image.detach().cpu().float().contiguous().numpy()
        return torch.from_numpy(self._session.run(None, {INPUT: values})[0])
