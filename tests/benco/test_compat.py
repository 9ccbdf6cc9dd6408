"""Without CUDA everything that the framework takes from it is redirected, and put back."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from qmanet_benco.benco.corrections import cpu as compat
from qmanet_benco.benco.corrections.row import Request
from qmanet_benco.benco.seam.patches import Patches, environment

TOUCHED: list[tuple[Any, str]] = [
    (torch.distributed, "init_process_group"),
    (torch.cuda, "set_device"),
    (torch.cuda, "synchronize"),
    (torch, "load"),
    (nn.parallel.DistributedDataParallel, "__init__"),
    (nn.SyncBatchNorm, "convert_sync_batchnorm"),
    (torch.Tensor, "cuda"),
    (nn.Module, "cuda"),
]


def _state() -> list[object]:
    modules = [importlib.import_module(name) for name in compat.CUDA_MODULES]
    owned = [vars(owner).get(name) for owner, name in TOUCHED]
    return [*owned, *(getattr(owner, name) for owner, name in TOUCHED), *(vars(module)["torch"] for module in modules)]


def _identical(first: list[object], second: list[object]) -> bool:
    # a bound classmethod is a new object at each access
    return all(a is b or a == b for a, b in zip(first, second, strict=True))


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_cuda")
def test_everything_is_put_back_also_after_an_error() -> None:
    before = _state()
    with compat.without_cuda():
        assert not any(a is b for a, b in zip(before[: len(TOUCHED)], _state(), strict=False))
    assert _identical(before, _state())
    with pytest.raises(KeyError), compat.without_cuda():
        raise KeyError
    assert _identical(before, _state())


def test_nothing_is_changed_where_cuda_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = _state()
    with compat.without_cuda():
        assert _identical(before, _state())


@pytest.mark.usefixtures("no_cuda")
def test_metrics_that_live_on_cuda_are_computed_on_the_cpu(tmp_path: Path) -> None:
    from IMDLBenCo.evaluation import AUC, F1, Accuracy
    from IMDLBenCo.training_scripts.utils import misc

    world = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    with environment(world), compat.without_cuda():
        torch.distributed.init_process_group("nccl", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
        try:
            assert torch.distributed.get_backend() == "gloo"
            scores, labels = torch.tensor([0.9, 0.2, 0.8]), torch.tensor([1.0, 0.0, 1.0])
            assert AUC.ImageAUCNoRemain().label.device.type == "cpu"
            for evaluator in (F1.ImageF1NoRemain(), Accuracy.ImageAccuracyNoRemain()):
                evaluator.batch_update(scores, labels)
                assert float(evaluator.epoch_update()) == pytest.approx(1.0)
            meter = misc.SmoothedValue()
            meter.update(3.0)
            meter.synchronize_between_processes()
            assert meter.global_avg == 3.0
        finally:
            torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("no_cuda")
def test_models_and_tensors_that_ask_for_cuda_stay() -> None:
    with compat.without_cuda():
        tensor, model = torch.zeros(2), nn.BatchNorm2d(3)
        assert tensor.cuda() is tensor
        assert model.cuda(0) is model
        assert nn.SyncBatchNorm.convert_sync_batchnorm(model) is model
        torch.cuda.set_device(3)
        torch.cuda.synchronize()


@pytest.mark.usefixtures("no_cuda")
def test_every_row_says_what_it_is_for_and_changes_something() -> None:
    import warnings

    assert len({row.name for row in compat.ROWS}) == len(compat.ROWS)
    for row in compat.ROWS:
        before = [*_state(), list(warnings.filters)]
        with Patches() as patches:
            row.apply(patches, Request("test"))
            assert not _identical(before, [*_state(), list(warnings.filters)]), row.name
        assert _identical(before, [*_state(), list(warnings.filters)]), row.name
        assert row.why
