"""Declares what a suite file may say: models x sets x attacks, and how images are scored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from qmanet_benco.errors import RequestError, did_you_mean
from qmanet_benco.evaluation.attacks import ATTACKS, NONE, Attack

RANDOM = "random"
RESIZE, PAD = "resize", "pad"


def _within(low: int, high: int | None, expected: str) -> AfterValidator:
    def check(value: int) -> int:
        if value < low or (high is not None and value > high):
            raise RequestError(str(value), expected)
        return value

    return AfterValidator(check)


def _bare(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise RequestError(repr(value), "a text or a number")
    return value


def _attacks_of(entry: Any) -> tuple[Attack, ...]:
    """Read one entry, ``{name: level}`` or ``{name: [level, ...]}``."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise RequestError(f"attack {entry!r}", "one name with its levels", "e.g. - {jpeg: [50, 90]}")
    ((name, levels),) = entry.items()
    if name not in ATTACKS:
        raise RequestError(f"attack {name!r}", f"one of {', '.join(ATTACKS)}", did_you_mean(str(name), ATTACKS))
    levels = levels if isinstance(levels, list) else [levels]
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int | float):
            raise RequestError(f"{name}: {level!r}", "a list of numbers")
        ATTACKS[name].check(float(level))
    return tuple(Attack(name, float(level)) for level in levels)


def _flattened(entries: tuple[tuple[Attack, ...], ...]) -> tuple[Attack, ...]:
    """Put ``none`` before the attacks, each of which stands once."""
    return tuple(dict.fromkeys([NONE, *(attack for attacks in entries for attack in attacks)]))


Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, _within(0, 2**32 - 1, f"0 to {2**32 - 1}")]  # NumPy's largest
Count = Annotated[int, _within(0, None, "0 or more")]
_AttackEntry = Annotated[Any, AfterValidator(_attacks_of)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ModelEntry(_Part):
    """One model of a suite."""

    name: Text
    """In records and reports."""
    model: Text
    """In the framework's registry."""
    flags: dict[str, Annotated[Any, AfterValidator(_bare)]] = {}
    checkpoint: str = RANDOM
    """A file, a training's folder, or ``"random"`` (seeded)."""
    seed: Seed = 0
    """Seed of a random start, or of the training that made the checkpoint, where several are compared."""
    row: str | None = None
    """Row of the paper's tables, where it is not the name."""
    footnotes: Annotated[tuple[str, ...], Field(strict=False)] = ()
    selection: str = ""
    """How the checkpoint was chosen, e.g. ``best on a held-out part, epoch 87``; in every record and table."""

    @property
    def chosen(self) -> str:
        """Which weights it is scored with, in words."""
        return self.selection or ("as the suite names it" if self.trained else "random weights")

    @property
    def trained(self) -> bool:
        """Whether a checkpoint is named; otherwise the model starts at random."""
        return self.checkpoint not in (RANDOM, "")


class Generated(_Part):
    """Demo forgeries that the run makes itself."""

    count: int
    size: int = 256
    """Pixels."""
    seed: int = 0
    authentic: Annotated[int, _within(0, 100, "0 to 100 percent")] = 0
    """Percent of the images that are authentic; the others are forgeries with the same history then."""


class SetEntry(_Part):
    """One data set of a suite: a path, or what to generate."""

    name: Text
    path: str = ""
    """A ManiDataset folder or a JSON list; empty where the set is generated."""
    authentic: str = ""
    """A folder of authentic photos that are scored with the set; empty: only those that its list calls "Negative"."""
    limit: Annotated[int, _within(0, None, "0 (all) or more")] = 0
    """Evenly chosen images; 0: all."""
    generate: Generated | None = None

    @model_validator(mode="after")
    def _either(self) -> SetEntry:
        if ("path" in self.model_fields_set) == (self.generate is not None):
            raise RequestError(f"set {self.name!r}", "either a path or generate", "give one of the two")
        return self


class Suite(_Part):
    """What a suite file asks for."""

    name: str = ""
    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1, strict=False)]
    sets: Annotated[tuple[SetEntry, ...], Field(min_length=1, strict=False)]
    attacks: Annotated[tuple[_AttackEntry, ...], AfterValidator(_flattened), Field(strict=False)] = (NONE,)
    """The first is ``none``."""
    image_size: Annotated[int, _within(32, 8192, "32 to 8192 pixels")] = 512
    resize: Literal["resize", "pad"] = "resize"
    batch: Annotated[int, _within(1, None, "1 or more")] = 1
    workers: Count | None = None
    """Processes that load images; by default a thread that loads the next batch while models look at this one; 0:
    neither."""
    precision: Literal["fp32", "bf16", "amp"] = "fp32"
    """``bf16``: bfloat16 where the processor has it; ``amp``: the framework's own, half precision on a GPU."""
    seed: Seed = 0
    save_predictions: bool = False
    previews: Count = 24
    """Images of each set that are kept small for the report's gallery."""
    plugins: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Modules and files that register models of the user's own."""
