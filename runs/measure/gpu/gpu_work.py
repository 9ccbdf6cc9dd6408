"""One phase of the GPU check in a process of its own: ``python gpu_work.py PHASE OUT``."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from gpu_check import Sizes
from gpu_phases import FIGURES, NOT_HERE, NotHereError, ResultError
from gpu_report import Notes

PHASES = {
    "correctness": "gpu_job.run_tests",
    "data": "gpu_job.make_data",
    "train": "gpu_job.train",
    "test": "gpu_job.compare_tests",
    "robustness": "gpu_job.stress",
    "suite": "gpu_job.compare_suites",
    "speed-training": "gpu_speed.training",
    "speed-inference": "gpu_speed.inference",
    "speed-tuned": "gpu_tuned.tuned",
    "speed-loader": "gpu_speed.loading",
    "speed-compiled": "gpu_tuned.compiled",
}
"""What does the work of a phase; only its own module is imported, since importing the framework takes seconds."""


def work_of(name: str) -> Callable[[Path, Sizes, Notes], None]:
    """The function behind a row of :data:`PHASES`."""
    module, _, function = PHASES[name].partition(".")
    call: Callable[[Path, Sizes, Notes], None] = getattr(importlib.import_module(module), function)
    return call


def main() -> int:
    """Exit code 0, 1 with the figure ``reason``, or 3 where the machine cannot do it."""
    name, out = sys.argv[1], Path(sys.argv[2])
    sizes = Sizes(**json.loads((out / "sizes.json").read_text(encoding="utf-8")))
    notes = Notes(Path(os.environ[FIGURES]))
    try:
        work_of(name)(out, sizes, notes)
    except NotHereError as error:
        notes.note(reason=str(error))
        return NOT_HERE
    except ResultError as error:
        notes.note(reason=str(error))
        return 1
    except Exception as error:
        traceback.print_exc()
        notes.note(reason=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
