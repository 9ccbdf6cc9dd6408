"""QMA-Net as a model of IMDL-BenCo: flags in, the framework's output dictionary out.

The framework turns ``__init__``'s signature into command line flags, so its annotations are bare ``int``, ``float`` and
``str``, and this file has no ``from __future__ import annotations``, which would turn them into strings.
"""

from pathlib import Path
from typing import Any

import torch
from IMDLBenCo.registry import MODELS
from torch import Tensor, nn

from qmanet_benco.benco import noise_transforms
from qmanet_benco.errors import RequestError
from qmanet_benco.model.decoder import upsample
from qmanet_benco.model.losses import Losses, edge_band, total_loss
from qmanet_benco.model.network import Localization, image_score
from qmanet_benco.model.noiseprint_arithmetic import FLOAT32, precision
from qmanet_benco.model.weights.builder import create_model, fields_of_flags

EDGE_TARGETS = ("model", "dataset")


@MODELS.register_module(force=True)  # importing twice changes nothing
class QMANet(nn.Module):
    """QMA-Net for the framework's scripts.

    Args:
        variant: network to build: paper; cp, sl, ss, cd, mlp (Table 2); q4, q8, q32 (Table 9); b0..b5; miniature;
            b0-light; miniature-statistics; a backbone with an ablation, such as b0-cp
        num_queries: tamper-aware queries; 0 takes the variant's
        noise_sources: comma list of srm, bayar, noiseprint, or none; empty takes the variant's
        backbone_weights: both encoders start from this file (any SegFormer naming), a name of `qmanet weights list`,
            random, or checkpoint
        noiseprint_weights: NoisePrint++ weights: a file, a name of `qmanet weights list`, random, or checkpoint (the
            default: they come with the checkpoint; training without them is an error)
        initial_weights: a trained QMA-Net of the same architecture to start from (fine-tuning): a checkpoint,
            .safetensors or a name on the hub; NoisePrint++ and encoders come from it too
        noiseprint_cache: folder that keeps NoisePrint++ residuals of test images, by exact pixels and weights; empty:
            none are kept
        edge_width: width in pixels of the edge band at the network's input size
        edge_target: model: the band is made from the resized mask; dataset: the dataset's own (--edge_mask_width)
        segmentation_weight: alpha of equation 8, weight of the mask's Dice loss
        edge_weight: beta of equation 8, weight of the edges' Dice loss
        bce_weight: weight of an additional binary cross entropy on the mask; the paper has none
        edge_supervision: levels: one edge map for each of the four levels; fused: one map of all levels
        dice: sums of the Dice losses: over each image, or over the whole batch with smoothing 1
        residual: what equation 4 adds to the RGB branch's attention: aligned, or initial as it is printed
        shared_gcm: 1: both directions of attention share one G; 0: each has its own
        gcm_groups: groups of the group convolutions
        literal_first_block: 1: MFAM's first block has keys R and values N, as equation 6 is printed
        fusion_ratio: inner width of DCM relative to the level's
        dilations: comma list of DCM's dilation rates; empty takes the variant's
        keep_alignment: 1: stages without DFCM (cp, ss) keep the alignment and its way back
        residual_gain: factor of SRM and BayarConv residuals; 0 takes the variant's
        checkpointing: 1 recomputes activations in backward: less memory, more time
        noiseprint_arithmetic: of NoisePrint++ on CUDA: fp32, tf32 or tf32x3 (three products in TF32)

    Raises:
        RequestError: a flag has a wrong value, or a file does not fit.
    """

    def __init__(
        self,
        variant: str = "paper",
        num_queries: int = 0,
        noise_sources: str = "",
        backbone_weights: str = "random",
        noiseprint_weights: str = "checkpoint",
        initial_weights: str = "",
        noiseprint_cache: str = "",
        edge_width: int = 7,
        edge_target: str = "model",
        segmentation_weight: float = 0.2,
        edge_weight: float = 0.8,
        bce_weight: float = 0.0,
        edge_supervision: str = "levels",
        dice: str = "image",
        residual: str = "aligned",
        shared_gcm: int = 1,
        gcm_groups: int = 8,
        literal_first_block: int = 0,
        fusion_ratio: float = 0.75,
        dilations: str = "",
        keep_alignment: int = 0,
        residual_gain: float = 0.0,
        checkpointing: int = 0,
        noiseprint_arithmetic: str = "fp32",
    ) -> None:
        super().__init__()
        if edge_target not in EDGE_TARGETS:
            raise RequestError(f"edge_target {edge_target!r}", f"one of {', '.join(EDGE_TARGETS)}")
        self.network = create_model(
            variant,
            noiseprint_weights=noiseprint_weights,
            backbone_weights=backbone_weights,
            noise_sources=noise_sources or None,
            num_queries=num_queries,
            initial_weights=initial_weights,
            **fields_of_flags(
                dict(
                    edge_width=edge_width,
                    segmentation_weight=segmentation_weight,
                    edge_weight=edge_weight,
                    bce_weight=bce_weight,
                    edge_supervision=edge_supervision,
                    dice=dice,
                    residual=residual,
                    shared_gcm=shared_gcm,
                    gcm_groups=gcm_groups,
                    literal_first_block=literal_first_block,
                    fusion_ratio=fusion_ratio,
                    dilations=dilations,
                    keep_alignment=keep_alignment,
                    residual_gain=residual_gain,
                )
            ),
        )
        self.network.set_checkpointing(bool(checkpointing))
        if self.network.noise_view.noiseprint is not None:
            self.network.noise_view.noiseprint.set_arithmetic(noiseprint_arithmetic)
        self.edge_target = edge_target
        self.noiseprint_cache = noiseprint_cache
        self.residual_folder: Path | None = None
        self.register_load_state_dict_post_hook(_weights_changed)
        _weights_changed(self)

    def forward(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        label: Tensor | None = None,  # noqa: ARG002  the framework passes it
        edge_mask: Tensor | None = None,
        shape_mask: Tensor | None = None,
        srm_residual: Tensor | None = None,
        noiseprint_residual: Tensor | None = None,
        noiseprint_key: Tensor | None = None,
        *_unused: Any,
        **_framework: Any,
    ) -> dict[str, Any]:
        """Localize, and with a mask also compute the losses.

        Args:
            image: B x 3 x H x W, ImageNet-normalised.
            mask: B x 1 x H x W in {0, 1}; without it there are no losses.
            label: B image labels; the paper has no image-level loss, so they are not used.
            edge_mask: B x 1 x H x W in {0, 1}, the dataset's edge band; used with ``edge_target="dataset"``.
            shape_mask: B x 1 x H x W in {0, 1}, 0 where the framework padded.
            srm_residual: B x 3 x H x W, where a loader computes it; otherwise it is computed here.
            noiseprint_residual: from ``qmanet_post_func`` with a cache; NaN where it is not known.
            noiseprint_key: from ``qmanet_post_func`` with a cache, B x 32 bytes.
            _unused: the framework's complexity script passes a ``None`` for each name that it does not know.
            _framework: other entries of the framework's samples.

        Returns:
            ``backward_loss``, ``pred_mask`` (B x 1 x H x W in [0, 1]), ``pred_label`` (B in [0, 1]), ``visual_loss``
            and ``visual_image``.
        """
        srm = self._srm_residual(image) if srm_residual is None else srm_residual
        noiseprint = self._complete_residual(image, noiseprint_residual, noiseprint_key)
        result = self.network.localize(image, srm, noiseprint, edges=mask is not None)
        probability = result.mask_logits.sigmoid()
        output: dict[str, Any] = {
            "pred_mask": probability,
            "pred_label": image_score(probability.detach(), shape_mask),
        }
        if mask is None:
            return output | {"backward_loss": None, "visual_loss": {}, "visual_image": {}}
        band = self._band(mask, edge_mask)
        losses = total_loss(result.mask_logits, result.edge_logits, mask, band, self.network.config, shape_mask)
        return output | {
            "backward_loss": losses.total,
            "visual_loss": _visual_loss(losses),
            "visual_image": _visual_image(result, band),
        }

    def _band(self, mask: Tensor, edge_mask: Tensor | None) -> Tensor:
        if self.edge_target == "model":
            return edge_band(mask, self.network.config.edge_width)
        if edge_mask is None:
            raise RequestError(
                "edge_target=dataset without an edge mask", "a dataset that makes one", "--edge_mask_width 7"
            )
        return edge_mask

    def _srm_residual(self, image: Tensor) -> Tensor | None:
        """Compute the residual in float32 on a GPU too, whose TF32 would round grey values to half a per mille."""
        view = self.network.noise_view
        if view.srm is None:
            return None
        with torch.no_grad(), precision(FLOAT32):
            return view.srm(view.denormalise(image))

    def _complete_residual(self, image: Tensor, residual: Tensor | None, keys: Tensor | None) -> Tensor | None:
        """Compute what the cache did not know. In eval mode it is also stored: training images never come again."""
        module = self.network.noise_view.noiseprint
        if residual is None or module is None or self.residual_folder is None:
            return None
        if self.residual_folder != noise_transforms.cache_in_use():
            return None  # another model of this process asks for residuals of its own weights
        unknown = torch.isnan(residual[:, 0, 0, 0])
        if bool(unknown.any()):
            computed = module(self.network.noise_view.denormalise(image[unknown]))
            residual = residual.clone()
            residual[unknown] = computed
            if keys is not None and not self.training:
                for key, one in zip(keys[unknown].cpu(), computed, strict=True):
                    noise_transforms.store_residual(self.residual_folder, bytes(key.tolist()), one)
        return residual


