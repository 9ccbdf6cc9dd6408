"""SAM as a baseline (Kirillov et al. 2023, "Segment Anything"), on transformers' implementation (extra ``[sam]``).

The paper lists SAM without saying how it was prompted or trained. CHOICE: the prompt is a learnt embedding in place of
points and boxes, no prompt mask is given, the first mask token's output is the tampering mask, and image encoder, mask
decoder and prompt are fine-tuned together with binary cross entropy and Dice, which SAM's authors also combine.

The framework turns ``__init__``'s signature into flags, so this file has no ``from __future__ import annotations``.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from IMDLBenCo.registry import MODELS
from torch import Tensor, nn

from qmanet_benco.errors import RequestError, require

logger = logging.getLogger(__name__)

PATCH = 16
VARIANTS: dict[str, dict[str, Any]] = {
    "base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, global_attn_indexes=[2, 5, 8, 11]),
    "large": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, global_attn_indexes=[5, 11, 17, 23]),
    "huge": dict(hidden_size=1280, num_hidden_layers=32, num_attention_heads=16, global_attn_indexes=[7, 15, 23, 31]),
    "miniature": dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, global_attn_indexes=[1]),
}
"""Sizes of the image encoder: the authors' ``build_sam.py``; miniature is ours, for tests."""
PROMPT_TOKENS = 2
"""CHOICE: as many as one clicked point makes (the point and the padding token)."""
DICE_SMOOTH = 1.0


