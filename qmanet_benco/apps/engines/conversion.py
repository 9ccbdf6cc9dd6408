"""Converts a network to the graphs that other engines run, OpenVINO's and ONNX, for every batch, height and width."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from qmanet_benco.errors import require
from qmanet_benco.model.network import QMANetwork

INPUT, OUTPUT = "image", "probability"
"""Names of the graph's only input and output."""
OPSET = 20
"""The operator set of ONNX: the first with GELU, which would otherwise be five operators."""
EXAMPLE = (2, 3, 96, 128)
"""Shape that is traced. No two sizes are equal, and none is 1: a mistaken one would not fit."""
EXTRAS = {"openvino": ("openvino",), "onnx": ("onnx", "onnxruntime")}
"""What ``pip install qmanet-benco[...]`` brings, by the extra's name."""


def to_openvino(model: QMANetwork) -> Any:
    """Convert the network into an ``openvino.Model`` in float32.

    Args:
        model: any mode; it is left as it is.

    Raises:
        RequestError: openvino is not installed.
    """
    openvino = require("openvino", "openvino")
    decoder = importlib.import_module("openvino.frontend.pytorch.ts_decoder").TorchScriptPythonDecoder
    with _quiet(), _unreported(), _for_inference(model) as network:
        # checking the trace would run the network twice more and take a quarter of the time
        traced = decoder(network, example_input=_example(), trace_kwargs={"check_trace": False})
        graph = openvino.convert_model(traced, input=[openvino.PartialShape([-1, 3, -1, -1])])
    graph.inputs[0].set_names({INPUT})
    graph.outputs[0].set_names({OUTPUT})
    return graph


def to_onnx(model: QMANetwork, path: Path) -> None:
    """Write the network as one ONNX file in float32, without metadata.

    Args:
        model: any mode; it is left as it is.
        path: file to write; under 2 GB, the format's limit for one file.

    Raises:
        RequestError: onnx is not installed.
    """
    require("onnx", "onnx")
    axes = {INPUT: {0: "batch", 2: "height", 3: "width"}, OUTPUT: {0: "batch", 2: "height", 3: "width"}}
    with _quiet(), _for_inference(model) as network:
        # the exporter by tracing: torch.export's symbolic sizes take minutes for this network, and give the same graph
        torch.onnx.export(
            network,
            (_example(),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes=axes,
        )


class _Inference(nn.Module):
    """Image to probability and nothing else: exporters see one input and one output."""

    def __init__(self, model: QMANetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model.localize(image, edges=False).mask_logits.sigmoid()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Eval mode, no parameter trained, and gradients allowed whatever the caller's mode; all as before afterwards."""
    modes = {module: module.training for module in network.modules()}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        network.eval().requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def _for_inference(model: QMANetwork) -> Iterator[nn.Module]:
    with frozen(model), torch.no_grad():
        yield _Inference(model).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of every comparison of sizes in Python; ours only refuse bad input."""
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "nncf")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _unreported() -> AbstractContextManager[Any]:
    """OpenVINO's converter tells its makers over the network that it was used, without asking; on build servers not."""
    return mock.patch.dict(os.environ, CI="true")


def _example() -> Tensor:
    return torch.randn(EXAMPLE, generator=torch.Generator().manual_seed(0))
