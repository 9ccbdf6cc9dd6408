"""Curves of a training: its losses and the F1 on each validation set against the epoch.

``python -m qmanet_benco.evaluation.report.training_curves OUT --to curves.png`` reads what the framework's trainer
leaves in ``--output_dir`` and ``--log_dir``, one folder: ``log.txt``, which has the losses but only the last set's F1,
and the files for TensorBoard, which have every set's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.report.figures import style
from qmanet_benco.files import write_atomically

METRIC = "pixel-level F1_Metric"
"""The trainer's folders are called this, an underscore and the set's name; its scalar this."""
Curve = dict[int, float]
"""Epoch, from 0, to value."""


def losses_of(folder: Path) -> dict[str, Curve]:
    """Mean loss of each epoch, by name, without the single levels'; a resumed epoch's last line counts.

    Raises:
        RequestError: the folder has no log of the trainer.
    """
    log = folder / "log.txt"
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
        curves: dict[str, Curve] = {}
        for line in lines:
            for name, value in line.items():
                if name.startswith("train_") and name.endswith("loss"):
                    curves.setdefault(name.removeprefix("train_").replace("_", " "), {})[int(line["epoch"])] = value
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise RequestError(f"{log}: {error!r}", "the log of the --output_dir of `qmanet benco train`") from error
    return curves


def validation_of(folder: Path) -> dict[str, Curve]:
    """F1 of each epoch that was validated, by set."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = {}
    for logged in sorted(folder.glob(f"{METRIC}_*")):
        events = EventAccumulator(str(logged))
        events.Reload()
        if METRIC in events.Tags()["scalars"]:
            scalars = sorted(events.Scalars(METRIC), key=lambda scalar: scalar.wall_time)
            curves[logged.name.removeprefix(f"{METRIC}_")] = {scalar.step: scalar.value for scalar in scalars}
    return curves


def figure_of(losses: dict[str, Curve], validation: dict[str, Curve]) -> Figure:
    """Two panels beside each other, over the number of epochs that had ended.

    Args:
        losses: see :func:`losses_of`.
        validation: see :func:`validation_of`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    for axis, curves, label in zip(axes, (losses, validation), ("mean training loss", "pixel F1"), strict=True):
        for index, (name, curve) in enumerate(sorted(curves.items())):
            epochs = sorted(curve)
            values = [curve[epoch] for epoch in epochs]
            axis.plot([epoch + 1 for epoch in epochs], values, label=name, **style(index))
        axis.set_xlabel("epochs")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        if curves:
            axis.legend(frameon=False)
    axes[1].set_ylim(0, 1)
    figure.tight_layout()
    return figure


def main() -> int:
    """``FOLDER --to FILE``."""
    parser = argparse.ArgumentParser(description="Draw a training's losses and validation F1.")
    parser.add_argument("folder", type=Path, help="--output_dir and --log_dir of the training")
    parser.add_argument("--to", type=Path, required=True, help="PNG or another format of matplotlib")
    given = parser.parse_args()
    kind = given.to.suffix.removeprefix(".") or "png"
    try:
        figure = figure_of(losses_of(given.folder), validation_of(given.folder))
        if kind not in figure.canvas.get_supported_filetypes():
            raise RequestError(f"--to {given.to}", "a name that ends in .png, .pdf or .svg")
        write_atomically(given.to, lambda file: figure.savefig(file, format=kind, dpi=110))
    except (RequestError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
