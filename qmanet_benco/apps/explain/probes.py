"""Records what a network computes: features of its stages and levels, and where its tamper queries look.

All of it is done by hooks that are there for the length of one ``with``; the network's own forward keeps no attention
matrix and knows nothing of this. A hook acts in the thread that set it only, so that a server may go on predicting
with the same network meanwhile.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from qmanet_benco.errors import RequestError
from qmanet_benco.model.aggregation import MFAM, Attention
from qmanet_benco.model.network import QMANetwork


@dataclass
class Probes:
    """What one forward pass showed, by name and in the order of the forward pass."""

    features: dict[str, Tensor] = field(default_factory=dict)
    """``RGB i``, ``noise i``: R_i and N_i; ``fused i``: F_i^fin. B x C x h x w, or tokens B x hw x C; in the graph."""
    attention: dict[str, Tensor] = field(default_factory=dict)
    """``queries on RGB i``, ``queries on noise i``: B x hw, the mean over heads and queries; each sums to 1."""


@contextmanager
def probed(network: QMANetwork) -> Iterator[Probes]:
    """Record the features and the queries' attention of the forward passes inside the ``with``; for square images.

    R_i and N_i are what stage i hands on: after the interaction where the stage has one, else the encoder's output.
    Where they depend on no parameter that is trained, they become the leaves of the graph.
    """
    probes = Probes()
    with ExitStack() as hooks:
        for stage in range(4):
            _watch_stage(network, stage, probes, hooks)
        fusions: Any = network.decoder.fusions if network.config.decoder == "query" else network.decoder.projections
        for level, fusion in zip(network.config.decoder_levels, fusions, strict=True):
            hooks.enter_context(_after(fusion, _keep(probes, f"fused {level}")))
        yield probes


@contextmanager
def without_interaction(network: QMANetwork) -> Iterator[None]:
    """Switch alignment and DFCM off at all stages: R_i = R_i^init, N_i = N_i^init.

    The network was not trained so: this shows what the interaction adds, not what a network without it would learn.

    Raises:
        RequestError: the network has no interaction.
    """
    if not network.config.interaction_stages:
        raise RequestError(
            f"a network of variant {network.config.variant}, which has no interaction", "one with interaction"
        )
    with ExitStack() as hooks:
        for interaction in network.interactions.values():
            hooks.enter_context(_after(interaction, lambda inputs, _: inputs))
            hooks.enter_context(_after(cast(nn.Module, interaction.align_back), lambda inputs, _: inputs[0]))
        yield


def attention_weights(attention: Attention, queries: Tensor, keys: Tensor) -> Tensor:
    """Compute the matrix that :class:`Attention` never builds, from its own projections.

    Args:
        attention: the module.
        queries: B x N x C.
        keys: B x S x C.

    Returns:
        B x heads x N x S; each row sums to 1.
    """
    q, k = (
        layer(x).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for layer, x in ((attention.query, queries), (attention.key, keys))
    )
    return (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(dim=-1)


def as_map(features: Tensor) -> Tensor:
    """Tokens B x hw x C of a square image -> B x C x h x w; a map is returned as it is."""
    if features.dim() == 4:
        return features
    side = math.isqrt(features.shape[1])
    return features.transpose(1, 2).unflatten(2, (side, side))


def _watch_stage(network: QMANetwork, stage: int, probes: Probes, hooks: ExitStack) -> None:
    names = f"RGB {stage + 1}", f"noise {stage + 1}"
    if stage + 1 in network.config.interaction_stages:
        hooks.enter_context(_after(network.interactions[str(stage + 1)], _keep(probes, *names)))
    else:
        for name, encoder in zip(names, (network.gae, network.lae), strict=True):
            norm = encoder.mit.layers[stage][2]  # the last step of Encoder.stage
            hooks.enter_context(_after(norm, _keep(probes, name)))
    if network.aggregation is not None:
        mfam = cast(MFAM, network.aggregation.levels[stage])
        for name, block in zip(names, (mfam.from_rgb, mfam.from_noise), strict=True):
            hooks.enter_context(_after(block.attention, _weigh(probes, f"queries on {name}", block.attention)))


def _keep(probes: Probes, *names: str) -> Callable[[Any, Any], None]:
    def keep(_: Any, output: Any) -> None:
        for name, tensor in zip(names, output if isinstance(output, tuple) else (output,), strict=True):
            probes.features[name] = tensor if tensor.requires_grad else tensor.requires_grad_()

    return keep


def _weigh(probes: Probes, name: str, attention: Attention) -> Callable[[Any, Any], None]:
    def weigh(inputs: Any, _: Any) -> None:
        with torch.no_grad():
            probes.attention[name] = attention_weights(attention, inputs[0], inputs[1]).mean(dim=(1, 2))

    return weigh


@contextmanager
def _after(module: nn.Module, act: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Call ``act(inputs, output)`` after each run of a module in this thread; its result, if any, is the output."""
    owner = threading.get_ident()

    def hook(_: nn.Module, inputs: Any, output: Any) -> Any:
        return act(inputs, output) if threading.get_ident() == owner else None

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
