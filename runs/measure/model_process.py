"""Runs models in processes of their own, which take turns with this one: each computes when told to, then waits.

So a baseline runs with the memory allocator as the framework's users have it, beside QMA-Net with what ``qmanet`` sets
(:mod:`qmanet_benco.memory`), and each process's peak memory is that of one model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

from qmanet_benco.memory import LARGE_PAGES, keep_freed_memory

RUN, PEAK, DONE = "run", "peak", "done"
"""Lines that are exchanged."""


@dataclass(frozen=True)
class ModelProcess:
    """What a process does at each turn."""

    what: str
    """``"inference"`` or ``"training"``."""
    model: str
    """A model of the framework's registry."""
    image_size: int
    device: str = "cpu"
    keeps_memory: bool = False
    """As ``qmanet`` runs models; otherwise as the framework's own scripts run them."""


class StartedProcess:
    """A model's process that has been started; calling it is one turn."""

    def __init__(self, described: ModelProcess, errors: IO[str]) -> None:
        words = (described.what, described.model, str(described.image_size), described.device)
        kept = ("keep",) if described.keeps_memory else ()
        self._name, self._errors = f"{described.what} of {described.model}", errors
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, *words, *kept],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={name: value for name, value in os.environ.items() if name != LARGE_PAGES},
        )

    def __call__(self) -> None:
        """One turn.

        Raises:
            RuntimeError: the process ended; the message has its last words.
        """
        self._ask(RUN)

    def peak_mib(self) -> float:
        """The process's largest resident memory so far, in MiB."""
        return float(self._ask(PEAK))

    def _ask(self, word: str) -> str:
        asked, answers = cast(IO[str], self.process.stdin), cast(IO[str], self.process.stdout)
        try:
            asked.write(f"{word}\n")
            asked.flush()
            answer = answers.readline().strip()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"{self._name} failed: {self._errors.read().strip()[-300:]}")
        return answer


@contextmanager
def started(processes: Sequence[ModelProcess]) -> Iterator[list[StartedProcess]]:
    """Start processes, and end them with the block."""
    with ExitStack() as stack:
        running = []
        for described in processes:
            errors = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
            process = StartedProcess(described, errors)
            stack.callback(_end, process.process)
            running.append(process)
            process()  # so that no two models are built at a time, which would slow both and need the memory of both
        yield running


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def main() -> int:
    """``WHAT MODEL IMAGE_SIZE DEVICE [keep]``: build a model, then answer the lines of standard input until it ends."""
    ours = "keep" in sys.argv[5:]
    if ours:
        keep_freed_memory()
    import torch

    from qmanet_benco.benco import scoring
    from qmanet_benco.benco.launch import session
    from qmanet_benco.evaluation.cost import peak_mib
    from timing import wait
    from workloads import one_model

    what, name, size, device = sys.argv[1], sys.argv[2], int(sys.argv[3]), torch.device(sys.argv[4])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the models print is no answer
    with session.prepared(False), scoring.as_the_test_script():
        work: Any = None
        for line in sys.stdin:
            if line.strip() == PEAK:
                answers.write(f"{peak_mib()}\n")
                continue
            work = work or one_model(what, name, size, device, ours)
            work()
            wait(device)
            answers.write(f"{DONE}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
