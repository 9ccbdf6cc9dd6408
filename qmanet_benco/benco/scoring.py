"""The framework's datasets and a registered model, as its test script uses them, for one batch at a time."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from IMDLBenCo.datasets import JsonDataset, ManiDataset
from torch import Tensor, nn
from torch.utils.data import Dataset

from qmanet_benco.benco.corrections import table
from qmanet_benco.benco.corrections.row import Request
from qmanet_benco.benco.seam.lists import read_set
from qmanet_benco.benco.seam.pairs import Pair, check_pairs
from qmanet_benco.errors import RequestError
from qmanet_benco.model.weights.files import read_checkpoint, state_dict_of
from qmanet_benco.precision import FP32, computing

AMP = "amp"
Transform = Callable[..., dict[str, Any]]


@contextmanager
def as_the_test_script(allow_pickle: bool = False) -> Iterator[None]:
    """Make this machine, within the block, what the stock test script needs, with its defects corrected."""
    with redirect_stdout(sys.stderr):  # the module prints when it is imported; stdout is for results
        importlib.import_module("IMDLBenCo.training_scripts.utils.misc")
    with table.corrected(Request("test", allow_pickle), table.selected("test")):
        yield


def pairs_of(path: Path, origin: str) -> list[Pair]:
    """List the pairs of a set, checked, in the framework's order.

    Raises:
        RequestError: the set is missing, empty, shifted or unreadable, or two images share a stem.
    """
    pairs = read_set(path, origin)
    check_pairs(pairs, origin)
    stems: dict[str, str] = {}
    seen: set[str] = set()
    for pair in pairs:
        if pair.image in seen:
            raise RequestError(f"{origin} {path}: {pair.image} is listed twice", "each image once", "drop one")
        seen.add(pair.image)
        other = stems.setdefault(Path(pair.image).stem, pair.image)
        if other != pair.image:
            raise RequestError(
                f"{origin} {path}: {other} and {pair.image} share a name", "one image for each stem", "rename one"
            )
    return pairs


def open_set(
    path: Path,
    image_size: int,
    padding: bool,
    transform: Transform | None,
    post_function: Callable[..., Any] | None,
    edge_width: int | None = None,
) -> Dataset[dict[str, Any]]:
    """Open the framework's dataset of a folder or a JSON list.

    Args:
        path: with ``Tp`` and ``Gt``, or a list.
        image_size: sides of the network's input.
        padding: pad to it; otherwise resize.
        transform: before resizing; called with ``image`` and ``mask``.
        post_function: the model's, changes a sample in place.
        edge_width: width in pixels of the edge mask that a sample gets; None for none.
    """
    kind = ManiDataset if path.is_dir() else JsonDataset
    dataset: Dataset[dict[str, Any]] = kind(
        str(path),
        is_padding=padding,
        is_resizing=not padding,
        output_size=(image_size, image_size),
        edge_width=edge_width,
        common_transforms=transform,
        post_funcs=post_function,
    )
    return dataset


def predict_batch(
    model: nn.Module, batch: dict[str, Any], device: torch.device, precision: str = FP32
) -> tuple[Tensor, Tensor | None]:
    """Make one forward pass as the test script makes it.

    Args:
        model: in eval mode on ``device``.
        batch: of the loader.
        device: where to compute.
        precision: of :data:`~qmanet_benco.precision.PRECISIONS`, or :data:`AMP`: under autocast as the script has it
            unless ``--if_not_amp``.

    Returns:
        Probabilities B x 1 x H x W on the CPU, and the image-level scores (B) if the model gives them.
    """
    given = {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
    with torch.no_grad(), torch.autocast(device.type) if precision == AMP else computing(precision, device):
        output = model(**given)
    probability, score = output["pred_mask"], output.get("pred_label")
    if not isinstance(probability, Tensor) or probability.shape[-2:] != batch["mask"].shape[-2:]:
        shape = tuple(getattr(probability, "shape", ()))
        raise RequestError(
            f"the model gives masks of {shape}",
            f"{tuple(batch['mask'].shape)}, the size of its input",
            "choose the image_size that it is made for",
        )
    return probability.detach().float().cpu(), score.detach().float().cpu().flatten() if score is not None else None


def load_weights(model: nn.Module, path: Path, allow_pickle: bool = False) -> None:
    """Fill a model from a checkpoint of the trainer, a bare state dict, or safetensors (also `qmanet export`'s).

    Raises:
        RequestError: the file is missing or damaged, or does not fit.
    """
    state = state_dict_of(read_checkpoint(path, allow_pickle))
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if "_extra_state" in state and isinstance(getattr(model, "network", None), nn.Module):
        state = {
            f"network.{name}": tensor for name, tensor in state.items()
        }  # the network without the plugin around it
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise RequestError(
            f"{path} does not fit {type(model).__name__} ({lines[-1][:200]})",
            "a checkpoint of this model and these flags",
            "check model, flags and checkpoint",
        ) from error
