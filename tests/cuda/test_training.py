"""Trainings through the launcher on CUDA: they resume, load in forked workers, and say when the memory is full."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from qmanet_benco.errors import RequestError
from small_training import IMAGE_SIZE, flags_of, make_images

pytestmark = pytest.mark.cuda


@pytest.fixture
def launched(device: str, tmp_path: Path) -> Callable[..., int]:
    """Train a miniature on four images through the launcher; further flags win."""
    from qmanet_benco.benco.launch.launcher import Run, launch

    make_images(tmp_path / "data" / "train", 4, seed=0)
    make_images(tmp_path / "data" / "test", 2, seed=1)

    def train(*more: str) -> int:
        return launch(Run("train", flags_of(tmp_path / "data", tmp_path / "run", "--num_workers", "0", *more)))

    return train


def test_a_training_goes_on_from_its_checkpoint(launched: Callable[..., int], tmp_path: Path) -> None:
    assert launched("--epochs", "1", "--keep", "1") == 0
    assert launched("--epochs", "2", "--keep", "1", "--resume", "auto") == 0
    lines = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line) for line in lines]
    epochs = [line["epoch"] for line in logged if "train_total_loss" in line]
    assert epochs == [0, 1]
    assert all(torch.isfinite(torch.tensor(line["train_total_loss"])) for line in logged if "train_total_loss" in line)


def test_a_full_memory_is_one_line_that_says_what_to_change(
    device: str, launched: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1e-4)
    else:
        from qmanet_benco import QMANet

        def forward(self: Any, *_: Any, **__: Any) -> NoReturn:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        monkeypatch.setattr(QMANet, "forward", forward)
    try:
        with pytest.raises(RequestError, match=r"memory is full: --batch_size 2 .*--checkpointing 1") as caught:
            launched("--epochs", "1")
        assert "\n" not in str(caught.value)
    finally:
        if device == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)


@torch.no_grad()
def test_forked_workers_and_pinned_memory_bring_images_whose_residual_the_device_computes(
    device: str, tmp_path: Path
) -> None:
    from IMDLBenCo.datasets import ManiDataset
    from torch.utils.data import DataLoader

    from qmanet_benco.benco.noise_transforms import qmanet_post_func
    from qmanet_benco.model.noise_view import SRM, Denormalise
    from qmanet_benco.model.noiseprint_arithmetic import FLOAT32, precision

    srm, denormalise = SRM().to(device), Denormalise().to(device)  # the device is in use before workers are forked
    srm(torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE, device=device))
    dataset = ManiDataset(
        str(make_images(tmp_path / "set", 4, seed=0)),
        is_resizing=True,
        output_size=(IMAGE_SIZE, IMAGE_SIZE),
        post_funcs=qmanet_post_func,
    )
    pinned = device == "cuda"
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=2, num_workers=2, multiprocessing_context="fork", pin_memory=pinned
    )
    seen = 0
    for batch in loader:
        assert batch["image"].is_pinned() == pinned
        image = batch["image"].to(device, non_blocking=True)
        with precision(FLOAT32):
            own = srm(denormalise(image))
        assert float((own.cpu() - SRM()(Denormalise()(batch["image"]))).abs().max()) < 1e-3
        seen += len(image)
    assert seen == 4
