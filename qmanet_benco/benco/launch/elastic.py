"""Starts several processes on one or more machines, and says in one place what went wrong in them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmanet_benco.benco.seam.patches import environment
from qmanet_benco.benco.seam.world import LOOPBACK
from qmanet_benco.errors import RequestError
from qmanet_benco.files import write_atomically

REPORTS = "QMANET_REPORTS"
"""Environment variable: the folder where processes report errors to their parent."""
STARTED = "QMANET_STARTED"
"""Environment variable: when a group that may be restarted was started, in seconds of the epoch."""
_PARENT = "QMANET_PARENT"
_PR_SET_PDEATHSIG = 1
_RUN_ID = "qmanet"
_NOISY = ("torch.distributed.elastic", "torch.distributed.launcher", "torch.distributed.nn")


@dataclass(frozen=True)
class Group:
    """The processes to start."""

    nproc: str = "1"
    """Processes on this machine; ``auto`` or ``gpu`` for one on each GPU."""
    nnodes: int = 1
    rdzv: str = ""
    """``HOST:PORT`` where several machines meet."""
    max_restarts: int = 0

    def check(self) -> None:
        """Check the values.

        Raises:
            RequestError: one is wrong.
        """
        self.local_size()
        if self.nnodes < 1 or self.max_restarts < 0:
            raise RequestError(f"--nnodes {self.nnodes} --max-restarts {self.max_restarts}", "1 or more, 0 or more")
        if self.nnodes > 1 and not self.rdzv:
            raise RequestError(f"--nnodes {self.nnodes} without --rdzv", "--rdzv HOST:PORT, the same on each machine")
        host, _, port = self.rdzv.rpartition(":")
        if self.rdzv and not (host and port.isdecimal()):
            raise RequestError(f"--rdzv {self.rdzv}", "HOST:PORT")

    def is_single(self) -> bool:
        """Tell whether one process is all."""
        return self.nnodes == 1 and not self.rdzv and (self.nproc == "1" or self.local_size() == 1)

    def local_size(self) -> int:
        """Processes on this machine.

        Raises:
            RequestError: there is no GPU, or there are fewer than asked for.
        """
        if self.nproc == "1":
            return 1
        import torch

        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self.nproc in ("auto", "gpu"):
            if not gpus:
                raise RequestError(f"--nproc {self.nproc} without a GPU", "a number of processes", "e.g. --nproc 2")
            return gpus
        if not self.nproc.isdecimal() or int(self.nproc) < 1:
            raise RequestError(f"--nproc {self.nproc}", "a number of processes, auto or gpu")
        if gpus and int(self.nproc) > gpus:
            raise RequestError(f"--nproc {self.nproc}", f"at most one process for each of {gpus} GPUs")
        return int(self.nproc)

    def size(self) -> int:
        """Processes on all machines, if they are alike."""
        return self.local_size() * self.nnodes


def run_group(group: Group, module: str, description: str, debug: bool) -> int:
    """Run a module's ``main`` in each process of a group, and wait.

    Args:
        group: how many.
        module: of this package.
        description: what ``main`` finds in ``sys.argv[1]``.
        debug: let the elastic agent log what it does.

    Returns:
        0, 1 after a crash (its traceback is shown), or 128 plus the signal that ended this process.

    Raises:
        RequestError: a process found the request wrong, or the machines did not meet.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import elastic_launch

    with (
        tempfile.TemporaryDirectory(prefix="qmanet-") as name,
        _worker_environment(group, name),
        _calm(debug),
        _own_signals(),
    ):
        try:
            elastic_launch(_configuration(group, name), sys.executable)(*arguments_of(module, description))
        except SignalException as error:
            return 128 + int(error.sigval)
        except ChildFailedError as error:
            return _explain(Path(name), error.failures)
        except (RendezvousError, TimeoutError) as error:
            raise RequestError(
                f"the machines did not meet at {group.rdzv or 'this machine'} ({error})",
                f"{group.nnodes} launchers with the same --rdzv and --nnodes",
                "check that the port is free and reachable",
            ) from error
    return 0


