"""Speed on a GPU: QMA-Net, TruFor and Mesorch, each as the framework's scripts run it and as ``qmanet benco`` does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gpu_check import Sizes
from gpu_report import Notes
from qmanet_benco.benco import scoring
from qmanet_benco.benco.launch import session
from qmanet_benco.benco.zoo import build as zoo

MODELS = ("QMANet", "Trufor", "Mesorch")
PAPER_IMAGES = 150 * 12_880
"""Epochs of the recipe times images of an epoch of Protocol-CAT, seven lists of 1,840."""
STOCK, LAUNCHER = "stock script", "qmanet benco"
Pass = Callable[[], object]


def training(out: Path, sizes: Sizes, notes: Notes) -> None:
    """Steps of the stock trainer: autocast in float16 on a GPU, loss scaling, AdamW.

    The stock script has cuDNN switched off by its seeding and an AdamW that is not fused; ``qmanet benco`` mends both.
    """
    del out
    with _framework():
        for name in MODELS:
            for batch in sizes.training_batches:
                for way in (LAUNCHER, STOCK):
                    with _row(notes, sizes, model=name, batch=batch, way=way) as row:
                        model = build(name, sizes)
                        work = training_step(model, name, batch, sizes, fused=way == LAUNCHER)
                        with _cudnn(enabled=way == LAUNCHER, deterministic=True):
                            row |= measured(work, batch, sizes)
                        row["hours_of_the_paper"] = PAPER_IMAGES / row["images_per_s"] / 3600
                        del model, work


def inference(out: Path, sizes: Sizes, notes: Notes) -> None:
    """Forward passes of the stock test: float32 without autocast; and what NoisePrint++ takes of QMA-Net's."""
    del out
    with _framework(), torch.no_grad():
        for name in MODELS:
            model = build(name, sizes).eval()
            for batch in sizes.inference_batches:
                given = batch_of(name, batch, sizes)
                with _row(notes, sizes, model=name, batch=batch, way=STOCK) as row:
                    row |= measured(partial(model, **given), batch, sizes)
                    if name == "QMANet":
                        row["noiseprint_share"] = _noiseprint_seconds(model, given, sizes) * row["images_per_s"] / batch
            del model


def loading(out: Path, sizes: Sizes, notes: Notes) -> None:
    """What the framework's loader delivers with all its augmentations and QMA-Net's post function."""
    with session.prepared(False):
        from IMDLBenCo.datasets import ManiDataset
        from IMDLBenCo.transforms import get_albu_transforms
        from torch.utils.data import DataLoader

        dataset = ManiDataset(
            str(out / "data" / "train"),
            is_resizing=True,
            output_size=(sizes.image_size, sizes.image_size),
            common_transforms=get_albu_transforms("train"),
            edge_width=7,
            post_funcs=zoo.post_function("QMANet"),
        )
        order = [*range(len(dataset))] * 4
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=sizes.batch,
            sampler=order,
            num_workers=sizes.loader_workers,
            pin_memory=sizes.device == "cuda",
        )
        batches = iter(loader)
        next(batches)  # the workers have started
        start, images = time.perf_counter(), 0
        for batch in batches:
            batch["image"].to(sizes.device, non_blocking=True)
            images += len(batch["image"])
        wait(sizes)
        rate = images / (time.perf_counter() - start)
    notes.note(workers=sizes.loader_workers, images_per_s=rate, hours_of_the_paper=PAPER_IMAGES / rate / 3600)


def build(name: str, sizes: Sizes) -> nn.Module:
    """A model with random weights on the device; QMA-Net's NoisePrint++ has those that were given."""
    flags: dict[str, object] = {}
    if name == "QMANet":
        flags = {"variant": sizes.variant, "noise_sources": "srm,bayar,noiseprint", "backbone_weights": "random"}
        flags["noiseprint_weights"] = sizes.noiseprint
    return zoo.build_model(name, flags, image_size=sizes.image_size).to(sizes.device)


def batch_of(name: str, count: int, sizes: Sizes) -> dict[str, Any]:
    """A batch as the framework's loader hands it over, with what the model's post function adds, on the device."""
    side = sizes.image_size
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(1, side, side)
    mask[:, side // 4 : side // 2, side // 4 : side // 2] = 1
    sample: dict[str, Any] = {
        "image": torch.randn(3, side, side, generator=generator),
        "mask": mask,
        "edge_mask": mask.clone(),
        "label": 1,
        "shape": torch.tensor([side, side]),
        "origin_shape": torch.tensor([side, side]),
        "name": "example.png",
    }
    post = zoo.post_function(name)
    if post is not None:
        post(sample)
    batch = torch.utils.data.default_collate([sample] * count)
    return {key: value.to(sizes.device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def training_step(model: nn.Module, name: str, count: int, sizes: Sizes, fused: bool) -> Pass:
    """Forward in the stock trainer's autocast, scaled backward, AdamW."""
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6, fused=fused or None)
    cuda = sizes.device == "cuda"
    scaler = torch.amp.GradScaler(sizes.device, enabled=cuda)
    given = batch_of(name, count, sizes)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(sizes.device, torch.float16 if cuda else torch.bfloat16, enabled=cuda):
            loss = model(**given)["backward_loss"]
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()

    return step


def measured(work: Pass, batch: int, sizes: Sizes) -> dict[str, Any]:
    """Images a second and, on a GPU, the peak memory of a work, after passes that are not counted."""
    cuda = sizes.device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    uncounted, least = sizes.passes
    for _ in range(uncounted):
        work()
    wait(sizes)
    start, passes = time.perf_counter(), 0
    while passes < least or time.perf_counter() - start < sizes.seconds_of_a_figure:
        work()
        passes += 1
        wait(sizes)
    seconds = (time.perf_counter() - start) / passes
    peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
    return {"images_per_s": batch / seconds, "ms_per_pass": seconds * 1000, "peak_mib": peak, "passes": passes}


def wait(sizes: Sizes) -> None:
    """Until the device has done what it was given."""
    if sizes.device == "cuda":
        torch.cuda.synchronize()


@contextlib.contextmanager
def _row(notes: Notes, sizes: Sizes, **described: Any) -> Iterator[dict[str, Any]]:
    """A row of the table of speeds; what a model cannot do is written into it, and the others go on."""
    row: dict[str, Any] = {**described}
    try:
        yield row
    except Exception as error:
        if described["model"] == "QMANet" and not isinstance(error, torch.OutOfMemoryError):
            raise
        row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if sizes.device == "cuda":
        torch.cuda.empty_cache()
    notes.append("speeds", row)


@contextlib.contextmanager
def _framework() -> Iterator[None]:
    with session.prepared(False), scoring.as_the_test_script():
        yield


@contextlib.contextmanager
def _cudnn(enabled: bool, deterministic: bool) -> Iterator[None]:
    cudnn = torch.backends.cudnn
    former = cudnn.enabled, cudnn.deterministic
    cudnn.enabled, cudnn.deterministic = enabled, deterministic
    try:
        yield
    finally:
        cudnn.enabled, cudnn.deterministic = former


def _noiseprint_seconds(model: Any, given: dict[str, Any], sizes: Sizes) -> float:
    view = model.network.noise_view
    rgb = view.denormalise(given["image"])
    return float(measured(lambda: view.noiseprint(rgb), 1, sizes)["ms_per_pass"]) / 1000
