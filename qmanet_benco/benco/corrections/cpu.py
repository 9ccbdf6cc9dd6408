"""The stock scripts on a machine without CUDA: what they take for granted there, redirected to the CPU.

Each row of :data:`ROWS` says which stock line needs it. Where CUDA is available nothing is changed.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn

from qmanet_benco.benco.corrections.row import Request, Rows, around
from qmanet_benco.benco.seam.patches import Overlay, Patches, Stock

CUDA_MODULES = (
    "IMDLBenCo.training_scripts.utils.misc",
    "IMDLBenCo.evaluation.AUC",
    "IMDLBenCo.evaluation.Accuracy",
    "IMDLBenCo.evaluation.F1",
)
"""Modules that create tensors with ``device='cuda'``."""

HARMLESS = (
    r".*GradScaler is enabled, but CUDA is not available.*",
    r".*CUDA is not available.*",
    r".*'pin_memory' argument is set as true.*",
    r".*device_type of 'cuda', but CUDA is not available.*",
)


def _on_cpu(factory: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(factory)
    def create(*args: Any, **kwargs: Any) -> Any:
        if str(kwargs.get("device", "")).startswith("cuda"):
            kwargs["device"] = "cpu"
        return factory(*args, **kwargs)

    return create


_SCRIPTS = "training_scripts"
ROWS = Rows()


@ROWS.add("gloo", f"{_SCRIPTS}/utils/misc.py:260", "'nccl'", "gloo instead of nccl")
@around("torch.distributed:init_process_group")
def _gloo(stock: Stock, backend: str | None = None, *args: Any, **kwargs: Any) -> None:
    stock("gloo" if backend == "nccl" else backend, *args, **kwargs)


@ROWS.add("set-device", f"{_SCRIPTS}/utils/misc.py:259", r"cuda\.set_device", "nothing to choose")
@around("torch.cuda:set_device")
def _no_set_device(_stock: Stock, *_: Any, **__: Any) -> None:
    pass


@ROWS.add("synchronize", f"{_SCRIPTS}/trainer/trainer.py:81", r"cuda\.synchronize", "nothing to wait for")
@around("torch.cuda:synchronize")
def _no_synchronize(_stock: Stock, *_: Any, **__: Any) -> None:
    pass


@ROWS.add("replicas", f"{_SCRIPTS}/train.py:390", "device_ids", "DistributedDataParallel without devices")
@around("torch.nn.parallel:DistributedDataParallel.__init__")
def _replicas_on_cpu(
    stock: Stock, self: Any, module: nn.Module, device_ids: Any = None, *args: Any, **kwargs: Any
) -> None:
    del device_ids
    stock(self, module, None, *args, **kwargs)


@ROWS.add(
    "batchnorm",
    f"{_SCRIPTS}/train.py:371",
    "convert_sync_batchnorm",
    "BatchNorm stays local to a process: the synchronized one exists on CUDA only",
)
def _local_batchnorm(patches: Patches, _: Request) -> None:
    def convert(cls: type, module: nn.Module, process_group: Any = None) -> nn.Module:
        del cls, process_group
        return module

    patches.set(nn.SyncBatchNorm, "convert_sync_batchnorm", classmethod(convert))


@ROWS.add("factories", f"{_SCRIPTS}/utils/misc.py:59", "device='cuda'", "metrics are reduced on the CPU")
def _factories_on_cpu(patches: Patches, _: Request) -> None:
    torch_on_cpu = Overlay(torch, tensor=_on_cpu(torch.tensor), zeros=_on_cpu(torch.zeros))
    for name in CUDA_MODULES:
        patches.set(importlib.import_module(name), "torch", torch_on_cpu)


@ROWS.add("cuda-method", f"{_SCRIPTS}/utils/misc.py:353", r"\.cuda\(\)", ".cuda() leaves tensors and models")
def stay_on_cpu(patches: Patches, _: Request) -> None:
    """Let ``.cuda()`` leave tensors and models where they are."""

    def cuda(self: Any, *_: Any, **__: Any) -> Any:
        return self

    patches.set(torch.Tensor, "cuda", cuda)
    patches.set(nn.Module, "cuda", cuda)


@ROWS.add(
    "map-location",
    "model_zoo/trufor/trufor.py:28",
    r"torch\.load",
    "weights that were saved on CUDA load on the CPU",
)
@around("torch:load")
def _load_on_cpu(stock: Stock, f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
    return stock(f, "cpu" if map_location is None else map_location, *args, **kwargs)


@ROWS.add("warnings", f"{_SCRIPTS}/utils/misc.py:273", "GradScaler", "what is only switched off is not warned about")
def _quiet(patches: Patches, _: Request) -> None:
    patches.enter_context(warnings.catch_warnings())
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def without_cuda() -> Iterator[None]:
    """Let a script of the framework run on the CPU within the block; it does nothing where CUDA is available.

    For scripts of one's own, as ``benco init`` makes them::

        from qmanet_benco import QMANet, without_cuda

        if __name__ == "__main__":
            args, model_args = get_args_parser()
            with without_cuda():
                main(args, model_args)

    What the scripts take from CUDA is redirected, row by row of :data:`ROWS`: gloo in place of nccl, no devices for
    DistributedDataParallel, metrics reduced on the CPU. It does not change flags: give ``--device cpu --if_not_amp``.
    Everything is put back at the end of the block. It changes modules of torch and of the framework, so it is for the
    main thread of a script, not for a part of a program that uses CUDA elsewhere.
    """
    with Patches() as patches:
        if not torch.cuda.is_available():
            for row in ROWS:
                row.apply(patches, Request(""))
        yield
