"""Finds the file of trained weights that a user names: a path, a folder, a model on the hub, or the one that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qmanet_benco.errors import RequestError

HUB_FILE = "model.safetensors"
"""Name of the weights in a folder of ``save_pretrained`` and on the hub."""
DEMO = "demo"
DEMO_FILE = Path(__file__).parents[1] / "demo" / HUB_FILE
"""The demonstration model that ships with the package; README.md beside it says how it was made and how good it is."""


def as_name(source: str | Path) -> str:
    """Name a source as :func:`locate` takes it: a path never means the model that ships or one on the hub."""
    return source if isinstance(source, str) else str(source.absolute())


def locate(source: str, **options: Any) -> Path:
    """The file of a model that is named as for :func:`~qmanet_benco.load_model`; fetched where it is on the hub.

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
