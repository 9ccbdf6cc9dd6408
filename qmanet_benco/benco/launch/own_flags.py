"""Turns the launcher's own flags into what the stock script understands: its flags, and patches."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qmanet_benco.benco.corrections.row import EXACT_RESUME, FINITE_STEPS
from qmanet_benco.benco.resume.determinism import be_deterministic
from qmanet_benco.benco.resume.holdout import hold_out
from qmanet_benco.benco.resume.schedule import scale_schedule, steps_of_epoch
from qmanet_benco.benco.seam import flags
from qmanet_benco.benco.seam.lists import read_training_set
from qmanet_benco.benco.seam.options import FLAGS, Options, written
from qmanet_benco.benco.seam.patches import Patches, Stock
from qmanet_benco.benco.zoo import recipes
from qmanet_benco.errors import RequestError

logger = logging.getLogger(__name__)

AUTO = "auto"
"""Value of ``--resume``: the newest undamaged checkpoint of ``--output_dir``."""
_NEEDS = {
    "keep": EXACT_RESUME,
    "max_steps": EXACT_RESUME,
    "clip_grad": FINITE_STEPS,
    "max_bad_steps": FINITE_STEPS,
}


def check_corrections(own: Options, corrections: Collection[str]) -> None:
    """Check that a run has the corrections that its flags are built on.

    Raises:
        RequestError: ``--stock`` or ``--without`` leaves one out.
    """
    for flag in FLAGS:
        need = _NEEDS.get(flag.name)
        if need and need not in corrections and getattr(own, flag.name) != flag.default:
            raise RequestError(
                f"{written(flag.name)} without the correction {need}", "both", "drop --stock or --without"
            )


@contextmanager
def checked_arguments(own: Options, parse: flags.Parse, arguments: Sequence[str]) -> Iterator[list[str]]:
    """Make the arguments to check before a run; a held-out set exists only within the block: nothing is left."""
    if not own.val_fraction:
        yield list(arguments)
        return
    args, _ = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="qmanet-") as folder:
        yield [*arguments, *hold_out(args, own.val_fraction, Path(folder))]


def described(script: str, parse: flags.Parse, arguments: Sequence[str]) -> dict[str, Any]:
    """Describe a training as its checkpoints will; tell in the log what starts from nothing.

    Args:
        script: the stock script; only a training is described.
        parse: its parser.
        arguments: its flags.
    """
    if script != "train":
        return {}
    args, model_args = parse(arguments)
    nothing = recipes.started_from_nothing(args.model, vars(model_args))
    for sentence in nothing if os.environ.get("RANK", "0") == "0" else ():
        logger.warning("%s %s", args.model, sentence)
    given = {name: value for name, value in vars(model_args).items() if isinstance(value, str | int | float)}
    return {"model": args.model, "flags": given, "started_from_nothing": nothing}


def training_arguments(
    patches: Patches, own: Options, parse: flags.Parse, arguments: Sequence[str], processes: int
) -> list[str]:
    """Make the arguments to run the script with; patches are put in place.

    Args:
        patches: of the run.
        own: the launcher's flags.
        parse: as the script.
        arguments: the script's flags.
        processes: of the whole group.

    Raises:
        RequestError: the training set is too small for what is asked.
    """
    complete = list(arguments)
    if own == Options():
        return complete
    args, _ = parse(arguments)
    if own.val_fraction:
        complete += hold_out(args, own.val_fraction, Path(args.output_dir), say=True)
        args, _ = parse(complete)
    if own.deterministic:
        be_deterministic(patches)
    if own.augment == "none":
        leave_unaugmented(patches)
        logger.warning("--augment none: the pipeline that the script prints is not applied")
    if own.max_steps:
        images = read_training_set(Path(args.data_path)).images()
        epochs = own.max_steps / steps_of_epoch(images, processes, args)
        scale_schedule(patches, epochs, args)
        complete += ["--epochs", str(math.ceil(epochs))]
    return complete


def leave_unaugmented(patches: Patches) -> None:
    """Give the training set the empty pipeline that the test sets have."""
    import albumentations
    from IMDLBenCo.datasets.abstract_dataset import AbstractDataset

    def init(stock: Stock, self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("common_transforms") is not None:
            kwargs["common_transforms"] = albumentations.Compose([])
        stock(self, *args, **kwargs)

    patches.wrap(AbstractDataset, "__init__", init)
