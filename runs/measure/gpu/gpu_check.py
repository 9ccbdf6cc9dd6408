"""Does everything work on this machine's GPU, and how fast is it? Run by runs/gpu_check.sh; docs/gpu.md explains it.

    python runs/measure/gpu/gpu_check.py OUT [--minutes 8] [--device cuda|cpu]

Without a network, with the packages that are here. ``--device cpu`` runs the same steps on small networks and images:
it shows that the script works, and its figures are of no use.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpu_phases import Ended, Phase, run_phases
from gpu_report import CUT_OFF, FAILED, PASSED, Report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
LIBRARIES = (
    *("torch", "torchvision", "triton", "numpy", "imdlbenco", "timm", "mmsegmentation", "mmengine", "mmcv-lite"),
    *("albumentations", "opencv-python", "opencv-python-headless", "pillow", "pandas", "pyarrow", "pytest"),
)


@dataclass(frozen=True)
class Sizes:
    """What the phases work on."""

    device: str
    variant: str
    image_size: int
    train_count: int
    test_count: int
    epochs: int
    batch: int
    learning_rate: float
    training_batches: tuple[int, ...]
    inference_batches: tuple[int, ...]
    loader_workers: int
    passes: tuple[int, int]
    """Passes of a speed that are not counted, and how many are at least."""
    seconds_of_a_figure: float
    """Counted passes are repeated for so long."""
    compiler: str
    """Backend of torch.compile."""
    noiseprint: str
    """A file, or random."""


def sizes_of(device: str, noiseprint: str) -> Sizes:
    """The paper's network at 512 on a GPU; on a CPU, the smallest that goes the same way."""
    if device == "cpu":
        return Sizes("cpu", "miniature", 64, 12, 4, 3, 4, 1e-3, (2,), (1,), 1, (1, 1), 0.0, "eager", noiseprint)
    batches: dict[str, Any] = {"training_batches": (8, 16), "inference_batches": (1, 8)}
    speed: dict[str, Any] = {"loader_workers": 8, "passes": (2, 3), "seconds_of_a_figure": 2.0, "compiler": "inductor"}
    return Sizes("cuda", "paper", 512, 96, 16, 5, 8, 1e-4, **batches, **speed, noiseprint=noiseprint)


def phases_of(out: Path) -> list[Phase]:
    """In the order of their value."""

    def work(name: str, share: float, *needs: str) -> Phase:
        return Phase(name, [sys.executable, str(HERE / "gpu_work.py"), name, str(out)], share, needs)

    return [
        work("correctness", 120),
        work("data", 40),  # short, but all that follows needs it; the time that is left goes to the others
        work("train", 80, "data"),
        work("test", 60, "train"),
        work("robustness", 30, "train"),
        work("suite", 50, "train"),
        work("speed-training", 45),
        work("speed-inference", 25),
        work("speed-tuned", 45),
        work("speed-loader", 15, "data"),
        work("speed-compiled", 60),
    ]


def describe(device: str) -> dict[str, Any]:
    """Card, driver, and versions of everything that matters."""
    import torch

    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        facts |= {"card": card.name, "memory_gib": round(card.total_memory / 2**30, 1)}
        facts["capability"] = f"{card.major}.{card.minor}"
        facts["driver"] = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").partition("\n")[
            0
        ]
    facts["libraries"] = {name: _version(name) for name in LIBRARIES if _version(name)}
    return facts


def check(out: Path, device: str, minutes: float, noiseprint: str = "random") -> int:
    """Run everything.

    Args:
        out: a folder; an earlier run's results there are replaced.
        device: ``"cuda"`` or ``"cpu"``.
        minutes: for all phases together.
        noiseprint: NoisePrint++ weights: a file, or random.

    Returns:
        0; 1 if a phase failed or was cut off; 2 if there is no such device; 130 if the script was ended.
    """
    import torch

    out.mkdir(parents=True, exist_ok=True)
    report = Report(out, device=device, minutes=minutes, noiseprint_weights=noiseprint)
    if device == "cuda" and not torch.cuda.is_available():
        report.content["error"] = f"torch {torch.__version__} sees no CUDA device; DEVICE=cpu runs the same steps small"
        report.write()
        sys.stderr.write(f"gpu_check: {report.content['error']}\n")
        return 2
    report.content["machine"] = describe(device)
    sizes = sizes_of(device, noiseprint)
    (out / "sizes.json").write_text(json.dumps(asdict(sizes)), encoding="utf-8")
    for name in ("data", "run", "results"):
        shutil.rmtree(out / name, ignore_errors=True)
    report.write()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        run_phases(phases_of(out), report, minutes * 60)
    except (Ended, KeyboardInterrupt):
        return 130
    report.content["finished"] = True
    report.write()
    for entry in report.content["phases"]:
        print(f"{entry['name']:16} {entry['status']:8} {entry['reason']}")  # noqa: T201 - a script's result
    bad = any(entry["status"] in (FAILED, CUT_OFF) for entry in report.content["phases"])
    return int(bad or not any(entry["status"] == PASSED for entry in report.content["phases"]))


def _end(*_: object) -> None:
    raise Ended


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Does everything work on this machine's GPU, and how fast is it?")
    made.add_argument("out", type=Path, metavar="OUT")
    made.add_argument("--minutes", type=float, default=8.0)
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--noiseprint", default="random", help="NoisePrint++ weights: a file, or random")
    return made


def main() -> int:
    given = parser().parse_args()
    if given.minutes <= 0:
        parser().error(f"--minutes {given.minutes}; expected a number above 0")
    if given.noiseprint != "random" and not Path(given.noiseprint).is_file():
        parser().error(f"--noiseprint {given.noiseprint} is not a file")
    return check(given.out.absolute(), given.device, given.minutes, given.noiseprint)


if __name__ == "__main__":
    raise SystemExit(main())
