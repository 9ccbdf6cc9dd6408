"""Corrects what keeps the framework's baselines from starting: downloads, hard-wired paths, fixed sizes.

Apart from ``train``, no script needs pretrained weights, because a checkpoint fills the model or it is only counted; so
nothing is fetched there.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qmanet_benco.benco.corrections.row import Request, Rows, around
from qmanet_benco.benco.seam.patches import Overlay, Patches, Stock
from qmanet_benco.errors import RequestError
from qmanet_benco.model.weights.files import read_checkpoint, state_dict_of
from qmanet_benco.model.weights.naming import to_official
from qmanet_benco.model.weights.pretrained import find_weights

ZOO = "IMDLBenCo.model_zoo"
RANDOM = "random"
ROWS = Rows()


class NothingToLoad(dict[str, Any]):
    """In place of weights that are not wanted: loading them changes nothing."""


@ROWS.add(
    "mvss-download",
    "model_zoo/mvss_net/mvssnet.py:223",
    r"model_zoo\.load_url",
    "MVSS-Net fetches ImageNet weights at every construction; only training needs them",
)
def fetch_resnet_for_training(patches: Patches, request: Request) -> None:
    """Fetch MVSS-Net's weights only to train, and not with ``--pretrained_base false``, which the stock ignores."""
    module: Any = importlib.import_module(f"{ZOO}.mvss_net.mvssnet")
    stock = module.model_zoo.load_url
    wanted = [request.script == "train"]

    def init(stock_init: Stock, self: Any, *args: Any, pretrained_base: bool = True, **kwargs: Any) -> None:
        wanted[0] = request.script == "train" and pretrained_base
        stock_init(self, *args, pretrained_base=pretrained_base, **kwargs)

    def load_url(url: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if not wanted[0]:
            return NothingToLoad()
        try:
            # the digits in the file's name are the first of its SHA-256; the stock code does not look at them
            return stock(url, *args, **{**kwargs, "check_hash": True})
        except OSError as error:
            place = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
            raise RequestError(
                f"{url} cannot be fetched ({error})", f"the file {place}", "put it there, or --pretrained_base false"
            ) from error

    patches.wrap(module.MVSSNet, "__init__", init)
    patches.set(module, "model_zoo", Overlay(module.model_zoo, load_url=load_url))
    _accept_nothing(patches)


@ROWS.add(
    "mesorch-download",
    "model_zoo/mesorch/mesorch.py:23",
    r"timm\.create_model",
    "Mesorch fetches ImageNet weights at every construction with --conv_pretrain; only training needs them",
)
def fetch_convnext_for_training(patches: Patches, request: Request) -> None:
    module: Any = importlib.import_module(f"{ZOO}.mesorch.mesorch")
    stock = module.timm.create_model

    def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
        try:
            return stock(name, pretrained=pretrained and request.script == "train", **kwargs)
        except Exception as error:  # the hub's client has many kinds
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise RequestError(
                f"{name}'s weights cannot be fetched ({reason})",
                "a connection, or timm's weights in Hugging Face's cache",
                "--conv_pretrain false for a random start",
            ) from error

    patches.set(module, "timm", Overlay(module.timm, create_model=create_model))


@ROWS.add(
    "mesorch-size",
    "model_zoo/mesorch/mesorch.py:506",
    r"nn\.Upsample\(size=\(512, 512\)",
    "Mesorch's output is 512 x 512 whatever its input; it gets the input's size, at 512 nothing changes",
)
@around(f"{ZOO}.mesorch.mesorch:Mesorch.__init__")
def size_of_mesorch(stock: Stock, self: Any, *args: Any, **kwargs: Any) -> None:
    """Mesorch's output gets the size of its input, which is 512 in the authors' experiments."""
    stock(self, *args, **kwargs)
    self.register_forward_pre_hook(_resize_as_input, with_kwargs=True)


@ROWS.add(
    "mesorch-weights",
    "model_zoo/mesorch/mesorch.py:323",
    r"self\.load_state_dict\(torch\.load\(pretrain_path\)",
    "Mesorch ignores a SegFormer file in another naming than the authors', e.g. mmsegmentation's, without a word",
)
def encoder_of_mesorch(patches: Patches, _: Request) -> None:
    """Mesorch's SegFormer encoder by path or by name, whatever the naming of its tensors; ``random`` for none.

    The stock call is not strict: a file in another naming than the authors' leaves every weight as it was.
    """
    module: Any = importlib.import_module(f"{ZOO}.mesorch.mesorch")
    patches.set(module, "torch", Overlay(torch, load=_read_encoder))
    _accept_nothing(patches)


@ROWS.add(
    "mscdi-weights",
    "model_zoo/mscdi_net/glca_segformer.py:626",
    r"self\.load_state_dict\(torch\.load\(pretrain_path\), strict=False\)",
    "MSCDI-Net does as well, and wants the file also where a checkpoint follows",
)
def encoder_of_mscdi(patches: Patches, _: Request) -> None:
    """MSCDI-Net's, likewise; its constructor wants to know what a call that is not strict has left out."""
    module: Any = importlib.import_module(f"{ZOO}.mscdi_net.glca_segformer")
    patches.set(module, "torch", Overlay(torch, load=lambda source, *_, **__: dict(_read_encoder(source))))


@ROWS.add(
    "trufor-weights",
    "model_zoo/trufor/trufor.py:28",
    r"torch\.load\(np_pretrain_weights\)",
    "TruFor's constructor refuses the published NoisePrint++ file, and wants files also where a checkpoint follows",
)
def weights_of_trufor(patches: Patches, _: Request) -> None:
    """TruFor's files as published, by path or by name; ``random`` for none."""
    module: Any = importlib.import_module(f"{ZOO}.trufor.trufor")
    patches.set(module, "torch", Overlay(torch, load=_read_for_trufor))
    _accept_nothing(patches)


def _resize_as_input(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Set Mesorch's output to the size of the image that it is called with."""
    image = args[0] if args else kwargs["image"]
    model.resize.size = tuple(int(side) for side in image.shape[-2:])


def _read_for_trufor(source: str | None, *_: Any, **__: Any) -> dict[str, Any]:
    if source is None:
        raise RequestError(
            "Trufor without weights",
            "--np_pretrain_weights and --mit_b2_pretrain_weights (phase 2), --det_resume_ckpt (phase 3)",
            "a file, a name of `qmanet weights list`, or random",
        )
    if source == RANDOM:
        return NothingToLoad()
    state = state_dict_of(read_checkpoint(find_weights(source)))
    is_encoder = not any(name.startswith(("0.", "model.")) for name in state)
    return to_official(state)[0] if is_encoder else state


def _read_encoder(source: str, *_: Any, **__: Any) -> dict[str, Any]:
    """A SegFormer encoder's weights in the authors' naming."""
    if source == RANDOM:
        return NothingToLoad()
    return to_official(state_dict_of(read_checkpoint(find_weights(source))))[0]


def _accept_nothing(patches: Patches) -> None:
    def load_state_dict(stock: Stock, self: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        return None if isinstance(state_dict, NothingToLoad) else stock(self, state_dict, *args, **kwargs)

    patches.wrap(nn.Module, "load_state_dict", load_state_dict)
