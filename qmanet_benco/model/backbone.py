"""GAE and LAE: two MiT encoders (Xie et al. 2021, SegFormer), driven stage by stage (equation 1).

The layers are those of mmsegmentation's ``MixVisionTransformer`` (:mod:`qmanet_benco.model.mmseg_mit`). Its stages are
called one at a time because the interacted features re-enter the backbone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.mmseg_mit import build_mit, import_mit

CURE = "load a checkpoint, or give --backbone_weights FILE (or mit_b3 of `qmanet weights fetch`, or random)"


class Encoder(nn.Module):
    """One MiT encoder whose four stages are called one by one.

    Args:
        config: sizes of the encoder.
    """

    def __init__(self, config: QMANetConfig) -> None:
        super().__init__()
        self.mit = build_mit(config)
        self.checkpointing = False
        self.filled = True
        """False: weights are still to come by ``load_state_dict``; training is an error until then."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it so that a fresh process imports mmsegmentation the network's way before it looks for its layers."""
        return _empty_encoder, (), self.__dict__

    def stage(self, index: int, features: Tensor) -> Tensor:
        """Run stage ``index`` (0 to 3).

        Args:
            features: the image or noise view B x 3 x H x W for stage 0, else B x C_{i-1} x h x w.

        Returns:
            B x C_i x ceil(h / s) x ceil(w / s) with s = 4 for stage 0, else 2.

        Raises:
            RequestError: weights were to come from a checkpoint, and training begins without them.
        """
        if self.training and not self.filled:
            raise RequestError("backbones without weights", "weights that were loaded", CURE)
        patch_embedding, blocks, norm = self.mit.layers[index]
        tokens, size = patch_embedding(features)
        for block in blocks:
            if self.checkpointing and self.training and tokens.requires_grad:
                tokens = checkpoint(block, tokens, size, use_reentrant=False)
            else:
                tokens = block(tokens, size)
        return norm(tokens).transpose(1, 2).reshape(tokens.shape[0], -1, *size)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.filled = self.filled or any(name.startswith(f"{prefix}mit.") for name in state_dict)


def _empty_encoder() -> Encoder:
    import_mit()
    return Encoder.__new__(Encoder)
