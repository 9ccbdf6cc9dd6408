"""Speed as ratios of interleaved runs: QMA-Net beside the framework's baselines, on this machine.

QMA-Net runs as ``qmanet`` runs it, the baselines in processes of their own as the framework's scripts run them, and
once more with freed memory kept, as ``qmanet`` runs them too (:mod:`qmanet_benco.memory`). Runs take turns, so what
else the machine does hits all of them alike; a ratio is taken within each round, and its median and spread over the
rounds are reported. The machine's matrix-product rate stands beside.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from qmanet_benco.benco.loading import seconds_of_stages, seconds_per_image, training_set
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.cost import example, multiply_adds
from qmanet_benco.evaluation.neighbours import Neighbour, started
from qmanet_benco.evaluation.turns import Bench, Work, describe_machine, interleaved, ratio, remember, single

QMANET = "QMANet"
RANDOM_FLAGS = {"backbone_weights": "random", "noiseprint_weights": "random"}
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
    model, batch = _model(QMANET, size, device).eval(), _batch(QMANET, size, device)
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
    neighbours = _neighbours("inference", size, device, ("Trufor", "Mesorch"))
    with started(list(neighbours.values())) as processes:
        works |= dict(zip(neighbours, processes, strict=True))
        seconds = interleaved(works, rounds, device)
    remember(result, "inference", seconds)
    result.machine["matrix_product_gmacs_per_s"] = MATRIX_SIDE**3 / 1e9 / statistics.median(seconds[MATRIX])
    for name, label in ours.items():
        targets = {"Trufor": 0.65 if name == QMANET else 0.52, "Mesorch": None if name == QMANET else 1.25}
        for other in neighbours:
            if other != QMANET:
                line = f"QMA-Net ({label}) / {other} (eager)"
                result.ratios.append(ratio("inference", line, seconds[name], seconds[other], targets.get(other)))
        line = f"QMA-Net ({label}), multiply-adds per second / matrix product's (at least)"
        rate = macs / MATRIX_SIDE**3
        result.ratios.append(ratio("inference", line, seconds[MATRIX], seconds[name], 0.85, rate))


def _training(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    """One baseline after the other: three trainings at a time fit into 16 GB."""
    for other, target in (("Trufor", 0.75), ("Mesorch", 1.3)):
        neighbours = _neighbours("training", size, device, [other])
        with started(list(neighbours.values())) as processes:
            works = dict(zip(neighbours, processes, strict=True))
            seconds = interleaved(works, rounds, device)
            peaks = {name: process.peak_mib() for name, process in works.items()}
        remember(result, f"training step, beside {other}", seconds)
        for name in (name for name in neighbours if name != QMANET):
            aim = target if name == other else None
            line = f"QMA-Net / {name}, one step"
            result.ratios.append(ratio("training", line, seconds[QMANET], seconds[name], aim))
        if device.type == "cpu":
            line = f"QMA-Net / {other}, peak memory"
            aim = 1.0 if other == "Trufor" else None
            result.ratios.append(single("training", line, peaks[QMANET] / peaks[other], aim))


def _neighbours(what: str, size: int, device: torch.device, others: Sequence[str]) -> dict[str, Neighbour]:
    """QMA-Net as ``qmanet`` runs it; the others as the framework runs them and, on a CPU, also as ``qmanet`` does."""
    found = {QMANET: Neighbour(what, QMANET, size, str(device), keeps_memory=True)}
    for name in others:
        found[name] = Neighbour(what, name, size, str(device))
        if device.type == "cpu":
            found[f"{name}{KEPT}"] = Neighbour(what, name, size, str(device), keeps_memory=True)
    return found


def one_model(what: str, name: str, size: int, device: torch.device, fused: bool) -> Work:
    """A forward pass without gradients (``what`` is ``"inference"``) or a training step of a new random model.

    ``fused``: AdamW is, as ``qmanet benco train`` does it.
    """
    model = _model(name, size, device)
    if what == "inference":
        return _evaluated(model.eval(), _batch(name, size, device))
    return _trained(model, name, size, device, fused)


def _checkpointing(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    model = _model(QMANET, size, device)
    step = _trained(model, QMANET, size, device)

    def with_setting(enabled: bool) -> Work:
        def work() -> None:
            model.network.set_checkpointing(enabled)  # type: ignore[operator, union-attr]
            step()

        return work

    seconds = interleaved({"without": with_setting(False), "with": with_setting(True)}, rounds, device)
    line = "gradient checkpointing / none, one step"
    result.ratios.append(ratio("checkpointing", line, seconds["with"], seconds["without"], 1.35))
    kept = [saved_bytes(model, enabled, _batch(QMANET, size, device)) for enabled in (True, False)]
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
    model = _model(QMANET, size, device).eval()
    sides = [size, 2 * size, 4 * size]
    works = {str(side): _evaluated(model, _batch(QMANET, side, device)) for side in sides}
    seconds = interleaved(works, rounds, device)
    remember(result, "side", seconds)
    for (small, large), target in zip(pairwise(sides), (4.9, 6.8), strict=True):
        line = f"QMA-Net at {large} / at {small}"
        result.ratios.append(ratio("growth", line, seconds[str(large)], seconds[str(small)], target))


def _cache(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    """With a kept residual against without: what a second checkpoint on the same images takes."""
    model, batch = _model(QMANET, size, device).eval(), _batch(QMANET, size, device)
    network: Any = model.network
    residual = network.noise_view.noiseprint(network.noise_view.denormalise(batch["image"]))

    def second() -> None:
        with torch.no_grad():
            network(batch["image"], None, residual)

    seconds = interleaved({"first": _evaluated(model, batch), "second": second}, rounds, device)
    line = "first pass / pass with kept NoisePrint++ residuals (at least)"
    result.ratios.append(ratio("cache", line, seconds["first"], seconds["second"], 1.8))


def _loading(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    """Seconds per image of loaders with one and two workers, against a training step's."""
    with started([Neighbour("training", QMANET, size, str(device), keeps_memory=True)]) as (step,):
        works: dict[str, Work] = {"training step of one image": step}
        stepped = interleaved(works, rounds, device)["training step of one image"]
    with training_set(size) as dataset:
        loaded = {workers: [seconds_per_image(dataset, workers) for _ in range(rounds)] for workers in (1, 2)}
        stages = seconds_of_stages(dataset)
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
        "qmanet --help": [sys.executable, "-m", "qmanet_benco.cli", "--help"],
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


def _model(name: str, size: int, device: torch.device) -> nn.Module:
    from qmanet_benco.benco.zoo import build as zoo

    return zoo.build_model(name, RANDOM_FLAGS if name == QMANET else {}, image_size=size).to(device)


def _batch(name: str, size: int, device: torch.device) -> dict[str, Any]:
    batch = example(name, size)
    return {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def _evaluated(model: nn.Module, batch: Mapping[str, Any]) -> Work:
    def work() -> None:
        with torch.no_grad():
            model(**batch)

    return work


def _trained(model: nn.Module, name: str, size: int, device: torch.device, fused: bool = True) -> Work:
    """Forward, loss, backward and AdamW, as the stock trainer makes them, without its logging."""
    batch = _batch(name, size, device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-6, fused=fused or None)
    # BatchNorm behind global pooling cannot train on one image; the optimiser and backward are those of training
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()

    def work() -> None:
        optimiser.zero_grad()
        model(**batch)["backward_loss"].backward()
        optimiser.step()

    return work