@MODELS.register_module(force=True)  # importing twice changes nothing
class SAM(nn.Module):
    """SAM's image encoder and mask decoder with a learnt prompt.

    Args:
        variant: image encoder: base, large (the paper's, by its 309 M parameters), huge, miniature
        weights: a folder or a Hugging Face name with SAM's published weights, e.g. facebook/sam-vit-large; random
        input_size: side of the images in pixels, a multiple of 16; SAM was trained at 1024, at other sizes its
            positions are interpolated
        checkpointing: 1 recomputes the encoder's activations in backward: less memory, more time

    Raises:
        RequestError: a flag has a wrong value, the weights cannot be read, or transformers is not installed.
    """

    def __init__(
        self, variant: str = "large", weights: str = "random", input_size: int = 1024, checkpointing: int = 0
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise RequestError(f"variant {variant!r} of SAM", f"one of {', '.join(VARIANTS)}")
        if input_size < PATCH or input_size % PATCH:
            raise RequestError(f"input_size {input_size} of SAM", f"a multiple of {PATCH}")
        self.input_size = input_size
        config = _config(variant, input_size)
        network: Any = require("sam", "transformers").SamModel(config)
        if weights == "random":
            logger.warning("SAM starts from random weights; for fine-tuning give --weights facebook/sam-vit-large")
        else:
            _fill(network, weights)
        self.image_encoder = network.vision_encoder
        self.mask_decoder = network.mask_decoder
        self.mask_decoder.iou_prediction_head.requires_grad_(False)  # its output is not used
        width = config.mask_decoder_config.hidden_size
        self.prompt = nn.Parameter(torch.randn(1, 1, PROMPT_TOKENS, width) * 0.02)
        self.no_mask = nn.Parameter(network.prompt_encoder.no_mask_embed.weight.detach().view(1, width, 1, 1).clone())
        self.register_buffer("positions", network.get_image_wide_positional_embeddings().detach().clone())
        if checkpointing:
            network.gradient_checkpointing_enable()

    def logits(self, image: Tensor) -> Tensor:
        """B x 3 x S x S, ImageNet-normalised (which is SAM's own normalisation) -> logits, B x 1 x S x S.

        Raises:
            RequestError: the images have another size than the model was built for.
        """
        size = (self.input_size, self.input_size)
        if image.shape[-2:] != size:
            raise RequestError(
                f"images of {tuple(image.shape[-2:])} for SAM", f"{size}", f"--input_size {image.shape[-1]}"
            )
        features = self.image_encoder(image).last_hidden_state  # B x 256 x S/16 x S/16
        masks, *_ = self.mask_decoder(  # older transformers give attentions as well
            image_embeddings=features,
            image_positional_embeddings=self.get_buffer("positions").expand(len(image), -1, -1, -1),
            sparse_prompt_embeddings=self.prompt.expand(len(image), -1, -1, -1),
            dense_prompt_embeddings=self.no_mask.expand_as(features),
            multimask_output=False,
        )  # B x 1 x 1 x S/4 x S/4
        return F.interpolate(masks[:, 0].float(), size, mode="bilinear", align_corners=False)

    def forward(self, image: Tensor, mask: Tensor | None = None, *_: Any, **__: Any) -> dict[str, Any]:
        """Localize, and with a mask (B x 1 x S x S in {0, 1}) also compute the loss; the framework's output."""
        logits = self.logits(image)
        output: dict[str, Any] = {"pred_mask": logits.sigmoid(), "pred_label": None}
        if mask is None:
            return output | {"backward_loss": None, "visual_loss": {}, "visual_image": {}}
        entropy, dice = F.binary_cross_entropy_with_logits(logits, mask.float()), dice_loss(logits.sigmoid(), mask)
        return output | {
            "backward_loss": entropy + dice,
            "visual_loss": {"bce_loss": entropy.detach(), "dice_loss": dice.detach()},
            "visual_image": {"pred_mask": output["pred_mask"]},
        }


def dice_loss(probability: Tensor, mask: Tensor) -> Tensor:
    """Compute ``1 - 2 |P M| / (|P| + |M|)``, smoothed by 1, mean over images; both B x 1 x H x W in [0, 1]."""
    both = (probability * mask).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + mask.sum(dim=(1, 2, 3))
    return (1 - (2 * both + DICE_SMOOTH) / (total + DICE_SMOOTH)).mean()


def _config(variant: str, size: int) -> Any:
    module = require("sam", "transformers")
    sizes = VARIANTS[variant]
    vision = module.SamVisionConfig(
        **sizes, image_size=size, mlp_dim=4 * sizes["hidden_size"], num_pos_feats=128, patch_size=PATCH
    )
    prompt = module.SamPromptEncoderConfig(image_size=size, patch_size=PATCH)
    config = module.SamConfig(vision_config=vision, prompt_encoder_config=prompt)
    config.prompt_encoder_config.image_embedding_size = size // PATCH
    return config


def _fill(network: Any, source: str) -> None:
    """Load published weights, their positions interpolated to the network's image size."""
    published = _published_state(source)
    own = network.state_dict()
    fitted = {name: _fitted(tensor, own[name].shape) for name, tensor in published.items() if name in own}
    wrong = [name for name, tensor in own.items() if name not in fitted or fitted[name].shape != tensor.shape]
    if wrong:
        raise RequestError(
            f"{source} does not fit: {len(wrong)} tensors, first {wrong[0]}", "SAM of the same --variant", "check it"
        )
    network.load_state_dict(fitted)


def _published_state(source: str) -> Mapping[str, Tensor]:
    """Read the tensors of a folder or of a repository; safetensors only, so that nothing can run code."""
    try:
        network = require("sam", "transformers").SamModel.from_pretrained(source, use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:160]
        where = "a folder" if Path(source).exists() else "a folder, or a Hugging Face name and a connection"
        raise RequestError(
            f"SAM's weights {source!r} cannot be read ({reason})", f"{where} with model.safetensors", "or random"
        ) from error
    return network.state_dict()


def _fitted(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Positions at another size: absolute ones (1 x N x N x C) bilinearly, relative ones (2N-1 x C) linearly.

    SAM's encoder itself interpolates relative positions so when it meets another size.
    """
    if tensor.shape == shape or tensor.shape[-1] != shape[-1] or tensor.dim() != len(shape):
        return tensor
    if tensor.dim() == 4:
        moved = F.interpolate(tensor.permute(0, 3, 1, 2), tuple(shape[1:3]), mode="bilinear", antialias=True)
        return moved.permute(0, 2, 3, 1)
    return F.interpolate(tensor.T[None], size=shape[0], mode="linear")[0].T
