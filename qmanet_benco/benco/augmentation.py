"""The stock trainer's augmentation, or none.

The trainer rescales and brightens every image, so a NoisePrint++ residual never fits a second time. Without its
augmentation the network sees the files' own pixels, resized or padded, and ``--noiseprint_cache`` works in training;
variety then has to come from the files.
"""

from __future__ import annotations

from typing import Any

from qmanet_benco.benco.patches import Patches
from qmanet_benco.errors import RequestError

STOCK, NONE = "stock", "none"


def choose_augmentation(patches: Patches, name: str, script: str) -> None:
    """Leave the training pipeline as it is, or make it empty, within ``patches``.

    Args:
        patches: what is undone afterwards.
        name: ``stock`` or ``none``.
        script: only ``train`` has a pipeline to choose.

    Raises:
        RequestError: the name is unknown, or the script is another one.
    """
    if name in ("", STOCK):
        return
    if name != NONE:
        raise RequestError(f"--augment {name}", f"{STOCK} or {NONE}")
    if script != "train":
        raise RequestError(f"--augment {name} for {script}", "train")
    import albumentations

    stock = albumentations.Compose

    def compose(transforms: Any, *args: Any, **kwargs: Any) -> Any:
        # resizing and conversion are compositions too; only the trainer's pipeline rescales at random
        augments = any(isinstance(transform, albumentations.RandomScale) for transform in transforms)
        return stock([] if augments else transforms, *args, **kwargs)

    patches.set(albumentations, "Compose", compose)
