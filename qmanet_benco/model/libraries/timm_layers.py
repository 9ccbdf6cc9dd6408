"""The layers of timm that the network is made of, imported without the rest of timm."""

from __future__ import annotations

from qmanet_benco.model.libraries.deferred import deferred

with deferred("timm", "timm.layers"):
    from timm.layers.mlp import Mlp
    from timm.layers.norm import LayerNorm2d
    from timm.layers.squeeze_excite import SqueezeExcite
    from timm.layers.weight_init import trunc_normal_

__all__ = ["LayerNorm2d", "Mlp", "SqueezeExcite", "trunc_normal_"]
