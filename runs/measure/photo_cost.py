"""Measures memory and processor time of a photo's prediction: ``python runs/measure/photo_cost.py [WIDTHxHEIGHT ...]``.

One process for each size, with the demonstration model on one thread; blurred noise stands for a photo. One line each:
peak of the resident memory with the model loaded, what the photo took on top of it, and seconds of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ("640x480", "768x768", "64x40000", "20000x300")
PREDICTION = """
import json, sys, time
from pathlib import Path
from qmanet_benco import load_model
from qmanet_benco.apps.outputs import predict_all
def peak():  # unlike ru_maxrss it does not begin at the parent's
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**10
model = load_model("demo")
loaded, start = peak(), time.process_time()
(record,) = predict_all(model, [Path(sys.argv[1])], Path(sys.argv[2]), weights="demo", native=sys.argv[3] == "True")
assert "error" not in record, record
print(json.dumps([loaded, peak() - loaded, time.process_time() - start]))
"""


def photo_cost(width: int, height: int, native: bool) -> tuple[float, float, float]:
    """MiB with the model loaded, MiB on top of it, and seconds of processor time for one photo."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.jpg")
        coarse = np.random.default_rng(0).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=90)
        ended = subprocess.run(
            [sys.executable, "-c", PREDICTION, path, Path(folder, "out"), str(native)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            check=True,
        )
    loaded, more, seconds = json.loads(ended.stdout)
    return loaded, more, seconds


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(prog="photo_cost.py", description=(__doc__ or "").splitlines()[0])
    made.add_argument("sizes", nargs="*", default=SIZES, metavar="WIDTHxHEIGHT")
    return made


def main(arguments: Sequence[str]) -> None:
    """Print a line for each size, resized and at its own resolution."""
    for size in parser().parse_args(arguments).sizes:
        width, height = map(int, size.split("x"))
        for native in (False, True):
            loaded, more, seconds = photo_cost(width, height, native)
            how = "native" if native else "resized"
            sys.stdout.write(f"{size} {how}: {loaded:.0f} MiB loaded, {more:.0f} MiB more, {seconds:.1f} s\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
