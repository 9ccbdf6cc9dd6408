"""Declares what is known of one model beside QMA-Net, and of the pretrained weights that its training needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

NO_EVAL = "--no_model_eval"


@dataclass(frozen=True)
class Weights:
    """Pretrained weights that a fresh training wants."""

    flag: str
    """The flag that takes them."""
    what: str
    where: str
    """The command that fetches them, or the page that its authors publish them on."""
    key: str = ""
    """Its key in the YAML file that the flag names, where the flag names one."""


@dataclass(frozen=True)
class Baseline:
    """One model beside QMA-Net."""

    name: str
    """Under which it is registered with the framework."""
    row: str
    """Its row in the paper's tables; empty: it has none."""
    fresh: Mapping[str, object] = field(default_factory=dict)
    """Flags of a random start. A value ``stock:NAME`` is the framework's own configuration file NAME."""
    training: Mapping[str, object] = field(default_factory=dict)
    """Flags of a training, where they differ from ``fresh``."""
    size_flags: Mapping[str, Callable[[int], int]] = field(default_factory=dict)
    """Flags that follow from the image's side."""
    edge_width: int | None = None
    """Width of the edge mask (``--edge_mask_width``) that its ``forward`` needs."""
    script_flags: tuple[str, ...] = ()
    """Flags of the training script, beyond those that all share, from the framework's own script."""
    learning_rate: tuple[float, float] = (1e-4, 5e-7)
    """Highest and lowest, from the framework's own script."""
    weights: tuple[Weights, ...] = ()
    footnotes: tuple[str, ...] = ()
    corrects: str = ""
    """The stock baseline that this one corrects."""
    image_size: int = 512
    """Side of the images of its published row."""
    cost_note: str = ""
    """Why `qmanet cost` differs from its published row, where it does by more than 3 %."""

    @property
    def is_scored_training(self) -> bool:
        """Whether the framework's own test script leaves it in training mode: its BatchNorms use the test batch."""
        return NO_EVAL in self.script_flags
