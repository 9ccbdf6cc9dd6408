"""The picture of the first page: ``python runs/measure/first_picture.py OUT.jpg``.

Sixty forgeries of photos that the model that ships was not trained on; the best of each kind and the worst of all are
drawn, and the figures of all sixty are printed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qmanet_benco import load_model, predict
from qmanet_benco.apps.photo import Pixels, read_photo
from qmanet_benco.apps.web.views import overlay
from qmanet_benco.data.forge.demo import all_tampered_f1, make_demo
from qmanet_benco.errors import RequestError
from qmanet_benco.model.weights.sources import DEMO

SIDE, CELL = 384, 200
COUNT = 60
SEED = 5
GAP = 12


@dataclass(frozen=True)
class Shown:
    """A forgery, its truth and the model's mask; H x W (x 3)."""

    kind: str
    photo: Pixels
    truth: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    @property
    def f1(self) -> float:
        """Pixel-F1 of the mask."""
        both = float((self.truth & self.mask).sum())
        return 2 * both / float(self.truth.sum() + self.mask.sum())


def predictions(folder: Path, weights: str) -> Iterator[Shown]:
    """The model's mask for every forgery of a ManiDataset folder."""
    model = load_model(weights)
    for photo, truth in zip(sorted((folder / "Tp").iterdir()), sorted((folder / "Gt").iterdir()), strict=True):
        pixels = read_photo(photo)
        tampered = np.asarray(Image.open(truth).convert("L")) > 127
        yield Shown(photo.stem.partition("_")[0], pixels, tampered, predict(model, pixels).mask)


def draw(rows: Sequence[Shown]) -> Image.Image:
    """One row for each forgery: as it is, with what is tampered, with what the model marks."""
    sheet = Image.new("RGB", (3 * CELL + 2 * GAP, len(rows) * (CELL + GAP) - GAP), "white")
    for number, row in enumerate(rows):
        pictures = (row.photo, overlay(row.photo, row.truth), overlay(row.photo, row.mask))
        for column, picture in enumerate(pictures):
            place = (column * (CELL + GAP), number * (CELL + GAP))
            sheet.paste(Image.fromarray(picture).resize((CELL, CELL), Image.Resampling.LANCZOS), place)
    return sheet


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="Draw what the model that ships marks in forgeries.")
    options.add_argument("out", type=Path, help="the picture to write, .jpg or .png")
    options.add_argument("--weights", default=DEMO, help="a file or owner/name on the hub (default: %(default)s)")
    options.add_argument("--count", type=int, default=COUNT, help="forgeries to choose from (default: %(default)s)")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, and print the figures; 2 if the weights cannot be read."""
    given = parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as name:
            forgeries = Path(name) / "forgeries"
            make_demo(forgeries, train_count=1, test_count=given.count, size=SIDE, seed=SEED, edited=1)
            rows = sorted(predictions(forgeries / "test", given.weights), key=lambda row: -row.f1)
            everything = all_tampered_f1(forgeries / "test", SIDE)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    best = {row.kind: row for row in reversed(rows)}
    draw([*best.values(), rows[-1]]).save(given.out, quality=85)
    mean = statistics.fmean(row.f1 for row in rows)
    sys.stdout.write(f"pixel-F1 of {len(rows)} forgeries: {mean:.2f}; of marking everything: {everything:.2f}\n")
    for kind, row in best.items():
        sys.stdout.write(f"shown, the best of its kind: {kind} {row.f1:.2f}\n")
    sys.stdout.write(f"shown, the worst of all: {rows[-1].kind} {rows[-1].f1:.2f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
