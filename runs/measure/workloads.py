"""Builds what is timed: a forward pass or a training step of a model of the framework's registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.evaluation.cost import example
from timing import Work

QMANET = "QMANet"
RANDOM_FLAGS = {"backbone_weights": "random", "noiseprint_weights": "random"}


def one_model(what: str, name: str, size: int, device: torch.device, fused: bool) -> Work:
    """A forward pass without gradients (``what`` is ``"inference"``) or a training step of a new random model.

    ``fused``: AdamW is, as ``qmanet benco train`` does it.
    """
    model = built(name, size, device)
    if what == "inference":
        return forward_pass(model.eval(), batch_of(name, size, device))
    return training_step(model, name, size, device, fused)


def built(name: str, size: int, device: torch.device) -> nn.Module:
    """A model with random weights."""
    return zoo.build_model(name, RANDOM_FLAGS if name == QMANET else {}, image_size=size).to(device)


def batch_of(name: str, size: int, device: torch.device) -> dict[str, Any]:
    """A batch of one made-up image as a model takes it."""
    batch = example(name, size)
    return {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def forward_pass(model: nn.Module, batch: Mapping[str, Any]) -> Work:
    """A forward pass without gradients."""

    def work() -> None:
        with torch.no_grad():
            model(**batch)

    return work


def training_step(model: nn.Module, name: str, size: int, device: torch.device, fused: bool = True) -> Work:
    """Forward, loss, backward and AdamW, as the stock trainer makes them, without its logging."""
    batch = batch_of(name, size, device)
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
