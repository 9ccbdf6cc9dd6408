"""Build a network from the name of a variant, or from trained weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from qmanet_benco.model.config import QMANetConfig, parse_dilations, parse_noise_sources, variant_config
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.weights.encoders import load_encoder, read_noiseprint
from qmanet_benco.model.weights.pretrained import find_weights
from qmanet_benco.model.weights.sources import as_name
from qmanet_benco.model.weights.trained import filled, trained_state

logger = logging.getLogger(__name__)


def create_model(
    variant: str = "paper",
    *,
    noiseprint_weights: str = "checkpoint",
    backbone_weights: str = "random",
    noise_sources: str | None = None,
    num_queries: int = 0,
    initial_weights: str = "",
    **changes: Any,
) -> QMANetwork:
    """Build an untrained network.

    Args:
        variant: a name of ``VARIANTS``.
        noiseprint_weights: a file, a name known to ``qmanet weights``, ``"random"``, or ``"checkpoint"``: to be
            filled by ``load_state_dict``; until then a forward pass is an error.
        backbone_weights: a file in any SegFormer naming, a name known to ``qmanet weights``, ``"random"`` or
            ``"checkpoint"`` (to be filled by ``load_state_dict``; until then training is an error); both encoders
            start from it.
        noise_sources: comma list of srm, bayar, noiseprint, or ``"none"``; by default the variant's.
        num_queries: tamper-aware queries; 0 takes the variant's.
        initial_weights: a trained network of the same architecture to start from, named as for :func:`load_model`;
            everything comes from it, NoisePrint++ and both encoders included.
        changes: other fields of :class:`~qmanet_benco.model.config.QMANetConfig`.

    Returns:
        The network in training mode.

    Raises:
        RequestError: a name, a file or a value is wrong.
    """
    if noise_sources is not None:
        changes["noise_sources"] = parse_noise_sources(noise_sources)
    if num_queries:
        changes["num_queries"] = num_queries
    network = QMANetwork(variant_config(variant, **changes))
    if initial_weights:
        network.load_state_dict(trained_state(initial_weights).tensors)
    else:
        _fill_noiseprint(network, noiseprint_weights)
        _fill_backbones(network, backbone_weights)
    return network


def fields_of_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Turn flags of the framework's model into fields of the configuration; flags of anything else are passed over.

    Args:
        flags: 1 and 0 in place of true and false, lists as text; an empty text, or 0 as ``num_queries`` or
            ``residual_gain``, leaves what the variant has.

    Raises:
        RequestError: a list cannot be read.
    """
    parsers = {"noise_sources": parse_noise_sources, "dilations": parse_dilations}
    changes: dict[str, Any] = {}
    for field in fields(QMANetConfig):
        value: Any = flags.get(field.name)
        if field.name == "variant" or (not value and field.name in (*parsers, "num_queries", "residual_gain")):
            continue
        if field.name in parsers:
            changes[field.name] = parsers[field.name](value)
        elif field.name in flags:
            changes[field.name] = bool(value) if isinstance(field.default, bool) else value
    return changes


def load_model(source: str | Path, device: str | torch.device = "cpu", allow_pickle: bool = False) -> QMANetwork:
    """Load trained weights, ready for inference.

    Args:
        source: a ``.safetensors`` file, a checkpoint of the framework's trainer (``checkpoint-12.pth``), a folder
            of ``save_pretrained``, ``owner/name`` on the Hugging Face hub, or the text ``"demo"``, the small model that
            ships for demonstration (``Path("demo")`` is a file or folder of that name).
        device: where to put the network.
        allow_pickle: let a ``.pth`` file run code; only for files whose source is trusted.

    Returns:
        The network in eval mode, built from the configuration stored with the weights; its ``image_size`` is the side
        that they were trained at, 512 with a warning where the file does not say, and its ``calibration`` that of the
        file, or None.

    Raises:
        RequestError: there is no such file, or it holds no QMA-Net.
    """
    return filled(QMANetwork, trained_state(as_name(source), allow_pickle)).eval().to(device)


def _fill_noiseprint(network: QMANetwork, source: str) -> None:
    module = network.noise_view.noiseprint
    if module is None or source == "checkpoint":
        return
    if source == "random":
        logger.warning("NoisePrint++ has random weights: fit for cost measurements only, worthless as a noise view")
        module.randomise()
    else:
        module.load_published(read_noiseprint(find_weights(source)))


def _fill_backbones(network: QMANetwork, source: str) -> None:
    if source == "checkpoint":
        network.gae.filled = network.lae.filled = False
        return
    if source == "random":
        logger.warning("both backbones start from random weights; the paper starts from --backbone_weights mit_b3")
        return
    path = find_weights(source)
    for encoder in (network.gae, network.lae):
        load_encoder(encoder.mit, path)
