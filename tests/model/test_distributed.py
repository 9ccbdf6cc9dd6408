"""DistributedDataParallel as the framework's trainer uses it: no search for unused parameters."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.distributed
from tiny_networks import forgery, gradients, tiny_network, training_losses
from torch.nn.parallel import DistributedDataParallel

from process_copies import run_in_copies

STRUCTURES = ("paper", "cp", "sl", "ss", "cd", "mlp", "miniature")
"""The other variants resize or repeat the paper's parts."""
STEPS = 2
"""A parameter without a gradient in the first step stops the second."""


def test_two_processes_train_with_the_same_gradients_and_leave_no_parameter_unused(tmp_path: Path) -> None:
    run_in_copies(_train, (str(tmp_path),), 2)
    outcomes = [torch.load(tmp_path / f"rank{rank}.pth", weights_only=True) for rank in (0, 1)]
    for variant in STRUCTURES:
        for step in range(STEPS):
            first, second = (outcome[variant][step] for outcome in outcomes)
            assert first["loss"] != second["loss"], "both ranks saw the same images"
            for name, gradient in first["gradients"].items():
                assert torch.equal(gradient, second["gradients"][name]), f"{variant}: {name} differs in step {step}"


def _train(rank: int, folder: str) -> None:
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    outcomes = {variant: _steps(variant, rank) for variant in STRUCTURES}
    torch.save(outcomes, Path(folder) / f"rank{rank}.pth")
    torch.distributed.destroy_process_group()


def _steps(variant: str, rank: int) -> list[dict]:
    torch.manual_seed(rank)  # other initial weights and other images on each rank
    network = tiny_network(variant)
    wrapped = DistributedDataParallel(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    steps = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = training_losses(wrapped, *forgery(1, 64, 64), network.config).total
        loss.backward()
        optimizer.step()
        steps.append(
            {"loss": loss.item(), "gradients": {name: grad.clone() for name, grad in gradients(network).items()}}
        )
    return steps
