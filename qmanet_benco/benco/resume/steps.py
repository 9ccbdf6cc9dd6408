"""Guards the weights from bad steps: the optimiser steps only where the loss is finite on every process.

What a step without a finite loss would leave behind is undone: nothing is added to the gradients, statistics of
BatchNorm go back to what they were before the batch, the loss scaler is not touched, and no average has a NaN in it.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from qmanet_benco.benco.resume.retention import newest_of_training
from qmanet_benco.benco.seam.options import Options
from qmanet_benco.benco.seam.patches import Stock
from qmanet_benco.benco.seam.world import gathered, place
from qmanet_benco.errors import RequestError

logger = logging.getLogger(__name__)

_SHOWN = 8
"""Names of images in a message."""


@dataclass
class StepGuard:
    """Looks at each batch's loss before it is used."""

    options: Options
    folder: Path | None = None
    """Folder of the checkpoints."""
    names: list[str] = field(default_factory=list)
    """Images of the present batch on this process."""
    bad_batch: bool = False
    bad_group: bool = False
    """One of the batches whose gradients are added up for the present step was bad."""
    bad_steps: int = 0
    """In this epoch, or in a row."""
    in_a_row: bool = False
    _buffers: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def start_epoch(self) -> None:
        """Count anew, unless the last epoch ended in bad steps."""
        self.bad_batch = self.bad_group = False
        if not self.in_a_row:
            self.bad_steps = 0

    def end_epoch(self) -> None:
        """End the epoch: what follows is a test, whose figures are left alone."""
        self.bad_batch = False
        self._buffers.clear()

    def before_batch(self, model: nn.Module, batch: dict[str, Any]) -> None:
        """Remember the names of the images, and what the forward pass will change."""
        self.names = [str(name) for name in batch.get("name", [])]
        self.bad_batch = False
        self._buffers = [(buffer, buffer.clone()) for buffer in _statistics(model)]

    def call(
        self,
        _: Stock,
        scaler: Any,
        loss: Tensor,
        optimizer: torch.optim.Optimizer,
        clip_grad: float | None = None,
        parameters: Any = None,
        create_graph: bool = False,
        update_grad: bool = True,
    ) -> Tensor | None:
        """Stand in for ``NativeScalerWithGradNormCount.__call__``."""
        if on_any_process(not bool(torch.isfinite(loss).all()), loss.device):
            self._undo_batch()
        if not self.bad_group:
            scaler._scaler.scale(loss).backward(create_graph=create_graph)
        if not update_grad:
            return None
        if self.bad_group:
            self._skip(optimizer, "loss")
            return None
        return self._step(scaler._scaler, optimizer, list(parameters), clip_grad or self.options.clip_grad)

    def _step(self, scaler: Any, optimizer: torch.optim.Optimizer, parameters: list[Any], clip: float) -> Tensor | None:
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, clip) if clip else _norm(parameters)
        if not scaler.is_enabled() and not bool(torch.isfinite(norm)):  # else the scaler itself skips, and adapts
            self._skip(optimizer, "gradient")
            return None
        scaler.step(optimizer)
        scaler.update()
        self.in_a_row = False
        return norm

    def _undo_batch(self) -> None:
        self.bad_batch = self.bad_group = True
        with torch.no_grad():
            for buffer, former in self._buffers:
                buffer.copy_(former)

    def _skip(self, optimizer: torch.optim.Optimizer, what: str) -> None:
        optimizer.zero_grad()
        self.bad_group, self.in_a_row = False, True
        self.bad_steps += 1
        names = self._all_names()
        if place()[0] == 0:
            logger.warning("step skipped, its %s is not finite: %s", what, names)
        if self.bad_steps >= self.options.max_bad_steps:
            raise RequestError(
                f"training stopped after {self.bad_steps} steps whose {what} is not finite, the last with {names}",
                "a finite loss",
                f"look at these images, lower --lr or add --clip-grad 1; {self._last_good()}",
            )

    def _all_names(self) -> str:
        """Gather the images of this step's last batch on all processes."""
        names = [name for part in gathered(self.names) for name in part]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more

    def _last_good(self) -> str:
        newest = newest_of_training(self.folder) if self.folder else None
        return f"the last good checkpoint is {newest}" if newest else "there is no checkpoint yet"

    def update(self, stock: Stock, logger_: Any, _n: int = 1, **values: Any) -> None:
        """Stand in for ``MetricLogger.update``: a skipped batch does not enter the averages."""
        if self.bad_batch:
            values = {name: value for name, value in values.items() if value is None or math.isfinite(value)}
        if values:
            stock(logger_, _n=_n, **values)


def on_any_process(true_here: bool, device: torch.device) -> bool:
    """Tell whether it is true on one of the processes; all must ask."""
    if place()[1] == 1:
        return true_here
    flag = torch.tensor([int(true_here)], device=device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag.item())


def _norm(parameters: list[Any]) -> Tensor:
    from IMDLBenCo.training_scripts.utils import misc

    return torch.as_tensor(misc.get_grad_norm_(parameters))


def _statistics(model: nn.Module) -> list[Tensor]:
    """List what the forward pass of training changes: buffers of normalisation layers."""
    layers = [module for module in model.modules() if getattr(module, "track_running_stats", False)]
    return [buffer for layer in layers if layer.training for buffer in layer.buffers(recurse=False)]
