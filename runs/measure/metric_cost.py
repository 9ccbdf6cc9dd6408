"""Measures what the metrics cost beside a model: ``python runs/measure/metric_cost.py [MODEL]``."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch

from qmanet_benco.benco import scoring
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.metrics import image_metrics

SIDE = 512
ROUNDS = 7


def measure(model: str = "Mesorch") -> tuple[float, float]:
    """Median seconds of all metrics of one 512 x 512 image, and of one forward pass; measured in turns.

    Args:
        model: of the framework's zoo, with random weights.
    """
    with scoring.as_the_test_script():
        network = zoo.build_model(model, {}).eval()
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, 3, SIDE, SIDE, generator=generator)
        mask = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
        mask[..., 100:300, 150:400] = 1
        probability = torch.rand(SIDE, SIDE, generator=generator)
        batch = {"image": image, "mask": mask, "label": torch.ones(1), "shape": torch.tensor([[SIDE, SIDE]])}
        cpu = torch.device("cpu")
        work: tuple[Callable[[], object], ...] = (
            lambda: image_metrics(probability, mask[0, 0]),
            lambda: scoring.predict_batch(network, batch, cpu),
        )
        seconds: list[list[float]] = [[], []]
        for _ in range(ROUNDS + 1):
            for times, do in zip(seconds, work, strict=True):
                start = time.perf_counter()
                do()
                times.append(time.perf_counter() - start)
    metrics, forward = (statistics.median(times[1:]) for times in seconds)  # the first round warms up
    return metrics, forward


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="What the metrics cost beside a model.")
    options.add_argument("model", nargs="?", default="Mesorch", help="of the zoo (default: %(default)s)")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both times and their ratio; 2 if the model is unknown."""
    name = parser().parse_args(arguments).model
    try:
        cost, forward = measure(name)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    threads = f"{torch.get_num_threads()} threads"
    sys.stdout.write(
        f"all metrics of one {SIDE} x {SIDE} image {1000 * cost:.0f} ms, one forward of {name} {1000 * forward:.0f} ms "
        f"({threads}): {cost / forward:.1%}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
