"""Declares the rows of the architecture study, and what trains and scores one within the budget of all."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qmanet_benco.model.config import NOISE_SOURCES
from study_set import StudySet

IN_CHECKPOINT = "checkpoint"
"""In place of a file: NoisePrint++ weights that come with the trained ones."""


@dataclass(frozen=True)
class StudyRow:
    """One network of the study."""

    name: str
    flags: Mapping[str, object] = field(default_factory=dict)
    """Flags beside the variant and all three noise sources. Those that are not named have the model's defaults, such as
    the paper's losses of 0.2 and 0.8."""
    ablation: str = ""
    """An ablation of Table 2; empty: none."""
    model: str = "QMANet"
    seeds: tuple[int, ...] = (0, 1)
    learning_rate: float = 0.0
    """0: the budget's."""
    switches: tuple[str, ...] = ()
    """Flags of the training script that take no value."""


ROWS = (
    StudyRow("QMA-Net", seeds=(0, 1, 2)),
    StudyRow("rate 1e-4", learning_rate=1e-4, seeds=(0,)),
    StudyRow("rate 1e-3", learning_rate=1e-3, seeds=(0,)),
    *(StudyRow(name, ablation=name) for name in ("cp", "sl", "ss", "cd", "mlp")),
    StudyRow("noise none", {"noise_sources": "none"}, seeds=(0, 1, 2)),
    StudyRow("noise srm", {"noise_sources": "srm"}),
    StudyRow("noise bayar", {"noise_sources": "bayar"}),
    StudyRow("noise noiseprint", {"noise_sources": "noiseprint"}),
    StudyRow("noise srm+bayar", {"noise_sources": "srm,bayar"}),
    StudyRow("4 queries", {"num_queries": 4}),
    StudyRow("8 queries", {"num_queries": 8}),
    StudyRow("32 queries", {"num_queries": 32}),
    StudyRow("loss 0.5/0.5", {"segmentation_weight": 0.5, "edge_weight": 0.5}),
    StudyRow("loss 0.8/0.2", {"segmentation_weight": 0.8, "edge_weight": 0.2}),
    StudyRow("loss 0.5/0.5 + BCE", {"segmentation_weight": 0.5, "edge_weight": 0.5, "bce_weight": 0.5}),
    StudyRow("residual initial", {"residual": "initial"}),
    StudyRow("cp with alignment", {"keep_alignment": 1}, ablation="cp"),
    StudyRow("G of each direction", {"shared_gcm": 0}),
    StudyRow("G in one group", {"gcm_groups": 1}),
    StudyRow("first block as printed", {"literal_first_block": 1}),
    StudyRow("dilations 1 1 1", {"dilations": "1,1,1"}),
    StudyRow("fusion ratio 0.25", {"fusion_ratio": 0.25}),
    StudyRow("edges fused", {"edge_supervision": "fused"}),
    StudyRow("edges fused in the data set", {"edge_supervision": "fused", "edge_target": "dataset"}),
    StudyRow("dice over the batch", {"dice": "batch"}),
    StudyRow("residual gain 4", {"residual_gain": 4}),
    StudyRow("TruFor", model="Trufor_RGB", switches=("--find_unused_parameters",)),
    StudyRow("PSCC-Net", model="PSCC_Net"),
    StudyRow("segformer", model="segformer"),
    StudyRow("srm_segformer", model="srm_segformer"),
)
"""The main row first; then with other learning rates, Table 2's ablations, the noise sources, Table 9's queries, the
losses, what the paper leaves open (docs/choices.md), and the framework's baselines: TruFor with its input corrected,
PSCC-Net, its MiT-B2 without and with SRM."""


@dataclass(frozen=True)
class Budget:
    """What every row gets."""

    steps: int = 3000
    batch: int = 8
    image_size: int = 128
    learning_rate: float = 4e-4
    backbone: str = "b0"
    """``b0`` or ``miniature``: QMA-Net's size."""


@dataclass(frozen=True)
class Given:
    """Files that rows read beside the images."""

    noiseprint: str
    """NoisePrint++ weights: a file or a name."""
    cache: Path
    """Kept residuals."""
    no_weights: Path
    """A checkpoint without tensors: the framework's backbones insist on a file, and every row starts at random."""


def train_command(row: StudyRow, seed: int, data: StudySet, out: Path, given: Given, budget: Budget) -> list[str]:
    """The command line that trains a row with a seed."""
    rate = rate_of(row, budget)
    flags: dict[str, object] = {
        "model": row.model,
        "data_path": data.train,
        "test_data_path": data.generated,
        "image_size": budget.image_size,
        "batch_size": budget.batch,
        "test_batch_size": budget.batch,
        "accum_iter": 1,
        "epochs": 10,  # --max-steps scales the schedule: a tenth of the steps warms up
        "lr": rate,
        "min_lr": rate / 40,
        "warmup_epochs": 1,
        "test_period": 4,
        "num_workers": 0,
        "seed": seed,
        "output_dir": out,
        "log_dir": out,
    }
    own = ["--augment", "none", "--max-steps", str(budget.steps), "--keep", "1", "--resume", "auto"]
    flags |= model_flags(row, given, budget)
    listed = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "qmanet_benco", "benco", "train", *own, *listed, "--if_resizing", *row.switches]


def model_flags(row: StudyRow, given: Given, budget: Budget) -> dict[str, object]:
    """Flags of a row's model."""
    if row.model == "Trufor_RGB":
        weights = "random" if given.noiseprint == IN_CHECKPOINT else given.noiseprint
        return {"np_pretrain_weights": weights, "mit_b2_pretrain_weights": "random"}
    if row.model == "PSCC_Net":
        return {"input_size": budget.image_size}
    if row.model != "QMANet":
        return {"pretrain_pth_path": given.no_weights}
    variant = "-".join(filter(None, (budget.backbone, row.ablation)))
    flags: dict[str, object] = {"variant": variant, "noise_sources": ",".join(NOISE_SOURCES), **row.flags}
    if "noiseprint" in str(flags["noise_sources"]):
        flags |= {"noiseprint_weights": given.noiseprint, "noiseprint_cache": given.cache}
    return flags


def suite_of(
    trained: Mapping[tuple[str, int], Path],
    rows: Sequence[StudyRow],
    sets: Mapping[str, Path],
    attacks: Sequence[Mapping[str, object]],
    given: Given,
    budget: Budget,
) -> dict[str, Any]:
    """A suite that scores trained rows; JSON is YAML too.

    Args:
        trained: checkpoint of each row's name and seed.
        rows: of the study.
        sets: names and ManiDataset folders.
        attacks: beside the plain images.
        given: files that models read.
        budget: for the image size.
    """
    by_name = {row.name: row for row in rows}
    models = []
    for (name, seed), checkpoint in trained.items():
        flags = model_flags(by_name[name], replace(given, noiseprint=IN_CHECKPOINT), budget)
        flags = {key: value if isinstance(value, int | float) else str(value) for key, value in flags.items()}
        models.append(
            {"name": name, "model": by_name[name].model, "flags": flags, "seed": seed, "checkpoint": str(checkpoint)}
        )
    return {
        "name": "study",
        "image_size": budget.image_size,
        "models": models,
        "sets": [{"name": name, "path": str(path)} for name, path in sets.items()],
        "attacks": list(attacks),
    }


def rate_of(row: StudyRow, budget: Budget) -> float:
    """The learning rate of a row."""
    return row.learning_rate or budget.learning_rate
