"""QMA-Net: extraction and interaction in alternation, queries that aggregate, a decoder that they drive.

Paper: "A Novel Query-Driven Multi-Stage Alternating Feature Extraction and Interaction Network for Image Manipulation
Localization", section 3. The forward pass reads like equations 1 to 7; sizes live in :mod:`qmanet_benco.model.config`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from qmanet_benco.errors import RequestError
from qmanet_benco.model.aggregation import QueryAggregation
from qmanet_benco.model.backbone import Encoder
from qmanet_benco.model.calibration import Calibration
from qmanet_benco.model.config import STAGES, QMANetConfig
from qmanet_benco.model.decoder import DECODER_CLASSES, Level, upsample
from qmanet_benco.model.edges import EDGE_SUPERVISION_CLASSES
from qmanet_benco.model.interaction import Interaction
from qmanet_benco.model.noise_view import NoiseView
from qmanet_benco.model.statistics.encoder import StatisticsEncoder
from qmanet_benco.model.weights.hub import HubModel
from qmanet_benco.model.weights.trained import check_architecture
from qmanet_benco.precision import FP32, computing

SMALLEST_SIDE = 64
"""Below 64 pixels stage 4 has less than 2 x 2 tokens and the reduced keys of stage 1 vanish."""


PAPER_IMAGE_SIZE = 512
"""Section 4.1."""


class Localization(NamedTuple):
    """Everything that one forward pass computes."""

    mask_logits: Tensor
    """B x 1 x H x W, float32, at the input's size; their sigmoid is the probability of tampering."""
    edge_logits: tuple[Tensor, ...]
    """B x 1 x h_i x w_i for each level, or one fused map at stride 4; empty where edges were not asked for."""
    noise_view: Tensor
    """X_noise, B x 3 x H x W, float32."""
    levels: tuple[Level, ...]
    """(R_i, N_i, Q_i) of the four levels."""


