"""Phases, each a process with a bound on its time; one that fails or takes too long does not stop the next."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_report import CUT_OFF, FAILED, PASSED, SKIPPED, Report, read_notes

FIGURES = "QMANET_FIGURES"
"""Environment variable: the file that a phase writes its figures into."""
NOT_HERE = 3
"""Exit code of a phase that this machine cannot run; its figure ``reason`` says why."""
LEAST_SECONDS = 2.0
"""With less a phase is not begun."""
_POLL_SECONDS = 0.2
_WRITE_SECONDS = 2.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Phase:
    """One step of the check."""

    name: str
    command: Sequence[str]
    share: float
    """Its part of the time, relative to the other phases'; what earlier phases left is shared out anew."""
    needs: tuple[str, ...] = ()
    """Phases without whose success it has nothing to work on."""


class NotHereError(Exception):
    """This machine cannot do what a phase asks for; that is no failure."""


class ResultError(Exception):
    """What a phase asked for was done, and the result is wrong."""


class Ended(BaseException):
    """The user or the system asked the script to end."""


def run_phases(phases: Sequence[Phase], report: Report, seconds: float) -> None:
    """Run all phases in their order, and keep the report on disk up to date.

    Args:
        phases: what to run.
        report: where the results go; it is written before, during and after each phase.
        seconds: for all of them together.

    Raises:
        Ended: as soon as the current phase's processes are gone and what it has found is written.
    """
    end = time.monotonic() + seconds
    for position, phase in enumerate(phases):
        missing = [name for name in phase.needs if report.status_of(name) != PASSED]
        bound = (end - time.monotonic()) * phase.share / sum(later.share for later in phases[position:])
        entry = report.begin(phase.name)
        if missing:
            entry |= {"status": SKIPPED, "reason": f"it needs what did not pass: {', '.join(missing)}"}
        elif bound < LEAST_SECONDS:
            entry |= {"status": SKIPPED, "reason": "no time was left"}
        else:
            _run(phase, entry, report, bound)
        report.write()


def _run(phase: Phase, entry: dict[str, Any], report: Report, bound: float) -> None:
    notes, log = report.folder / "phases" / f"{phase.name}.json", report.folder / "phases" / f"{phase.name}.log"
    notes.parent.mkdir(exist_ok=True)
    notes.unlink(missing_ok=True)
    entry["bound_seconds"] = round(bound, 1)
    report.write()
    start = written = time.monotonic()
    environment = {**os.environ, FIGURES: str(notes)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            phase.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        ended: BaseException | None = None
        try:
            while process.poll() is None and time.monotonic() - start < bound:
                time.sleep(_POLL_SECONDS)
                if time.monotonic() - written > _WRITE_SECONDS:
                    written = time.monotonic()
                    entry |= {"seconds": round(written - start, 1), "figures": read_notes(notes)}
                    report.write()
        except (Ended, KeyboardInterrupt) as error:
            ended = error
        code = process.poll()
        _kill_all(process)
    entry |= {"seconds": round(time.monotonic() - start, 1), "figures": read_notes(notes)}
    reason = str(entry["figures"].pop("reason", ""))
    if ended is not None:
        entry |= {"status": CUT_OFF, "reason": "the script was ended"}
        report.write()
        raise ended
    if code is None:
        entry |= {"status": CUT_OFF, "reason": f"it took longer than its {bound:.0f} seconds"}
    elif code == NOT_HERE:
        entry |= {"status": SKIPPED, "reason": reason or _last_line(log)}
    elif code:
        entry |= {"status": FAILED, "reason": reason or f"code {code}: {_last_line(log)}"}
    else:
        entry |= {"status": PASSED, "reason": reason}


def end_with_parent() -> None:
    """In a new process: it is to end when the one that started it does, however that ends (Linux)."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """End what the phase has left: its whole session of processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"
