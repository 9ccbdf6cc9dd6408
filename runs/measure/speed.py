"""Measures speed as ratios of interleaved runs: QMA-Net beside the framework's baselines, on this machine.

``python runs/measure/speed.py [--parts inference,training] [--rounds N] [--image-size N] [--device D] [--json]``

QMA-Net runs as ``qmanet`` runs it, the baselines in processes of their own as the framework's scripts run them, and
once more with freed memory kept, as ``qmanet`` runs them too (:mod:`qmanet_benco.memory`). Runs take turns, so what
else the machine does hits all of them alike; a ratio is taken within each round, and its median and spread over the
rounds are reported. The machine's matrix-product rate stands beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from loading import seconds_of_stages, seconds_per_image, training_set
from model_process import ModelProcess, started
from qmanet_benco.apps.engines.engines import build_engine
from qmanet_benco.benco import scoring
from qmanet_benco.benco.launch import session
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.cost import multiply_adds
from qmanet_benco.memory import keep_freed_memory
from timing import Bench, Work, describe_machine, interleaved, ratio, remember, show, single
from workloads import QMANET, batch_of, built, forward_pass, training_step

MATRIX, MATRIX_SIDE = "matrix product", 2048
KEPT = ", memory kept"
"""A baseline as ``qmanet`` runs it: freed memory is kept and AdamW is fused."""
PARTS = ("inference", "training", "checkpointing", "growth", "cache", "loading", "import")


EngineBuilder = Callable[[Any], Callable[[torch.Tensor], object]]


def bench(
    parts: Sequence[str] = PARTS,
    *,
    rounds: int = 5,
    image_size: int = 512,
    device: str = "cpu",
    engines: Mapping[str, EngineBuilder] | None = None,
    say: Callable[[str], None] | None = None,
) -> Bench:
    """Measure.

    Args:
        parts: some of :data:`PARTS`.
        rounds: of interleaved runs, after one that is not counted.
        image_size: side of the images in pixels.
        device: where to compute.
        engines: further engines for inference by name, as functions from QMA-Net's network to one that maps B x 3 x H
            x W images to probabilities; one that is not installed is skipped.
        say: called with each part's name.

    Raises:
        RequestError: a part or the device is unknown, or a number is out of range.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise RequestError(f"part {unknown[0]!r}", f"some of {', '.join(PARTS)}")
    if rounds < 1 or image_size < 64:
        raise RequestError(f"{rounds} rounds at {image_size} pixels", "1 round or more, 64 pixels or more")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RequestError(f"--device {device}", "cpu: no CUDA device is there")
    where = torch.device(device)
    result = Bench(describe_machine(where), rounds)
    measures = {
        "inference": lambda: _inference(result, rounds, image_size, where, engines or {}),
        "training": lambda: _training(result, rounds, image_size, where),
        "checkpointing": lambda: _checkpointing(result, rounds, image_size, where),
        "growth": lambda: _growth(result, max(1, rounds // 2), image_size, where),
        "cache": lambda: _cache(result, rounds, image_size, where),
        "loading": lambda: _loading(result, rounds, image_size, where),
        "import": lambda: _imports(result, rounds),
    }
    for part in parts:
        if say is not None:
            say(part)
        measures[part]()
    return result


def _inference(
    result: Bench, rounds: int, size: int, device: torch.device, engines: Mapping[str, EngineBuilder]
) -> None:
    model, batch = built(QMANET, size, device).eval(), batch_of(QMANET, size, device)
    macs = multiply_adds(model, batch)
    matrix = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device)
    product = torch.empty_like(matrix)
    works: dict[str, Work] = {MATRIX: lambda: torch.mm(matrix, matrix, out=product)}
    network: Any = model.network
    for engine, build in engines.items() if device.type == "cpu" else ():
        try:
            works[engine] = partial(build(network), batch["image"])
        except (RequestError, ImportError) as error:
            result.skipped.append(f"{engine}: {' '.join(str(error).split())[:160]}")
    ours = {QMANET: "eager", **{name: name for name in engines if name in works}}
    others = _processes("inference", size, device, ("Trufor", "Mesorch"))
    with started(list(others.values())) as processes:
        works |= dict(zip(others, processes, strict=True))
        seconds = interleaved(works, rounds, device)
    remember(result, "inference", seconds)
    result.machine["matrix_product_gmacs_per_s"] = MATRIX_SIDE**3 / 1e9 / statistics.median(seconds[MATRIX])
    for name, label in ours.items():
        targets = {"Trufor": 0.65 if name == QMANET else 0.52, "Mesorch": None if name == QMANET else 1.25}
        for other in others:
            if other != QMANET:
                line = f"QMA-Net ({label}) / {other} (eager)"
                result.ratios.append(ratio("inference", line, seconds[name], seconds[other], targets.get(other)))
        line = f"QMA-Net ({label}), multiply-adds per second / matrix product's (at least)"
        rate = macs / MATRIX_SIDE**3
        result.ratios.append(ratio("inference", line, seconds[MATRIX], seconds[name], 0.85, rate))


def _training(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    """One baseline after the other: three trainings at a time fit into 16 GB."""
    for other, target in (("Trufor", 0.75), ("Mesorch", 1.3)):
        others = _processes("training", size, device, [other])
        with started(list(others.values())) as processes:
            works = dict(zip(others, processes, strict=True))
            seconds = interleaved(works, rounds, device)
            peaks = {name: process.peak_mib() for name, process in works.items()}
        remember(result, f"training step, beside {other}", seconds)
        for name in (name for name in others if name != QMANET):
            aim = target if name == other else None
            line = f"QMA-Net / {name}, one step"
            result.ratios.append(ratio("training", line, seconds[QMANET], seconds[name], aim))
        if device.type == "cpu":
            line = f"QMA-Net / {other}, peak memory"
            aim = 1.0 if other == "Trufor" else None
            result.ratios.append(single("training", line, peaks[QMANET] / peaks[other], aim))


def _processes(what: str, size: int, device: torch.device, baselines: Sequence[str]) -> dict[str, ModelProcess]:
    """QMA-Net as ``qmanet`` runs it; the others as the framework runs them and, on a CPU, also as ``qmanet`` does."""
    described = {QMANET: ModelProcess(what, QMANET, size, str(device), keeps_memory=True)}
    for name in baselines:
        described[name] = ModelProcess(what, name, size, str(device))
        if device.type == "cpu":
            described[f"{name}{KEPT}"] = ModelProcess(what, name, size, str(device), keeps_memory=True)
    return described


def _checkpointing(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    model = built(QMANET, size, device)
    step = training_step(model, QMANET, size, device)

    def with_setting(enabled: bool) -> Work:
        def work() -> None:
            model.network.set_checkpointing(enabled)  # type: ignore[operator, union-attr]
            step()

        return work

    seconds = interleaved({"without": with_setting(False), "with": with_setting(True)}, rounds, device)
    line = "gradient checkpointing / none, one step"
    result.ratios.append(ratio("checkpointing", line, seconds["with"], seconds["without"], 1.35))
    kept = [saved_bytes(model, enabled, batch_of(QMANET, size, device)) for enabled in (True, False)]
    line = "gradient checkpointing / none, activations kept for backward"
    result.ratios.append(single("checkpointing", line, kept[0] / kept[1], 0.6))


def saved_bytes(model: nn.Module, enabled: bool, batch: Mapping[str, Any]) -> int:
    """Bytes of the tensors that one forward pass keeps for backward, each storage once, without parameters."""
    model.network.set_checkpointing(enabled)  # type: ignore[operator, union-attr]
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.train()(**batch)
    return sum(kept.values())


def _growth(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    model = built(QMANET, size, device).eval()
    sides = [size, 2 * size, 4 * size]
    works = {str(side): forward_pass(model, batch_of(QMANET, side, device)) for side in sides}
    seconds = interleaved(works, rounds, device)
    remember(result, "side", seconds)
    for (small, large), target in zip(pairwise(sides), (4.9, 6.8), strict=True):
        line = f"QMA-Net at {large} / at {small}"
        result.ratios.append(ratio("growth", line, seconds[str(large)], seconds[str(small)], target))


def _cache(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    """With a kept residual against without: what a second checkpoint on the same images takes."""
    model, batch = built(QMANET, size, device).eval(), batch_of(QMANET, size, device)
    network: Any = model.network
    residual = network.noise_view.noiseprint(network.noise_view.denormalise(batch["image"]))

    def second() -> None:
        with torch.no_grad():
            network(batch["image"], None, residual)

    seconds = interleaved({"first": forward_pass(model, batch), "second": second}, rounds, device)
    line = "first pass / pass with kept NoisePrint++ residuals (at least)"
    result.ratios.append(ratio("cache", line, seconds["first"], seconds["second"], 1.8))


def _loading(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    """Seconds per image of loaders with one and two workers, against a training step's."""
    with started([ModelProcess("training", QMANET, size, str(device), keeps_memory=True)]) as (step,):
        works: dict[str, Work] = {"training step of one image": step}
        stepped = interleaved(works, rounds, device)["training step of one image"]
    with training_set(size) as dataset, training_set(size, edge_width=7) as with_edges:
        loaded: dict[int, list[float]] = {1: [], 2: []}
        edges: list[float] = []
        for _ in range(rounds):
            for workers, values in loaded.items():
                values.append(seconds_per_image(dataset, workers))
            edges.append(seconds_per_image(with_edges, 1))
        stages = seconds_of_stages(dataset)
    line = "loading with the dataset's edge mask / without, 1 worker"
    result.ratios.append(ratio("loading", line, edges, loaded[1]))
    remember(result, "loading", {f"one image, {workers} worker(s)": values for workers, values in loaded.items()})
    result.seconds |= {f"loading one image: {stage}": seconds for stage, seconds in stages.items()}
    for workers, values in loaded.items():
        line = f"loading with {workers} worker(s) / training step, per image"
        result.ratios.append(ratio("loading", line, values, stepped, 1.0))


def _imports(result: Bench, rounds: int) -> None:
    """Seconds of fresh interpreters, less that of an empty one."""
    empty = [sys.executable, "-c", "pass"]
    commands = {
        "empty": empty,
        "import qmanet_benco": [sys.executable, "-c", "import qmanet_benco"],
        "qmanet --help": [sys.executable, "-m", "qmanet_benco", "--help"],
        "import IMDLBenCo": [sys.executable, "-W", "ignore", "-c", "import IMDLBenCo"],
        "from qmanet_benco import QMANet": [sys.executable, "-W", "ignore", "-c", "from qmanet_benco import QMANet"],
    }
    works: dict[str, Work] = {
        name: partial(subprocess.run, command, capture_output=True, check=True) for name, command in commands.items()
    }
    seconds = interleaved(works, rounds, torch.device("cpu"))
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    for name in ("import qmanet_benco", "qmanet --help"):
        result.seconds[f"{name}, less an empty interpreter"] = middle[name] - middle["empty"]
    more = middle["from qmanet_benco import QMANet"] - middle["import IMDLBenCo"]
    result.seconds["from qmanet_benco import QMANet, less import IMDLBenCo"] = more


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="Speed beside TruFor and Mesorch, as ratios of interleaved runs.")
    options.add_argument("--parts", default=",".join(PARTS), help="comma list (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=5, help="interleaved runs (default: %(default)s)")
    options.add_argument("--image-size", type=int, default=512, help="side in pixels (default: %(default)s)")
    options.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    options.add_argument("--json", action="store_true", help="one JSON document")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 2 if the request was wrong."""
    given = parser().parse_args(arguments)
    keep_freed_memory()
    try:
        with session.prepared(False), scoring.as_the_test_script():
            result = bench(
                [part.strip() for part in given.parts.split(",") if part.strip()],
                rounds=given.rounds,
                image_size=given.image_size,
                device=given.device,
                engines={name: partial(build_engine, engine=name) for name in ("openvino", "onnx")},
                say=lambda part: print(f"measuring: {part}", file=sys.stderr),  # noqa: T201
            )
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if given.json:
        sys.stdout.write(json.dumps(result.to_json(), indent=2) + "\n")
    else:
        show(result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
