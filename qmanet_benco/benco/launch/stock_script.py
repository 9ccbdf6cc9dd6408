"""Runs one stock script in this process: resolved into a plan, corrected, checked, run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from qmanet_benco.benco.corrections import table
from qmanet_benco.benco.corrections.row import INPUT_CHECKS, RELATIVE_CHECKPOINT, Correction, Request
from qmanet_benco.benco.launch import elastic, own_flags
from qmanet_benco.benco.launch.defaults import with_defaults
from qmanet_benco.benco.launch.failures import in_users_terms
from qmanet_benco.benco.launch.levels import choose_levels
from qmanet_benco.benco.launch.plan import Run
from qmanet_benco.benco.resume.retention import newest_of_training
from qmanet_benco.benco.resume.training import Training
from qmanet_benco.benco.seam import flags, inputs, options
from qmanet_benco.benco.seam.patches import Patches

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A run, resolved once: the launcher's own options, the corrections, and the flags that remain."""

    run: Run
    options: options.Options
    corrections: tuple[Correction, ...]
    flags: tuple[str, ...]
    """The user's, for the script and the model."""

    @classmethod
    def of(cls, run: Run) -> Plan:
        """Resolve a run.

        Raises:
            RequestError: an option's value is wrong, or a correction is unknown.
        """
        own, rest = options.split(run.script, run.flags)
        return cls(run, own, table.selected(run.script, run.stock, run.without), tuple(rest))

    def has(self, correction: str) -> bool:
        """Tell whether a correction is applied."""
        return any(row.name == correction for row in self.corrections)

    @contextmanager
    def corrected(self) -> Iterator[Training]:
        """Correct the framework within the block, as this machine and this run need; give what observes a training."""
        training = Training(self.options)
        request = Request(self.run.script, self.run.allow_pickle, training)
        with table.corrected(request, self.corrections):
            yield training
            training.end()


def run_script(run: Run, only_check: bool) -> int:
    """Check a script's inputs and run it.

    Args:
        run: the script and its flags.
        only_check: do not run it.

    Returns:
        The script's exit code.

    Raises:
        RequestError: the request was wrong.
    """
    try:
        plan = Plan.of(run)
        with plan.corrected() as training, Patches() as patches:
            own_flags.check_corrections(plan.options, [row.name for row in plan.corrections])
            parse = flags.parser_of(run.source)  # a script of the user's own registers its models by that
            arguments = _arguments(plan)
            if run.levels:
                choose_levels(patches, run.script, run.levels)
            if not run.checked:
                with own_flags.checked_arguments(plan.options, parse, arguments) as tried:
                    _check(plan, parse, tried)
            if only_check:
                return 0
            training.run = own_flags.described(run.script, parse, arguments)
            return _execute(
                run.source, own_flags.training_arguments(patches, plan.options, parse, arguments, run.processes)
            )
    except Exception as error:
        clear = in_users_terms(error, run)
        elastic.report(clear)
        if clear is error:
            raise
        raise clear from error


def _execute(source: str, arguments: Sequence[str]) -> int:
    flags.set_arguments(source, arguments)
    try:
        flags.execute(source, "__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _arguments(plan: Plan) -> list[str]:
    arguments = with_defaults(plan.run.script, plan.flags, torch.cuda.is_available())
    checkpoint = flags.value_of(arguments, "--checkpoint_path")
    if checkpoint and plan.has(RELATIVE_CHECKPOINT):
        arguments += ["--checkpoint_path", str(Path(checkpoint).absolute())]
    if plan.run.script == "train":
        arguments += _resume(arguments, os.environ.get(elastic.STARTED))
    return arguments


def _resume(arguments: Sequence[str], since: str | None) -> list[str]:
    """Make the flags to go on: from what this run has written, or with ``--resume auto`` from what the folder has.

    Args:
        arguments: of the script.
        since: when a group that was restarted was first started, in seconds of the epoch; None: it was not.
    """
    folder = Path(flags.value_of(arguments, "--output_dir") or "./output_dir")
    newest = newest_of_training(folder, float(since)) if since else None
    if newest is not None:
        logger.warning("restarted; training goes on from %s", newest)
        return ["--resume", str(newest)]
    if flags.value_of(arguments, "--resume") != own_flags.AUTO:
        return []
    newest = newest_of_training(folder)
    logger.warning("--resume auto: %s", f"from {newest}" if newest else f"no checkpoint in {folder} yet")
    return ["--resume", str(newest or "")]


def _check(plan: Plan, parse: flags.Parse, arguments: Sequence[str]) -> None:
    run = plan.run
    flags.check_model(arguments)
    args, model_args = parse(arguments)
    flags.check_required(args.model, model_args)
    if plan.has(INPUT_CHECKS):
        try:
            inputs.check_request(run.script, args, model_args, run.processes, run.allow_pickle, logger.warning)
        except AttributeError as error:
            if not run.file or error.obj is not args:
                raise
            logger.warning("%s has no flag --%s, so its inputs are not checked", run.file, error.name)
