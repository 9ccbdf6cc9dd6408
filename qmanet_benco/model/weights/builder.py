"""Build a network from the name of a variant, or from trained weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import QMANetConfig, parse_noise_sources, variant_config
from qmanet_benco.model.network import QMANetwork, stored_config
from qmanet_benco.model.weights.files import read_checkpoint, state_dict_of, stored_calibration, stored_image_size
from qmanet_benco.model.weights.hub import HUB_FILE
from qmanet_benco.model.weights.naming import load_encoder, read_noiseprint
from qmanet_benco.model.weights.pretrained import find_weights

logger = logging.getLogger(__name__)

DEMO = "demo"
DEMO_FILE = Path(__file__).parents[1] / "demo" / HUB_FILE
"""The demonstration model that ships with the package; README.md beside it says how it was made and how good it is."""


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
            ``"checkpoint"``; both encoders start from it.
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
    state, path, image_size = trained_state(as_name(source), allow_pickle)
    network = _built(stored_config(state["_extra_state"]), state, path)
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
    return network.eval().to(device)


def _built(config: QMANetConfig, state: dict[str, torch.Tensor], path: Path) -> QMANetwork:
    """A network by a stored configuration, which could ask for any number of weights: it is drawn up without memory
    first and compared with the tensors that are there.

    Raises:
        RequestError: no network can be built from it, or it would have other tensors than the file.
    """
    own = f"{path} does not fit its own configuration"
    try:
        if sum(config.depths) > len(state):
            raise RequestError(f"{own} ({sum(config.depths)} blocks)", "an undamaged file")
        with torch.device("meta"):
            drawn = QMANetwork(config).state_dict()
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
    return QMANetwork(config)


class Trained(NamedTuple):
    """Trained weights, read."""

    tensors: dict[str, torch.Tensor]
    path: Path
    image_size: int
    """Side in pixels that they were trained for; 0 where the file does not say."""


def trained_state(source: str, allow_pickle: bool = False) -> Trained:
    """Read trained weights that are named as for :func:`load_model`.

    Raises:
        RequestError: there is no such file, or it holds no QMA-Net.
    """
    path = locate(source)
    content = read_checkpoint(path, allow_pickle)
    return Trained(network_state(state_dict_of(content), path), path, stored_image_size(path, content))


def network_state(state: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The network's own tensors of a checkpoint, without the plugin's or DDP's prefix.

    Raises:
        RequestError: no configuration is stored, so these are no weights of QMA-Net.
    """
    home = next((name.removesuffix("_extra_state") for name in state if name.endswith("_extra_state")), None)
    if home is None:
        raise RequestError(f"{path} holds no QMA-Net", "a checkpoint that this package wrote", "check --weights")
    return {name.removeprefix(home): tensor for name, tensor in state.items() if name.startswith(home)}


def as_name(source: str | Path) -> str:
    """What :func:`locate` takes: a path never means the model that ships or one on the hub."""
    return source if isinstance(source, str) else str(source.absolute())


def locate(source: str, **options: Any) -> Path:
    """The file of a model that is named as for :func:`load_model`; fetched where it is on the hub.

    Args:
        source: see there.
        options: of ``hf_hub_download``, for a name on the hub.

    Raises:
        RequestError: there is no such file.
    """
    if source == DEMO:  # a file of that name is ./demo
        return DEMO_FILE
    if source.lower().endswith((".onnx", ".xml")):
        only = "weights that PyTorch loads (.safetensors, .pth)"
        raise RequestError(f"{source}", only, "only `qmanet predict` runs an exported graph; give what it came from")
    if Path(source).is_dir():
        if not (Path(source) / HUB_FILE).is_file():
            raise RequestError(f"{source} holds no {HUB_FILE}", "a folder of save_pretrained, or a file")
        return Path(source) / HUB_FILE
    if Path(source).exists() or source.endswith((".safetensors", ".pth", ".pt")) or source.count("/") != 1:
        if not Path(source).is_file():
            raise RequestError(
                f"{source} is not a file", "a .safetensors or .pth file, or owner/name on the hub", "check the path"
            )
        return Path(source)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        return Path(hf_hub_download(source, HUB_FILE, **options))
    except (HfHubHTTPError, EntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(
            f"{source} cannot be fetched from the hub ({reason})", f"a repository with {HUB_FILE}"
        ) from error


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
        return
    if source == "random":
        logger.warning("both backbones start from random weights; for training as in the paper give mit_b3's")
        return
    path = find_weights(source)
    for encoder in (network.gae, network.lae):
        load_encoder(encoder.mit, path)


__all__ = ["QMANetConfig", "create_model", "load_model"]
