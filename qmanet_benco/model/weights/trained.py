"""Reads trained weights and builds the network that they were trained in, from the configuration stored with them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.weights.files import read_checkpoint, state_dict_of, stored_calibration, stored_image_size
from qmanet_benco.model.weights.sources import locate

logger = logging.getLogger(__name__)

TRAINING_FIELDS = frozenset(
    {"variant", "drop_path", "segmentation_weight", "edge_weight", "bce_weight", "edge_width", "dice"}
)
"""Fields of the configuration that may differ between saving and loading: they change no tensor's meaning."""
LONGEST_CONFIG = 100_000
"""Bytes; the paper's configuration has less than a thousand."""

Network = TypeVar("Network", bound=nn.Module)
"""A class that is built from a configuration alone and has an ``image_size``."""


class Trained(NamedTuple):
    """Trained weights as a file holds them."""

    tensors: dict[str, Tensor]
    path: Path
    image_size: int
    """Side in pixels that they were trained for; 0 where the file does not say."""


def trained_state(source: str, allow_pickle: bool = False) -> Trained:
    """Read trained weights that are named as for :func:`~qmanet_benco.load_model`.

    Raises:
        RequestError: there is no such file, or it holds no QMA-Net.
    """
    path = locate(source)
    content = read_checkpoint(path, allow_pickle)
    return Trained(network_state(state_dict_of(content), path), path, stored_image_size(path, content))


def network_state(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The network's own tensors of a checkpoint, without the plugin's or DDP's prefix.

    Raises:
        RequestError: no configuration is stored, so these are no weights of QMA-Net.
    """
    home = next((name.removesuffix("_extra_state") for name in state if name.endswith("_extra_state")), None)
    if home is None:
        raise RequestError(f"{path} holds no QMA-Net", "a checkpoint that this package wrote", "check --weights")
    return {name.removeprefix(home): tensor for name, tensor in state.items() if name.startswith(home)}


def filled(kind: type[Network], trained: Trained) -> Network:
    """A network of a class, built from the stored configuration and filled with the weights.

    Its ``image_size`` is the side that they were trained at; where the file does not say, a warning does.
    Its ``calibration`` is that of the file, or None.

    Raises:
        RequestError: the weights do not fit their own configuration.
    """
    state, path, image_size = trained
    network: Any = _built(kind, stored_config(state["_extra_state"]), state, path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RequestError(f"{path} does not fit its own configuration ({reason})", "an undamaged file") from error
    if image_size:
        network.image_size = image_size
    else:
        logger.warning("%s does not say which image size it was trained at: %d is taken", path, network.image_size)
    network.calibration = stored_calibration(path)
    return network


def stored_config(state: Tensor) -> QMANetConfig:
    """Read the configuration that ``QMANetwork.get_extra_state`` stored."""
    if state.dim() != 1 or state.numel() > LONGEST_CONFIG:
        raise RequestError(f"a stored configuration of shape {tuple(state.shape)}", f"at most {LONGEST_CONFIG} bytes")
    return QMANetConfig.from_json(bytes(state.to(torch.uint8).tolist()).decode("utf-8", "replace"))


def check_architecture(state: Tensor, own: QMANetConfig) -> None:
    """Compare a stored configuration with a network's own; what only training reads may differ.

    Raises:
        RequestError: the stored configuration builds another network.
    """
    stored, wanted = asdict(stored_config(state)), asdict(own)
    for name in wanted:
        if name not in TRAINING_FIELDS and stored[name] != wanted[name]:
            raise RequestError(
                f"the weights are of a network with {name}={_words(stored[name])}",
                f"{name}={_words(wanted[name])}",
                f"pass the flags that it was trained with (variant {stored['variant']}), or use load_model",
            )


def _words(value: Any) -> str:
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


class _Uninitialised(TorchFunctionMode):
    """Skips the initialisation of tensors without memory, for which torch would load its compiler, for seconds."""

    FILLING = frozenset(
        ["add_", "clamp_", "copy_", "div_", "erfinv_", "fill_", "mul_", "normal_", "sub_", "uniform_", "zero_"]
    )

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in self.FILLING:
            filled = args[0] if args else kwargs.get("tensor")
            if isinstance(filled, Tensor) and filled.is_meta:
                return filled
        return function(*args, **kwargs)


def _built(kind: type[Network], config: QMANetConfig, state: Mapping[str, Tensor], path: Path) -> Network:
    """Build a network from a stored configuration.

    The configuration could ask for any number of weights, so the network is first built without memory, and its tensors
    are compared with the file's.

    Raises:
        RequestError: no network can be built from it, or it would have other tensors than the file.
    """
    own = f"{path} does not fit its own configuration"
    try:
        if sum(config.depths) > len(state):
            raise RequestError(f"{own} ({sum(config.depths)} blocks)", "an undamaged file")
        with torch.device("meta"), _Uninitialised():
            drawn = kind(config).state_dict()
    except RequestError:
        raise
    except Exception as error:  # layers raise whatever a value of the wrong kind or sign provokes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise RequestError(f"{own} ({reason})", "an undamaged file") from error
    for name, tensor in drawn.items():
        if name in state and name != "_extra_state" and tensor.shape != state[name].shape:
            got = f"{own} ({name} has the shape {tuple(state[name].shape)}, not {tuple(tensor.shape)})"
            raise RequestError(got, "an undamaged file")
    missing = next((name for name in drawn if name not in state), None)
    if missing:
        raise RequestError(f"{own} ({missing} is missing)", "an undamaged file")
    return kind(config)
