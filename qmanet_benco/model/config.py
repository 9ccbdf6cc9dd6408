"""The network's sizes and the choices that the paper leaves open; variants are rows of data.

Sources: the paper's section 3, Tables 2, 9 and 10; Xie et al. 2021, Table 6, for the sizes of MiT-B0..B5.
``CHOICE`` marks a field where the paper is silent: the value is ours and can be changed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from qmanet_benco.errors import RequestError

NOISE_SOURCES = ("srm", "bayar", "noiseprint")
DECODERS = ("query", "conv", "mlp")
RESIDUALS = ("aligned", "initial")
EDGE_SUPERVISIONS = ("levels", "fused")
DICE_SUMS = ("image", "batch")
STAGES = (1, 2, 3, 4)


@dataclass(frozen=True)
class QMANetConfig:
    """All that determines the shape and the arithmetic of one QMA-Net.

    Raises:
        RequestError: a field has a value that no network can be built from.
    """

    variant: str = "paper"
    """Name of the row of :data:`VARIANTS` that this configuration started from."""

    embed_dim: int = 64
    """Width per attention head of the encoders; stage ``i`` is ``embed_dim * heads[i]`` wide."""
    heads: tuple[int, ...] = (1, 2, 5, 8)
    depths: tuple[int, ...] = (3, 4, 18, 3)
    """Transformer blocks per stage. MiT-B3: with it the network has the paper's 114.0 M and 230.0 G (Table 10)."""
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    """Spatial reduction of keys and values per stage (SegFormer); CHOICE: the interaction's attention uses it too."""
    drop_path: float = 0.1
    """Rate of stochastic depth of the last block (SegFormer's 0.1); smaller for earlier blocks."""

    noise_sources: tuple[str, ...] = NOISE_SOURCES
    """What the noise view is made of (MNFM); empty: the second branch sees the image itself."""

    residual_gain: float = 1.0
    """SRM and BayarConv residuals are multiplied by it, and where it is not 1 softly bounded, so that faint noise
    is not drowned by edges: at 24 / gain grey levels (CHOICE; SRM's authors truncate at 2 or 3)."""

    statistics_width: int = 0
    """Width of the encoder of statistics (:mod:`qmanet_benco.model.statistics`); the paper has none: 0."""

    interaction_stages: tuple[int, ...] = STAGES
    """Stages with alignment and DFCM. Table 2: none is CP, only stage 4 is SS."""
    keep_alignment: bool = False
    """Stages without DFCM keep the alignment and its way back (CHOICE: the paper's CP "removes DFCM")."""
    residual: str = "aligned"
    """What equation 4 adds to the RGB branch's attention: the aligned feature (CHOICE), or R_init as it is printed."""
    gcm_groups: int = 8
    """Groups of the group convolution modules (CHOICE)."""
    shared_gcm: bool = True
    """One G for both directions, as equation 4 writes it and as "a unified representation space" reads (CHOICE)."""
    recalibration_reduction: int = 4
    """Reduction of the projection head in the recalibration (CHOICE)."""

    decoder: str = "query"
    """``query`` is QMFD; ``conv`` and ``mlp`` are Table 2's CD and MLP."""
    decoder_levels: tuple[int, ...] = STAGES
    """Levels that the decoder sees. Table 2: only level 4 is SL."""
    num_queries: int = 16
    query_ffn_ratio: int = 4
    """Width of the feed-forward network in MFAM's blocks, relative to the level's (CHOICE)."""
    literal_first_block: bool = False
    """MFAM's first block with keys R and values N, as equation 6 is printed; else keys and values R (CHOICE)."""
    fusion_ratio: float = 0.75
    """Inner width of DCM relative to the level's (CHOICE)."""
    dilations: tuple[int, ...] = (1, 2, 5)
    """Dilation rates of DCM (Wang et al. 2018, section 3.2)."""
    decoder_width: int = 256
    """Inner width of the two ablation decoders (CHOICE: SegFormer's head)."""
    edge_head_width: int = 64
    """Inner width of an edge supervision head (CHOICE)."""
    edge_supervision: str = "levels"
    """``levels``: one edge map for each of the four levels (CHOICE); ``fused``: one map of all levels, at full size."""

    dice: str = "image"
    """Sums of the Dice losses: over each ``image`` (CHOICE), or over the whole ``batch`` with smoothing 1."""
    segmentation_weight: float = 0.2
    """Alpha of equation 8."""
    edge_weight: float = 0.8
    """Beta of equation 8."""
    bce_weight: float = 0.0
    """Weight of an additional binary cross entropy on the mask; the paper has none."""
    edge_width: int = 7
    """Width in pixels of the edge band at the network's input size (CHOICE, as the framework's training scripts)."""

    def __post_init__(self) -> None:
        unknown = [source for source in self.noise_sources if source not in NOISE_SOURCES]
        if unknown:
            raise RequestError(f"noise source {unknown[0]!r}", f"a comma list of {', '.join(NOISE_SOURCES)}, or none")
        if self.decoder not in DECODERS:
            raise RequestError(f"decoder {self.decoder!r}", f"one of {', '.join(DECODERS)}")
        for name, words in (("residual", RESIDUALS), ("edge_supervision", EDGE_SUPERVISIONS), ("dice", DICE_SUMS)):
            if getattr(self, name) not in words:
                raise RequestError(f"{name} {getattr(self, name)!r}", f"one of {', '.join(words)}")
        if not self.decoder_levels:
            raise RequestError("no decoder level", "at least one of 1, 2, 3, 4")
        for name in ("interaction_stages", "decoder_levels"):
            stages = getattr(self, name)
            if not set(stages) <= set(STAGES):
                raise RequestError(f"{name} {','.join(map(str, stages))}", "stages out of 1, 2, 3, 4")
        if self.gcm_groups < 1:
            raise RequestError(f"gcm_groups {self.gcm_groups}", "1 or more")
        if not 0 < self.fusion_ratio <= 4:
            raise RequestError(f"fusion_ratio {self.fusion_ratio}", "above 0, at most 4")
        if not 1 <= len(self.dilations) <= 16 or not all(1 <= rate <= 64 for rate in self.dilations):
            raise RequestError(f"dilations {','.join(map(str, self.dilations))}", "1 to 16 rates of 1 to 64")
        if self.num_queries < 1:
            raise RequestError(f"num_queries {self.num_queries}", "1 or more")
        if self.edge_width < 1 or self.edge_width % 2 == 0:
            raise RequestError(f"edge_width {self.edge_width}", "an odd number of pixels, such as the default 7")
        if not 0 <= self.statistics_width <= 1024:
            raise RequestError(f"statistics_width {self.statistics_width}", "0 (none) to 1024")
        if not 0 < self.residual_gain < 1e3:
            raise RequestError(f"residual_gain {self.residual_gain}", "above 0 and below 1000")
        for name in ("segmentation_weight", "edge_weight", "bce_weight"):
            if not getattr(self, name) >= 0:  # NaN is refused too
                raise RequestError(f"{name} {getattr(self, name)}", "0 or more")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four stages, C_1..C_4."""
        return tuple(self.embed_dim * heads for heads in self.heads)

    def to_json(self) -> str:
        """The configuration as one line of JSON; :meth:`from_json` is its inverse."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> QMANetConfig:
        """Read what :meth:`to_json` wrote.

        Raises:
            RequestError: the text is not such a configuration.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            known = {field.name for field in fields(cls)}
            surplus = set(values) - known
            if surplus:
                raise RequestError(f"unknown field {sorted(surplus)[0]!r} in a stored configuration", "", "update")
            fields_read: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
            return cls(**fields_read)
        except RequestError as error:
            raise RequestError(
                f"a stored configuration that builds no network ({error})", "an undamaged file"
            ) from error
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            raise RequestError(f"not a QMA-Net configuration: {text[:80]!r}", "JSON written by to_json") from error


_MIT_SIZES: dict[str, dict[str, Any]] = {
    "b0": dict(embed_dim=32, depths=(2, 2, 2, 2), decoder_width=256, edge_head_width=32),
    "b1": dict(depths=(2, 2, 2, 2)),
    "b2": dict(depths=(3, 4, 6, 3)),
    "b3": dict(depths=(3, 4, 18, 3)),
    "b4": dict(depths=(3, 8, 27, 3)),
    "b5": dict(depths=(3, 6, 40, 3)),
}

_ROWS: dict[str, dict[str, Any]] = {
    "paper": {},
    # Table 2
    "cp": dict(interaction_stages=()),
    "sl": dict(decoder_levels=(4,)),
    "ss": dict(interaction_stages=(4,)),
    "cd": dict(decoder="conv"),
    "mlp": dict(decoder="mlp"),
    # Table 9
    "q4": dict(num_queries=4),
    "q8": dict(num_queries=8),
    "q32": dict(num_queries=32),
    **_MIT_SIZES,
    # For tests and the quick start; its noise sources need no weights
    "miniature": dict(
        embed_dim=16,
        heads=(1, 2, 4, 6),
        depths=(1, 1, 1, 1),
        drop_path=0.0,
        noise_sources=("srm", "bayar"),
        decoder_width=32,
        edge_head_width=16,
    ),
}

_LIGHT: dict[str, Any] = dict(
    depths=(1, 1, 2, 2), noise_sources=("srm", "bayar"), residual_gain=4.0, edge_head_width=16
)
"""For CPUs: fewer early blocks, slimmer edge heads, noise sources without weights, faint noise amplified."""

_FOR_CPUS: dict[str, dict[str, Any]] = {
    "b0-light": {**_ROWS["b0"], **_LIGHT},
    "miniature-statistics": {**_ROWS["miniature"], "statistics_width": 64},
}

VARIANTS: dict[str, QMANetConfig] = {name: QMANetConfig(variant=name, **row) for name, row in _ROWS.items()}
"""Every variant by name: the paper's network, Table 2, Table 9, the backbones b0..b5, and a miniature."""