def arguments_of(module: str, description: str) -> list[str]:
    """Make the interpreter's arguments that run a module's ``main``, without imports from the current folder.

    A user's ``test.py`` or ``random.py`` there would be taken for the module of that name. Python 3.11 has ``-P``
    against it, Python 3.10 has nothing.
    """
    code = f"import sys; sys.path[:1] = filter(None, sys.path[:1]); from {module} import main; raise SystemExit(main())"
    return ["-u", "-c", code, description]


def end_with_parent() -> None:
    """Let this process be terminated when its parent is gone, also by a SIGKILL that the parent cannot pass on."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(os.environ.get(_PARENT, os.getppid())):  # it was gone before
        raise SystemExit(1)


def report(error: BaseException) -> None:
    """Tell the parent process, if it listens; to be called before the group falls apart and others fail too."""
    folder = os.environ.get(REPORTS)
    if not folder:
        return
    request = isinstance(error, RequestError)
    text = str(error) if request else "".join(traceback.format_exception(error))
    name = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}-{os.environ.get('RANK', 0)}.json"
    content = json.dumps({"request": request, "text": text, "time": time.time()})
    with contextlib.suppress(OSError):  # without a report the parent still says which process failed
        # whole or not there, since the agent may end this process at any moment
        write_atomically(Path(folder, name), lambda part: part.write_text(content), only_writer=True)


def asked_before() -> bool:
    """Tell whether an earlier attempt of this group found the request wrong, so that trying again is vain."""
    folder = os.environ.get(REPORTS)
    return bool(folder) and any(entry["request"] for entry in _reports(Path(folder or ".")))


def _reports(folder: Path) -> list[dict[str, Any]]:
    entries = [json.loads(path.read_text()) for path in folder.glob("*-*.json")]
    return sorted(entries, key=lambda entry: (not entry["request"], entry["time"]))


def _explain(folder: Path, failures: dict[int, Any]) -> int:
    """Show the first cause: a wrong request if there is one, else the earliest traceback of the last attempt."""
    entries = _reports(folder)
    if entries and entries[0]["request"]:
        raise RequestError(entries[0]["text"])
    if entries:
        sys.stderr.write(entries[0]["text"])
        return 1
    for rank, failure in failures.items():
        sys.stderr.write(f"qmanet: error: process {rank} ended with code {failure.exitcode} ({failure.message})\n")
    return 1


@contextlib.contextmanager
def _worker_environment(group: Group, reports: str) -> Iterator[None]:
    import torch

    changes = {REPORTS: reports, _PARENT: str(os.getpid())}
    if group.max_restarts:
        changes[STARTED] = str(time.time())
        # one store for all attempts makes a restarted process call the killed one's address (torch 2.14: the rendezvous
        # creates its server once, and no key says which attempt it is of)
        changes["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    if "OMP_NUM_THREADS" not in os.environ and not torch.cuda.is_available():
        # each process would otherwise take all cores
        changes["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // group.local_size()))
    with environment(changes):
        yield


@contextlib.contextmanager
def _calm(debug: bool) -> Iterator[None]:
    """Silence the agent's account of failures, which :func:`_explain` gives in a line."""
    loggers = [] if debug else [logging.getLogger(name) for name in _NOISY]
    levels = [entry.level for entry in loggers]
    for entry in loggers:
        entry.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for entry, level in zip(loggers, levels, strict=True):
            entry.setLevel(level)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Give the signals back that the agent takes over to end its processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    handlers = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def _configuration(group: Group, folder: str) -> Any:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    host = group.rdzv.rpartition(":")[0]
    alone = group.nnodes == 1 and not group.rdzv
    return LaunchConfig(
        min_nodes=group.nnodes,
        max_nodes=group.nnodes,
        nproc_per_node=group.local_size(),
        logs_specs=DefaultLogsSpecs(log_dir=str(Path(folder, "logs"))),
        run_id=_RUN_ID,
        rdzv_backend="c10d",
        rdzv_endpoint=f"{LOOPBACK}:0" if alone else group.rdzv,
        # a machine's full name need not resolve; on loopback it need not be known either
        local_addr=LOOPBACK if alone or host in (LOOPBACK, "localhost") else None,
        max_restarts=group.max_restarts,
    )
