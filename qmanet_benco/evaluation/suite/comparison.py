"""The suite that compares what ``runs/compare_all.sh`` has trained: one model for each folder with checkpoints."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qmanet_benco.benco.seam.checkpoints import newest_checkpoint
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import RequestError

ATTACKS = [
    {"jpeg": [100, 90, 80, 70, 60, 50]},
    {"blur": [3, 7, 11, 15, 19, 23]},
    {"noise_variance": [3, 7, 11, 15, 19, 23]},
    {"noise_std": [3, 7, 11, 15, 19, 23]},
]
"""Section 4.4; Tables 7 and 8."""


def comparison(root: Path, sets: Path, image_size: int, own_flags: Mapping[str, str]) -> dict[str, Any]:
    """A suite as `qmanet suite run` reads it.

    Args:
        root: its folders are named after registered models and hold their trainings' checkpoints.
        sets: JSON ``{name: path}``.
        image_size: side in pixels.
        own_flags: QMA-Net's, as it was trained.

    Raises:
        RequestError: no folder holds a checkpoint, or the list of sets cannot be read.
    """
    models = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        checkpoint = newest_checkpoint(folder, 0)
        if checkpoint is None or folder.name not in (*zoo.BASELINES, "QMANet"):
            continue
        row = zoo.BASELINES.get(folder.name)
        flags = {**own_flags, "backbone_weights": "checkpoint"} if row is None else {}
        name = "QMA-Net" if row is None else row.row or f"{zoo.BASELINES[row.corrects].row} (corrected)"
        models.append({"name": name, "model": folder.name, "flags": flags, "checkpoint": str(checkpoint.resolve())})
    if not models:
        raise RequestError(f"no checkpoint below {root}", "folders named after models, with checkpoints", "train first")
    try:
        paths = dict(json.loads(sets.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RequestError(f"{sets} cannot be read ({error})", "a JSON file {name: path}") from error
    listed = [{"name": name, "path": str(Path(path).resolve())} for name, path in paths.items()]
    return {"name": "comparison", "image_size": image_size, "models": models, "sets": listed, "attacks": ATTACKS}


def main() -> int:
    """``ROOT SETS.json IMAGE_SIZE [--FLAG VALUE]...``; the suite as JSON, which is YAML too, on stdout."""
    root, sets, size, *flags = sys.argv[1:]
    own = {name.removeprefix("--"): value for name, value in zip(flags[::2], flags[1::2], strict=True)}
    try:
        suite = comparison(Path(root), Path(sets), int(size), own)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps(suite, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
