"""Folders as a run leaves them, with made-up records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from PIL import Image

from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.suite.records import safe_name

SETS = ("CASIAv1", "Columbia", "Coverage", "NIST16", "AutoSplice")
ATTACKS = (("none", 0.0), ("jpeg", 50.0), ("jpeg", 90.0), ("noise_variance", 11.0))
EVIL = "<script>document.title='caught'</script>"


def make_run(root: Path, images: int = 5, sets: tuple[str, ...] = SETS) -> pandas.DataFrame:
    """Write a run of three models, one with two seeds; returns its records."""
    generator = np.random.default_rng(0)
    models = [("QMA-Net", "QMANet", 0), ("QMA-Net", "QMANet", 1), ("TruFor", "Trufor", 0), (EVIL, "QMANet", 0)]
    rows: list[dict[str, Any]] = []
    for name, _, seed in models:
        for of in sets:
            for attack, level in ATTACKS:
                for index in range(images):
                    numbers = {metric.name: float(generator.random()) for metric in METRICS}
                    rows.append(
                        dict(model=name, seed=seed, set=of, attack=attack, level=level, image=f"photo {index}")
                        | numbers
                    )
    records = pandas.DataFrame(rows)
    (root / "records").mkdir(parents=True)
    for key, part in records.groupby(["model", "seed", "set", "attack", "level"]):
        part.to_parquet(root / "records" / f"{safe_name(str(key))}.parquet")
    described = {
        "name": f"made {EVIL}",
        "image_size": 64,
        "resize": "resize",
        "seed": 0,
        "batch": 1,
        "precision": "fp32",
        "models": [
            {
                "name": name,
                "model": model,
                "seed": seed,
                "flags": {},
                "checkpoint": "a.pth",
                "footnotes": ["50 % & more"],
            }
            for name, model, seed in models
        ],
        "sets": [{"name": name, "path": name, "images": images} for name in sets],
        "environment": {"torch": "2"},
        "cells": [],
        "failures": [],
    }
    (root / "suite.json").write_text(json.dumps(described))
    _previews(root, sets, models, images)
    return records


def _previews(root: Path, sets: tuple[str, ...], models: list[tuple[str, str, int]], images: int) -> None:
    generator = np.random.default_rng(1)
    for of in sets:
        for index in range(images):
            stem = f"photo {index}"
            targets = [root / "previews" / "photo" / safe_name(of) / f"{stem}.jpg"]
            targets.append(root / "previews" / "truth" / safe_name(of) / f"{stem}.png")
            for name, _, seed in models:
                folder = root / "previews" / "mask" / safe_name(f"{name}@{seed}") / safe_name(of)
                targets.append(folder / f"{stem}.png")
            for target in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(generator.integers(0, 255, (24, 32), dtype=np.uint8)).save(target)
