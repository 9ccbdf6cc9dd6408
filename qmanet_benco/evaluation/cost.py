"""Table 10: parameters, multiply-adds, latency and peak memory of each model, at batch 1."""

from __future__ import annotations

import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from qmanet_benco.benco.launch import session
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.benco.zoo.own_models import load_plugins
from qmanet_benco.errors import told
from qmanet_benco.evaluation.published import published_value
from qmanet_benco.model.config import variant_config

IMAGE_SIZE = 512
ROUNDS = 3
QMANET = "QMANet"
PAPER = "paper"
DEFAULT_MODELS = ("MantraNet", "MVSSNet", "PSCC_Net", "Cat_Net", "Trufor", "IML_ViT", "Mesorch", "SAM")
NOT_COUNTED = (
    "element-wise operations, normalisations, activations, pooling, resampling and indexing",
    "operators of compiled extensions other than torch's own",
)
"""What :func:`multiply_adds` leaves out, for every model alike."""


@dataclass(frozen=True)
class Cost:
    """One row."""

    model: str
    variant: str
    params_m: float
    macs_g: float
    image_size: int
    latency_s: float | None = None
    peak_mib: float | None = None
    published_params_m: float | None = None
    published_flops_g: float | None = None
    note: str = ""

    @property
    def flops_g(self) -> float:
        """A multiply-add counted as two operations."""
        return 2 * self.macs_g


@dataclass(frozen=True)
class Subject:
    """What is to be measured."""

    model: str
    variant: str = ""
    image_size: int = IMAGE_SIZE
    plugins: tuple[str, ...] = ()
    """Modules and files that register models of the user's own."""

    @property
    def label(self) -> str:
        """For tables and messages."""
        return f"{self.model} {self.variant}".strip()


def subjects(models: Iterable[str], variants: Iterable[str], plugins: tuple[str, ...] = ()) -> list[Subject]:
    """List the named models and variants of QMA-Net; without any, every baseline and the paper's QMA-Net.

    Args:
        models: registered names.
        variants: of QMA-Net.
        plugins: modules and files that register models of the user's own.

    Raises:
        RequestError: a name is unknown, or a plugin fails.
    """
    load_plugins(plugins)
    models, variants = list(models), list(variants)
    if not models and not variants:
        models, variants = list(DEFAULT_MODELS), [PAPER]
    for variant in variants:
        variant_config(variant)  # an unknown one is refused before anything is measured
    others = []
    for name in models:
        zoo.check_flags(name, {})
        if name != QMANET:
            others.append(Subject(zoo.registered_name(name), image_size=zoo.row_of(name).image_size, plugins=plugins))
        elif not variants:
            variants = [PAPER]
    return [*others, *(Subject(QMANET, variant) for variant in variants)]


def measure_all(chosen: Iterable[Subject]) -> tuple[list[Cost], list[str]]:
    """Measure each model in a process of its own, so that its peak memory is its own.

    Returns:
        The rows, and one line for each model that could not be measured.
    """
    rows, failures = [], []
    for subject in chosen:
        command = [sys.executable, "-m", __spec__.name, json.dumps(asdict(subject))]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            lines = ended.stderr.strip().splitlines() or ["no message"]
            failures.append(f"{subject.label}: {lines[-1][:300]}")
            continue
        rows.append(Cost(**json.loads(ended.stdout.strip().splitlines()[-1])))
    return rows, failures


def measure(subject: Subject) -> Cost:
    """Build a model with random weights and measure one forward pass of it in eval mode on the CPU.

    Multiply-adds are of the forward pass as the framework calls it, losses included where the model computes them
    then. Latency is the median of three passes after one; memory the process's peak above what it had before the
    model was built.
    """
    from qmanet_benco.benco import scoring  # it imports the framework, for which a session is prepared first

    flags: dict[str, Any] = {}
    if subject.model == QMANET:
        flags = {"variant": subject.variant, "backbone_weights": "random", "noiseprint_weights": "random"}
    with scoring.as_the_test_script():
        before = peak_mib()
        model = zoo.build_model(subject.model, flags, image_size=subject.image_size).eval()
        batch = example(subject.model, subject.image_size)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        macs = multiply_adds(model, batch)
        seconds = []
        for _ in range(ROUNDS + 1):
            start = time.perf_counter()
            with torch.no_grad():
                model(**batch)
            seconds.append(time.perf_counter() - start)
    row = zoo.row_of(subject.model)
    published = "QMA-Net" if subject.model == QMANET else row.row
    beside = published if subject.variant in ("", PAPER) else ""
    return Cost(
        subject.model,
        subject.variant,
        parameters / 1e6,
        macs / 1e9,
        subject.image_size,
        statistics.median(seconds[1:]),
        peak_mib() - before,
        published_value("table10", "rows", beside, "params_m"),
        published_value("table10", "rows", beside, "flops_g"),
        "; ".join(filter(None, (row.cost_note, *row.footnotes))),
    )


def multiply_adds(model: nn.Module, batch: Mapping[str, Any]) -> int:
    """Multiply-adds of convolutions (also transposed), matrix products and scaled dot-product attention.

    torch's own counter (``torch.utils.flop_counter``) counts at the level of its operators, so that a fused attention
    counts what its two matrix products cost, in every model alike. See :data:`NOT_COUNTED`.
    """
    # the counter has rules for the fused attention of CUDA, not for the CPU's
    rules = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops}
    with FlopCounterMode(display=False, custom_mapping=rules) as counter, torch.no_grad():
        model(**batch)
    return int(counter.get_total_flops()) // 2


def attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Operations of query times key and of weights times value, from the shapes ... x tokens x channels."""
    batches = math.prod(query[:-2])
    return 2 * batches * query[-2] * key[-2] * (query[-1] + value[-1])


def example(model: str, image_size: int) -> dict[str, Any]:
    """Make a batch of one seeded image as the framework's loader does, with what the model's post function adds."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(1, image_size, image_size)
    mask[:, image_size // 4 : image_size // 2, image_size // 4 : image_size // 2] = 1
    sample: dict[str, Any] = {
        "image": torch.randn(3, image_size, image_size, generator=generator),
        "mask": mask,
        "edge_mask": mask.clone(),
        "label": 1,
        "shape": torch.tensor([image_size, image_size]),
        "origin_shape": torch.tensor([image_size, image_size]),
        "name": "example.png",
    }
    post = zoo.post_function(model)
    if post is not None:
        post(sample)
    batch: dict[str, Any] = torch.utils.data.default_collate([sample])
    return batch


def peak_mib() -> float:
    """Return the process's largest resident memory so far.

    Linux's ``ru_maxrss`` would begin with the memory of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def main() -> int:
    """Measure the :class:`Subject` that ``sys.argv[1]`` describes as JSON; the row is the last line on stdout."""
    try:
        subject = Subject(**json.loads(sys.argv[1]))
        with session.prepared(False, subject.plugins):
            row = measure(subject)
    except Exception as error:
        sys.stderr.write(f"{told(error)}\n")
        return 1
    sys.stdout.write(json.dumps(asdict(row)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
