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


MODELS = (("QMA-Net", "QMANet", 0), ("QMA-Net", "QMANet", 1), ("TruFor", "Trufor", 0), (EVIL, "QMANet", 0))


def make_run(
    root: Path,
    images: int = 5,
    sets: tuple[str, ...] = SETS,
    models: tuple[tuple[str, str, int], ...] = MODELS,
    authentic: int = 0,
) -> pandas.DataFrame:
    """Write a run, by default of three models, one with two seeds; returns its records.

    Without ``authentic`` images of each set the records are those of a version that knew no image-level scores.
    """
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for name, _, seed in models:
        for of in sets:
            for attack, level in ATTACKS:
                for index in range(images + authentic):
                    numbers = {metric.name: float(generator.random()) for metric in METRICS}
                    stem = f"photo {index}"
                    row = dict(model=name, seed=seed, set=of, attack=attack, level=level, image=stem) | numbers
                    rows.append(row | (_detected(generator, index >= images) if authentic else {}))
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
                "image_score_note": "a head without training" if model == "Trufor" else "",
                "footnotes": ["50 % & more"],
            }
            for name, model, seed in models
        ],
        "sets": [{"name": name, "path": name, "images": images + authentic} for name in sets],
        "environment": {"torch": "2"},
        "cells": [{"images": images + authentic}],
        "failures": [],
    }
    (root / "suite.json").write_text(json.dumps(described))
    _previews(root, sets, models, images)
    return records


def _detected(generator: np.random.Generator, authentic: bool) -> dict[str, Any]:
    """The image-level columns; pixel metrics of an authentic image are the framework's 0, and not defined."""
    scores = dict(zip(("image_score", "image_maximum", "predicted"), generator.random(3), strict=True))
    found = {**scores, "image_score_rule": "pred_label", "authentic": authentic}
    zero = dict.fromkeys(("f1", "permute_f1", "iou", "auc_stock"), 0.0)
    return {**found, **zero, "auc": np.nan, "f1_best": np.nan} if authentic else found


def _previews(root: Path, sets: tuple[str, ...], models: tuple[tuple[str, str, int], ...], images: int) -> None:
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
