"""Figures of a model on a list of photos, mask and score as ``qmanet predict`` gives them.

Usage: python runs/study/measure_list.py LIST.json [WEIGHTS]     (the framework's JsonDataset; default: what ships)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from lists import read_list
from qmanet_benco import load_model, predict
from qmanet_benco.apps.calibrate import reliability
from qmanet_benco.data.masks import read_mask
from qmanet_benco.model.calibration import ALARM_FRACTION


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("list", type=Path)
    made.add_argument("weights", nargs="?", default="demo")
    return made


def main() -> None:
    """Prints pixel-F1, that of an all-tampered mask, false alarms, AUC of score and pixels, the score's reliability."""
    options = parser().parse_args()
    model = load_model(options.weights)
    scores, tampered, alarms, f1, everything, pixels = [], [], [], [], [], []
    for image, mask in read_list(options.list):
        answer = predict(model, image)
        scores.append(answer.score)
        tampered.append(mask is not None)
        if mask is None:
            alarms.append(answer.tampered_fraction > ALARM_FRACTION)
            continue
        truth = read_mask(mask, "bright")
        f1.append(2 * (answer.mask & truth).sum() / (answer.mask.sum() + truth.sum()))
        everything.append(2 * truth.mean() / (1 + truth.mean()))
        pixels.append(roc_auc_score(truth.ravel(), answer.probability.ravel()))
    sys.stdout.write(
        f"{len(f1)} tampered, {len(alarms)} authentic: pixel-F1 {np.mean(f1):.3f}, "
        f"all tampered {np.mean(everything):.3f}, false alarms {np.mean(alarms):.3f}, "
        f"AUC of the score {roc_auc_score(tampered, scores):.3f}, "
        f"of the pixels {np.mean(pixels):.3f}\n"
    )
    if model.calibration is not None:
        curve = reliability(np.array(scores), np.array(tampered), np.ones(len(scores)))
        parts = (f"{score:.2f}: {part:.2f} of {count}" for score, part, count in curve)
        sys.stdout.write(f"reliability, score: part that is tampered: {', '.join(parts)}\n")


if __name__ == "__main__":
    main()