ABLATIONS = ("cp", "sl", "ss", "cd", "mlp", "q4", "q8", "q32")
"""Rows of Tables 2 and 9."""


def parse_noise_sources(text: str) -> tuple[str, ...]:
    """``"srm,bayar"`` -> ``("srm", "bayar")`` in the order of :data:`NOISE_SOURCES`; ``"none"`` -> ``()``.

    Raises:
        RequestError: a name is unknown.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return ()
    unknown = [name for name in names if name not in NOISE_SOURCES]
    if unknown or not names:
        raise RequestError(f"noise_sources {text!r}", f"a comma list of {', '.join(NOISE_SOURCES)}, or none")
    return tuple(source for source in NOISE_SOURCES if source in names)


def parse_dilations(text: str) -> tuple[int, ...]:
    """``"1,2,5"`` -> ``(1, 2, 5)``.

    Raises:
        RequestError: the text is not such a list.
    """
    try:
        return tuple(int(rate) for rate in text.split(","))
    except ValueError as error:
        raise RequestError(f"dilations {text!r}", "a comma list of rates, such as 1,2,5") from error


def variant_config(variant: str, **changes: Any) -> QMANetConfig:
    """The configuration of a variant with some fields changed.

    Args:
        variant: a name of :data:`VARIANTS`, a backbone and an ablation, such as ``b0-cp``, ``b0-light`` for CPUs,
            or ``miniature-statistics``, with statistics beside the noise view: what the model that ships is.
        changes: fields and their values.

    Raises:
        RequestError: the variant is unknown.
    """
    backbone, _, ablation = variant.partition("-")
    if backbone in (*_MIT_SIZES, "miniature") and ablation in ABLATIONS:
        return QMANetConfig(**{**_ROWS[backbone], **_ROWS[ablation], "variant": variant, **changes})
    if variant in _FOR_CPUS:
        return QMANetConfig(**{**_FOR_CPUS[variant], "variant": variant, **changes})
    if variant not in VARIANTS:
        known = ", ".join([*VARIANTS, *_FOR_CPUS])
        raise RequestError(f"variant {variant!r}", f"one of {known}, or a backbone with an ablation, such as b0-cp")
    return replace(VARIANTS[variant], **changes)
