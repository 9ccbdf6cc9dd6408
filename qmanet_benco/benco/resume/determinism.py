"""Lists what makes two trainings with one seed differ on CUDA, and switches it off; on a CPU they do not differ.

The list follows the documentation of ``torch.use_deterministic_algorithms`` and the operators that the network and the
stock trainer call; it was not measured, for want of a GPU.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from qmanet_benco.benco.seam.patches import Patches

WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""https://docs.nvidia.com/cuda/cublas/#results-reproducibility"""


@dataclass(frozen=True)
class Cause:
    """An operation whose result may differ from run to run on CUDA."""

    operation: str
    where: str
    with_switch: str
    """What ``--deterministic`` makes of it."""


CAUSES = (
    Cause(
        "backward of interpolate(mode='bilinear')",
        "QMA-Net's alignment and decoder; heads of the zoo's models",
        "another, slower algorithm",
    ),
    Cause(
        "cuBLAS with several streams",
        "matrix products of attention and of linear layers",
        f"{WORKSPACE[0]}={WORKSPACE[1]}",
    ),
    Cause("choice of cuDNN's algorithms", "every convolution", "the framework's seeding fixes it already"),
    Cause(
        "backward of scaled_dot_product_attention (memory-efficient kernel)", "attention", "a warning where it stays"
    ),
    Cause(
        "backward of AdaptiveAvgPool2d, AdaptiveMaxPool2d, ReflectionPad2d",
        "some of the zoo's models; not QMA-Net, whose pooled masks need no gradient",
        "a warning: torch has no other algorithm",
    ),
    Cause(
        "order of sums over three or more processes",
        "DistributedDataParallel regroups gradients after its first step",
        "none: a resumed run of three or more may differ in the last bit",
    ),
)


def be_deterministic(patches: Patches) -> None:
    """Let torch take deterministic algorithms until the patches end, and warn where it has none."""
    import torch

    former = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    patches.callback(torch.use_deterministic_algorithms, former[0], warn_only=former[1])
    torch.use_deterministic_algorithms(True, warn_only=True)
    os.environ.setdefault(*WORKSPACE)  # the launcher puts the environment back