def _weights_changed(model: QMANet, *_: Any) -> None:
    """Point the post function to the residuals of the weights that the model has now."""
    module = model.network.noise_view.noiseprint
    if model.noiseprint_cache and module is not None and module.filled:
        model.residual_folder = noise_transforms.use_cache(model.noiseprint_cache, module.fingerprint())


def _visual_loss(losses: Losses) -> dict[str, Tensor]:
    """Collect what the trainer logs, scalars without a graph."""
    visual = {"total_loss": losses.total, "segmentation_loss": losses.segmentation, "edge_loss": losses.edge}
    visual |= {f"edge_loss_level{level}": loss for level, loss in enumerate(losses.edge_levels, start=1)}
    return {name: loss.detach() for name, loss in visual.items()}


@torch.no_grad()
def _visual_image(result: Localization, band: Tensor) -> dict[str, Tensor]:
    """Collect what the trainer shows once an epoch: each B x (1 or 3) x H x W in [0, 1]."""
    view = result.noise_view.detach()
    low, high = view.amin(dim=(1, 2, 3), keepdim=True), view.amax(dim=(1, 2, 3), keepdim=True)
    edges = upsample(result.edge_logits[0].detach().float().sigmoid(), band.shape[2:])
    return {"noise_view": (view - low) / (high - low).clamp_min(1e-6), "edge_target": band, "edge_prediction": edges}
