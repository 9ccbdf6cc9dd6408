"""QMA-Net on a GPU as well as we know how: layout, compiler, precision, and the arithmetic of NoisePrint++."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from gpu_check import Sizes
from gpu_report import Notes
from gpu_speed import PAPER_IMAGES, Pass, batch_of, build, measured
from qmanet_benco.benco import scoring
from qmanet_benco.benco.launch import session
from qmanet_benco.model.losses import edge_band, total_loss
from qmanet_benco.model.noiseprint_arithmetic import ARITHMETICS, FLOAT32


def tuned(out: Path, sizes: Sizes, notes: Notes) -> None:
    """NoisePrint++ alone in each arithmetic, then the network in both 16-bit formats."""
    del out
    with _model(sizes) as model:
        batch = max(sizes.inference_batches)
        view = model.network.noise_view
        rgb = view.denormalise(batch_of("QMANet", batch, sizes)["image"])
        for arithmetic in ARITHMETICS:
            view.noiseprint.set_arithmetic(arithmetic)
            row = measured(lambda: view.noiseprint(rgb), batch, sizes)
            notes.append("noiseprint", {"arithmetic": arithmetic, "batch": batch, **row})
        view.noiseprint.set_arithmetic(FLOAT32)
        for dtype in (torch.bfloat16, torch.float16):
            for count in sizes.training_batches:
                _row(model, "training", count, False, dtype, sizes, notes)
            for count in sizes.inference_batches:
                _row(model, "inference", count, False, dtype, sizes, notes)


def compiled(out: Path, sizes: Sizes, notes: Notes) -> None:
    """The same with torch.compile, which takes its time: one batch for inference and one for training."""
    del out
    with _model(sizes) as model:
        _row(model, "inference", max(sizes.inference_batches), True, torch.bfloat16, sizes, notes)
        _row(model, "training", min(sizes.training_batches), True, torch.bfloat16, sizes, notes)


@contextlib.contextmanager
def _model(sizes: Sizes) -> Iterator[Any]:
    """QMA-Net in channels last on the device; cuDNN tries its algorithms once and takes the fastest."""
    cudnn = torch.backends.cudnn
    former = cudnn.benchmark
    with session.prepared(False), scoring.as_the_test_script():
        cudnn.benchmark = True
        try:
            yield build("QMANet", sizes).to(memory_format=torch.channels_last)
        finally:
            cudnn.benchmark = former


def _row(model: Any, what: str, batch: int, compiled: bool, dtype: torch.dtype, sizes: Sizes, notes: Notes) -> None:
    way = f"channels last, {str(dtype).partition('.')[2]}{', compiled' if compiled else ''}"
    row: dict[str, Any] = {"what": what, "batch": batch, "way": way}
    try:
        work = (_step if what == "training" else _pass)(model, batch, compiled, dtype, sizes)
        row |= measured(work, batch, sizes)
        if what == "training":
            row["hours_of_the_paper"] = PAPER_IMAGES / row["images_per_s"] / 3600
    except Exception as error:  # a compiler or a memory that is too small; the other ways are still measured
        row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    notes.append("speeds", row)
    if compiled:
        torch.compiler.reset()
    if sizes.device == "cuda":
        torch.cuda.empty_cache()


def _pass(model: Any, batch: int, compiled: bool, dtype: torch.dtype, sizes: Sizes) -> Pass:
    model.eval()
    network = model.network
    call = torch.compile(network, backend=sizes.compiler) if compiled else network
    given = batch_of("QMANet", batch, sizes)

    def work() -> None:
        with torch.no_grad(), torch.autocast(sizes.device, dtype):
            # outside of the compiled part, which cannot switch TF32 off
            residual = network.noise_view.noiseprint(network.noise_view.denormalise(given["image"]))
            call(given["image"], None, residual)

    return work


def _step(model: Any, batch: int, compiled: bool, dtype: torch.dtype, sizes: Sizes) -> Pass:
    model.train()
    network = model.network
    call = torch.compile(network, backend=sizes.compiler) if compiled else network
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-6, fused=True)
    scaler = torch.amp.GradScaler(sizes.device, enabled=dtype == torch.float16 and sizes.device == "cuda")
    given = batch_of("QMANet", batch, sizes)
    band = edge_band(given["mask"], network.config.edge_width)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(sizes.device, dtype):
            residual = network.noise_view.noiseprint(network.noise_view.denormalise(given["image"]))
            result = call(given["image"], None, residual)
            loss = total_loss(result.mask_logits, result.edge_logits, given["mask"], band, network.config, None).total
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()

    return step
