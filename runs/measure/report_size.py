"""Measures a report of full size on made-up records: ``python runs/measure/report_size.py``.

By default 17 models on 6 sets of 980 images under 25 attacks and levels: two and a half million rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas
from PIL import Image

from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.suite.comparison import PAPER_ATTACKS
from qmanet_benco.evaluation.suite.records import safe_name

SETS = ("CASIAv1", "Columbia", "Coverage", "NIST16", "CocoGlide", "AutoSplice")
PREVIEWS = 24
SIDE = 256
MOST_SECONDS, MOST_GIB, MOST_MB = 60.0, 4.0, 20.0
REPORT = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
from qmanet_benco.evaluation.report.report import make_report
written = make_report(Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps([time.perf_counter() - start, time.process_time(), peak, written[0].stat().st_size / 1e6]))
"""


class Size(NamedTuple):
    """What a report took."""

    rows: int
    seconds: float
    cpu_seconds: float
    gib: float
    """Peak of the resident memory."""
    html_mb: float


def write_run(root: Path, models: int, images: int) -> int:
    """Write a folder as a run leaves it; returns its rows."""
    generator = np.random.default_rng(0)
    names = [f"model {index}" for index in range(models)]
    cases = [
        ("none", 0.0),
        *((name, float(level)) for one in PAPER_ATTACKS for name, levels in one.items() for level in levels),
    ]
    (root / "records").mkdir(parents=True)
    stems = [f"photo-{index:06d}" for index in range(images)]
    for model, of, (attack, level) in product(names, SETS, cases):
        columns = {metric.name: generator.random(images) for metric in METRICS}
        scores = {name: generator.random(images) for name in ("image_score", "image_maximum", "predicted")}
        keys = {"model": model, "seed": 0, "set": of, "attack": attack, "level": level, "image": stems}
        authentic = {"authentic": np.arange(images) % 4 == 0, "image_score_rule": "pred_label"}
        table = pandas.DataFrame({**keys, **columns, **scores, **authentic})
        table.to_parquet(root / "records" / f"{safe_name(f'{model}@0 {of} {attack}-{level:g}')}.parquet")
    described = {
        **dict(name="full size", image_size=512, resize="resize", precision="fp32", seed=0, batch=1, environment={}),
        "models": [dict(name=name, model="QMANet", seed=0, footnotes=[]) for name in names],
        "sets": [dict(name=of, images=images) for of in SETS],
    }
    (root / "suite.json").write_text(json.dumps(described), encoding="utf-8")
    for of, index in product(SETS, range(PREVIEWS)):
        stem = stems[index * images // PREVIEWS]
        kinds = {"photo": ".jpg", "truth": ".png"} | {f"mask/{safe_name(f'{name}@0')}": ".png" for name in names}
        for kind, ending in kinds.items():
            target = root / "previews" / kind / safe_name(of) / f"{safe_name(stem)}{ending}"
            target.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(generator.integers(0, 255, (SIDE // 8, SIDE // 8), dtype=np.uint8))
            coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(target)
    return len(names) * len(SETS) * len(cases) * images


def measure(models: int, images: int) -> Size:
    """Make the records, and the report in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        rows = write_run(root, models, images)
        environment = os.environ | {"OMP_NUM_THREADS": "2"}
        ended = subprocess.run(
            [sys.executable, "-c", REPORT, str(root)], env=environment, capture_output=True, text=True, check=True
        )
    return Size(rows, *json.loads(ended.stdout.splitlines()[-1]))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="What a report of full size takes.")
    options.add_argument("--models", type=int, default=17)
    options.add_argument("--images", type=int, default=980, help="of each of six sets (default: %(default)s)")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what it took; 1 if it is more than a report may take."""
    given = parser().parse_args(arguments)
    size = measure(given.models, given.images)
    sys.stdout.write(
        f"{size.rows:,} rows: {size.seconds:.0f} s ({size.cpu_seconds:.0f} s of CPU), {size.gib:.1f} GiB, "
        f"HTML {size.html_mb:.1f} MB; at most {MOST_SECONDS:.0f} s, {MOST_GIB:g} GiB, {MOST_MB:g} MB\n"
    )
    return int(size.seconds > MOST_SECONDS or size.gib > MOST_GIB or size.html_mb > MOST_MB)


if __name__ == "__main__":
    raise SystemExit(main())