class QMANetwork(HubModel):
    """The network. Parts are built from the configuration; nothing else decides a size.

    In eval mode a call returns the probability of tampering, B x 1 x H x W in [0, 1]; in training mode it returns
    the :class:`Localization` that the losses need. :meth:`localize` returns the latter in both modes.

    ``from_pretrained``, ``save_pretrained`` and ``push_to_hub`` are those of :mod:`qmanet_benco.model.weights.hub`.

    Args:
        config: sizes and choices.
    """

    def __init__(self, config: QMANetConfig) -> None:
        super().__init__()
        self.config = config
        self.image_size = PAPER_IMAGE_SIZE  # side in pixels of the square that the weights were trained for
        self.calibration: Calibration | None = None  # of trained weights, where it travelled with them
        self.precision = FP32  # of a call in eval mode
        self.noise_view = NoiseView(config.noise_sources, config.residual_gain)
        self.gae = Encoder(config)
        self.lae = Encoder(config)
        width = config.statistics_width
        self.statistics = StatisticsEncoder(width, config.widths[1]) if width else None
        stages = STAGES if config.keep_alignment else config.interaction_stages
        self.interactions = nn.ModuleDict({str(i): Interaction(config, i - 1) for i in stages})
        self.aggregation = QueryAggregation(config) if config.decoder == "query" else None
        self.decoder = DECODER_CLASSES[config.decoder](config)
        self.edge_heads = EDGE_SUPERVISION_CLASSES[config.edge_supervision](config)
        self.checkpointing = False

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the configuration and the weights, wherever they were loaded from."""
        digest = hashlib.sha256(self.config.to_json().encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def forward(
        self, image: Tensor, srm: Tensor | None = None, noiseprint: Tensor | None = None
    ) -> Tensor | Localization:
        """See the class; arguments as for :meth:`localize`."""
        if self.training:
            return self.localize(image, srm, noiseprint)
        with computing(self.precision, image.device):
            return self.localize(image, srm, noiseprint, edges=False).mask_logits.sigmoid()

    def localize(
        self, image: Tensor, srm: Tensor | None = None, noiseprint: Tensor | None = None, edges: bool = True
    ) -> Localization:
        """Localize what was tampered.

        Args:
            image: B x 3 x H x W, ImageNet-normalised, each side 64 or more.
            srm: SRM residual of the image (B x 3 x H x W), if the data loader has it already.
            noiseprint: NoisePrint++ residual of the image (B x 1 x H x W), if it is known already.
            edges: compute the edge logits too; only training needs them.

        Raises:
            RequestError: the image has another shape, or NoisePrint++ is used without weights.
        """
        self._check(image)
        noise_view = self.noise_view(image, srm, noiseprint)
        features = by_statistics = None
        if self.statistics is not None:
            measured = self.statistics.measured(image)
            features = self._run(self.statistics.encode, measured)
            by_statistics = self.statistics.logits(measured, features)
        levels = self._alternate(image, noise_view, features)
        logits = self._decode(levels)
        if by_statistics is not None:
            logits = logits + upsample(by_statistics, logits.shape[2:])
        mask_logits = upsample(logits, image.shape[2:]).float()
        edge_logits = self.edge_heads([level.rgb for level in levels]) if edges else ()
        return Localization(mask_logits, edge_logits, noise_view, levels)

    def _alternate(self, image: Tensor, noise_view: Tensor, features: Tensor | None) -> tuple[Level, ...]:
        """Equations 1 to 6: extract, interact, aggregate, at each of the four stages."""
        rgb, noise = image, noise_view
        queries = None if self.aggregation is None else self.aggregation.initial(image.shape[0])
        levels: list[Level] = []
        for stage in range(4):
            rgb, noise = self.gae.stage(stage, rgb), self.lae.stage(stage, noise)  # eq. 1
            if stage == 1 and self.statistics is not None:  # stride 8, that of a JPEG block
                noise = noise + self.statistics.to_noise(features)
            rgb, noise = self._interact(stage, rgb, noise)  # eq. 2 to 4
            queries = self._aggregate(stage, queries, rgb, noise)  # eq. 5, 6
            levels.append(Level(rgb, noise, queries))
            rgb = self._align_back(stage, rgb)
        return tuple(levels)

    def _interact(self, stage: int, rgb: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        if str(stage + 1) not in self.interactions:
            return rgb, noise
        return self._run(self.interactions[str(stage + 1)], rgb, noise)

    def _align_back(self, stage: int, rgb: Tensor) -> Tensor:
        if str(stage + 1) not in self.interactions:
            return rgb
        return cast(Interaction, self.interactions[str(stage + 1)]).align_back(rgb)

    def _aggregate(self, stage: int, queries: Tensor | None, rgb: Tensor, noise: Tensor) -> Tensor | None:
        """Q_{i-1} -> Q_i; None where the decoder has no queries."""
        if self.aggregation is None or queries is None:
            return None
        if stage > 0:
            queries = self.aggregation.next_level(stage - 1, queries)
        return self._run(self.aggregation.levels[stage], queries, rgb, noise)

    def _decode(self, levels: tuple[Level, ...]) -> Tensor:
        """Equation 7, at stride 4."""
        chosen = [levels[level - 1] for level in self.config.decoder_levels]
        return self.decoder(chosen, levels[0].rgb.shape[2:])

    def set_checkpointing(self, enabled: bool) -> None:
        """Trade time for memory in training: recompute encoder blocks, interactions and MFAMs in backward."""
        self.checkpointing = enabled
        self.gae.checkpointing = self.lae.checkpointing = enabled

    def get_extra_state(self) -> Tensor:
        """The configuration travels with the weights, as a tensor so that every format can hold it."""
        return torch.frombuffer(bytearray(self.config.to_json(), "utf-8"), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse weights of another architecture.

        Raises:
            RequestError: the stored configuration builds another network than this one.
        """
        check_architecture(state, self.config)

    def _run(self, module: Callable[..., Any], *inputs: Any) -> Any:
        if self.checkpointing and self.training:
            return checkpoint(module, *inputs, use_reentrant=False)
        return module(*inputs)

    @staticmethod
    def _check(image: Tensor) -> None:
        if image.dim() != 4 or image.shape[1] != 3:
            raise RequestError(f"an image tensor of shape {tuple(image.shape)}", "B x 3 x H x W")
        if min(image.shape[2:]) < SMALLEST_SIDE:
            size = f"{image.shape[3]}x{image.shape[2]}"
            raise RequestError(
                f"an image of {size} pixels", f"{SMALLEST_SIDE} or more on each side", "enlarge it (--image_size)"
            )


def image_score(probability: Tensor, valid: Tensor | None = None) -> Tensor:
    """Score of a whole image: the mean of its most suspicious thousandth of pixels (CHOICE; the paper has none).

    Args:
        probability: B x 1 x H x W in [0, 1].
        valid: B x 1 x H x W in {0, 1}, 0 where the image was padded.

    Returns:
        B values in [0, 1].
    """
    if valid is not None:
        probability = probability * valid
    pixels = probability.flatten(1)
    return pixels.topk(max(1, pixels.shape[1] // 1000), dim=1).values.mean(dim=1)
