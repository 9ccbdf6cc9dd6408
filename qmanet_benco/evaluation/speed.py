"""Speed as ratios of interleaved runs: QMA-Net beside the framework's baselines, on this machine, in this process.

Runs take turns, so what else the machine does hits all of them alike; a ratio is taken within each round, and its
median and spread over the rounds are reported. The machine's matrix-product rate stands beside.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.cost import example, multiply_adds
from qmanet_benco.evaluation.turns import Bench, Work, describe_machine, interleaved, ratio, remember, single

QMANET = "QMANet"
RANDOM_FLAGS = {"backbone_weights": "random", "noiseprint_weights": "random"}
MATRIX_SIDE = 2048
PARTS = ("inference", "training", "checkpointing", "growth", "cache", "import")


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
    result = Bench(describe_machine(where))
    measures = {
        "inference": lambda: _inference(result, rounds, image_size, where, engines or {}),
        "training": lambda: _training(result, rounds, image_size, where),
        "checkpointing": lambda: _checkpointing(result, rounds, image_size, where),
        "growth": lambda: _growth(result, max(1, rounds // 2), image_size, where),
        "cache": lambda: _cache(result, rounds, image_size, where),
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
    models = {name: _model(name, size, device).eval() for name in (QMANET, "Trufor", "Mesorch")}
    batches = {name: _batch(name, size, device) for name in models}
    works: dict[str, Work] = {name: _evaluated(models[name], batches[name]) for name in models}
    matrix = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device)
    works["matrix product"] = lambda: matrix @ matrix
    image = batches[QMANET]["image"].cpu()
    network: Any = models[QMANET].network
    for engine, build in engines.items() if device.type == "cpu" else ():
        try:
            works[engine] = partial(build(network), image)
        except (RequestError, ImportError) as error:
            result.skipped.append(f"{engine}: {' '.join(str(error).split())[:160]}")
    macs = multiply_adds(models[QMANET], batches[QMANET])
    seconds = interleaved(works, rounds, device)
    remember(result, "inference", seconds)
    result.machine["matrix_product_gmacs_per_s"] = MATRIX_SIDE**3 / 1e9 / statistics.median(seconds["matrix product"])
    ours = [name for name in works if name == QMANET or name in engines]
    for name in ours:
        label, eager = ("eager", True) if name == QMANET else (name, False)
        targets = (0.65, None) if eager else (0.52, 1.25)
        for other, target in zip(("Trufor", "Mesorch"), targets, strict=True):
            line = f"QMA-Net ({label}) / {other} (eager)"
            result.ratios.append(ratio("inference", line, seconds[name], seconds[other], target))
        rate = macs / MATRIX_SIDE**3
        line = f"QMA-Net ({label}), multiply-adds per second / matrix product's (at least)"
        product = seconds["matrix product"]
        result.ratios.append(ratio("inference", line, product, seconds[name], None if eager else 0.85, rate))


def _training(result: Bench, rounds: int, size: int, device: torch.device) -> None:
    works = {name: _trained(_model(name, size, device), name, size, device) for name in (QMANET, "Trufor", "Mesorch")}
    seconds = interleaved(works, rounds, device)
    remember(result, "training step", seconds)
    for other, target in (("Trufor", 0.75), ("Mesorch", 1.3)):
        result.ratios.append(ratio("training", f"QMA-Net / {other}, one step", seconds[QMANET], seconds[other], target))
    if device.type == "cpu":
        ours, theirs = (peak_of_training(name, size) for name in (QMANET, "Trufor"))
        result.ratios.append(single("training", "QMA-Net / Trufor, peak memory", ours / theirs, 1.0))


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
    for small, large, target in zip(sides, sides[1:], (4.9, 6.8), strict=True):
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


def peak_of_training(name: str, size: int) -> float:
    """Largest resident memory in MiB of a process that trains one step on the CPU.

    Raises:
        RuntimeError: that process failed.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "qmanet_benco.evaluation.speed", name, str(size)],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(f"a training step of {name} failed: {ended.stderr.strip()[-300:]}")
    return float(ended.stdout.split()[-1])


def _model(name: str, size: int, device: torch.device) -> nn.Module:
    from qmanet_benco.benco import zoo

    return zoo.build_model(name, RANDOM_FLAGS if name == QMANET else {}, image_size=size).to(device)


def _batch(name: str, size: int, device: torch.device) -> dict[str, Any]:
    batch = example(name, size)
    return {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def _evaluated(model: nn.Module, batch: Mapping[str, Any]) -> Work:
    def work() -> None:
        with torch.no_grad():
            model(**batch)

    return work


def _trained(model: nn.Module, name: str, size: int, device: torch.device) -> Work:
    """Forward, loss, backward and AdamW, as the stock trainer makes them, without its logging."""
    batch = _batch(name, size, device)
    optimiser = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-6)
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


def main() -> int:
    """``NAME SIZE``: train a step on the CPU and print the process's peak memory in MiB."""
    from qmanet_benco.benco import scoring, session
    from qmanet_benco.evaluation.cost import peak_mib

    name, size = sys.argv[1], int(sys.argv[2])
    with session.prepared(False), scoring.as_the_test_script():
        _trained(_model(name, size, torch.device("cpu")), name, size, torch.device("cpu"))()
    sys.stdout.write(f"{peak_mib()}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
