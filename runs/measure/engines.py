"""Measures the engines beside each other: ``python runs/measure/engines.py [--weights W] [--rounds N]``.

PyTorch, OpenVINO and onnxruntime take turns on one image. The sizes of the exported files and of the engines' packages
stand beside.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import torch

from qmanet_benco.apps.engines.conversion import EXTRAS, to_onnx, to_openvino
from qmanet_benco.apps.engines.engines import ENGINES, OnnxEngine, OpenVinoEngine, TorchEngine
from qmanet_benco.errors import RequestError, require
from qmanet_benco.memory import keep_freed_memory
from qmanet_benco.model.weights.builder import load_model
from timing import Bench, Work, describe_machine, interleaved, ratio, remember, show, single

CPU = torch.device("cpu")


def bench(weights: str = "demo", rounds: int = 7, image_size: int = 0, threads: int = 0) -> Bench:
    """Measure.

    Args:
        weights: as for ``load_model``.
        rounds: of interleaved runs, after one that is not counted.
        image_size: side of the image in pixels; 0: the weights' own.
        threads: of each engine; 0: as many as it likes. On a machine that does something else too, one is fairest.

    Raises:
        RequestError: the weights cannot be read, an engine is not installed, or there is no round.
    """
    if rounds < 1 or threads < 0:
        raise RequestError(f"{rounds} rounds with {threads} threads", "1 round or more, 0 threads or more")
    if threads:
        torch.set_num_threads(threads)
    model = load_model(weights)
    side = image_size or model.image_size
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    result = Bench(describe_machine(CPU) | {"image": f"{side} x {side}"}, rounds)
    with tempfile.TemporaryDirectory() as folder:
        files = {"openvino": Path(folder) / "model.xml", "onnx": Path(folder) / "model.onnx"}
        graph = to_openvino(model)
        require("openvino", "openvino").save_model(graph, files["openvino"], compress_to_fp16=False)
        to_onnx(model, files["onnx"])
        works: dict[str, Work] = {
            "torch": partial(TorchEngine(model), image),
            "openvino": partial(OpenVinoEngine(graph, threads), image),
            "onnx": partial(OnnxEngine(files["onnx"], threads), image),
        }
        onnx_bytes = files["onnx"].stat().st_size
        written = {
            "onnx": onnx_bytes,
            "openvino": sum(each.stat().st_size for each in Path(folder).iterdir()) - onnx_bytes,
        }
        seconds = interleaved(works, rounds, CPU)
    remember(result, "one image", seconds)
    result.ratios += [ratio("time", f"{name} / torch", seconds[name], seconds["torch"]) for name in ENGINES[1:]]
    result.ratios.append(ratio("time", "openvino / onnx", seconds["openvino"], seconds["onnx"]))
    sizes = {name: (written[name], _installed_bytes(EXTRAS[name])) for name in EXTRAS}
    for place, what in enumerate(("file", "packages")):
        line = f"openvino / onnx, bytes of the {what}"
        result.ratios.append(single("size", line, sizes["openvino"][place] / sizes["onnx"][place], None))
    for name, (file, packages) in sizes.items():
        result.machine[name] = f"file {file / 1e6:.1f} MB, packages {packages / 1e6:.0f} MB"
    return result


def _installed_bytes(packages: Sequence[str]) -> int:
    """Bytes of the packages' own files; what they need beside them and PyTorch is not counted."""
    files = [file for name in packages for file in metadata.files(name) or ()]
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="PyTorch, OpenVINO and onnxruntime beside each other on the CPU.")
    options.add_argument("--weights", default="demo", help="as for `qmanet predict` (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=7, help="interleaved runs (default: %(default)s)")
    options.add_argument("--image-size", type=int, default=0, help="side in pixels; 0: the weights' own")
    options.add_argument("--threads", type=int, default=0, help="of each engine; 0: as many as it likes")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 2 if the request was wrong."""
    given = parser().parse_args(arguments)
    keep_freed_memory()
    try:
        result = bench(given.weights, given.rounds, given.image_size, given.threads)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    show(result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
