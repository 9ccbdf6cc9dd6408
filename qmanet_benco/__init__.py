"""QMA-Net, image manipulation localization, as a plugin of IMDL-BenCo.

Importing this package is light: no torch, no IMDLBenCo. The public names are resolved when they are first used
(PEP 562); ``from qmanet_benco import QMANet`` registers the model and its post function with the framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

_HOME = {
    "QMANet": "qmanet_benco.benco.plugin",
    "QMANetConfig": "qmanet_benco.model.config",
    "VARIANTS": "qmanet_benco.model.config",
    "create_model": "qmanet_benco.model.weights.builder",
    "load_model": "qmanet_benco.model.weights.builder",
    "predict": "qmanet_benco.apps.predict",
    "RequestError": "qmanet_benco.errors",
    "without_cuda": "qmanet_benco.benco.corrections.cpu",
}

__all__ = [
    "VARIANTS",
    "QMANet",
    "QMANetConfig",
    "RequestError",
    "create_model",
    "load_model",
    "predict",
    "without_cuda",
]

if TYPE_CHECKING:
    from qmanet_benco.apps.predict import predict
    from qmanet_benco.benco.corrections.cpu import without_cuda
    from qmanet_benco.benco.plugin import QMANet
    from qmanet_benco.errors import RequestError
    from qmanet_benco.model.config import VARIANTS, QMANetConfig
    from qmanet_benco.model.weights.builder import create_model, load_model


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
