"""Tells which group of processes this process belongs to: one of its own, torchrun's, or Slurm's."""

from __future__ import annotations

import logging
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from qmanet_benco.errors import RequestError

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_PORTS = (20_000, 20_000)
"""First port for Slurm jobs, and how many."""
PATIENCE = 120
"""Seconds: srun starts all tasks at once, and this is before the slow imports."""
PATIENCE_VARIABLE = "QMANET_GROUP_SECONDS"
_meetings: list[object] = []


def world_of(environ: Mapping[str, str], launching: bool = False) -> dict[str, str] | None:
    """Find the variables that torch.distributed needs, from the launcher that started this process.

    Args:
        environ: the environment.
        launching: the user asked this process to start a group (--nproc, --nnodes); then a Slurm task is a machine.

    Returns:
        RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; None if nobody started a group.
    """
    alone = environ.get("WORLD_SIZE") == "1"  # some containers declare it for every process
    if "RANK" in environ and "WORLD_SIZE" in environ and not (alone and launching):
        return _completed(environ)
    if "SLURM_PROCID" in environ and "SLURM_NTASKS" in environ and not launching:
        return _slurm_world(environ)
    return None


def await_group(environ: Mapping[str, str], world: Mapping[str, str]) -> None:
    """Wait until all processes that Slurm announces have come, and no longer than :data:`PATIENCE`.

    A batch script and an interactive allocation have SLURM_NTASKS too, though nobody started the other tasks: a single
    command would wait for them for ever. A launcher such as torchrun sets RANK, and looks after its processes itself.

    Args:
        environ: the environment that the world was made of.
        world: of :func:`world_of`.

    Raises:
        RequestError: not all came.
    """
    if "RANK" in environ or int(world["WORLD_SIZE"]) == 1:
        return
    from torch.distributed import TCPStore

    size, rank, port = int(world["WORLD_SIZE"]), int(world["RANK"]), int(world["MASTER_PORT"])
    meeting = port + _PORTS[1] if port + _PORTS[1] < 65_536 else port - _PORTS[1]
    limit = environ.get(PATIENCE_VARIABLE, "")
    seconds = int(limit) if limit.isdecimal() and int(limit) > 0 else PATIENCE
    logger.warning("SLURM_NTASKS=%d: waiting for the other processes, at most %d s", size, seconds)
    try:
        # The store is kept until this process ends: without its server, processes that still wait in it would fail.
        _meetings.append(TCPStore(world["MASTER_ADDR"], meeting, size, rank == 0, timedelta(seconds=seconds)))
    except RuntimeError as error:
        raise RequestError(
            f"of the {size} processes that SLURM_NTASKS announces, not all came within {seconds} s",
            f"srun, which starts them all; {PATIENCE_VARIABLE} is how long they are waited for",
            "for one process: SLURM_NTASKS=1 qmanet ...",
        ) from error


def world_of_one() -> dict[str, str]:
    """Describe a group of this process alone: the stock scripts score and log every image only in a group."""
    return {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(free_port()),
    }


def place() -> tuple[int, int]:
    """Return this process's rank in its group, and how many processes the group has; 0 and 1 without a group."""
    from torch import distributed

    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def gathered(value: Any) -> list[Any]:
    """Gather everybody's value, in the order of the ranks; every process must call it."""
    from torch import distributed

    size = place()[1]
    if size == 1:
        return [value]
    values: list[Any] = [None] * size
    distributed.all_gather_object(values, value)
    return values


def free_port() -> int:
    """Find a TCP port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def first_host(hosts: str) -> str:
    """Read the first name of a Slurm host list: ``node[03-05,9],gpu1`` -> ``node03``.

    Raises:
        RequestError: it is no host list.
    """
    match = re.match(r"([^\[\],]+)(?:\[(\w+)[^\]]*\])?([^,\[]*)", hosts.strip())
    if not match:
        raise RequestError(f"SLURM_JOB_NODELIST {hosts!r}", "a Slurm host list", "set MASTER_ADDR yourself")
    head, first, tail = match.groups()
    return f"{head}{first or ''}{tail}"


def _completed(environ: Mapping[str, str]) -> dict[str, str]:
    rank, size = environ["RANK"], environ["WORLD_SIZE"]
    if not rank.isdecimal() or not size.isdecimal() or int(rank) >= int(size):
        raise RequestError(f"RANK={rank} WORLD_SIZE={size} in the environment", "a rank below the size", "unset both")
    world = {name: environ[name] for name in ("MASTER_ADDR", "MASTER_PORT") if name in environ}
    if len(world) < 2 and int(size) > 1:
        raise RequestError(f"WORLD_SIZE={size} without MASTER_ADDR and MASTER_PORT", "both, as torchrun sets them")
    local = environ.get("LOCAL_RANK", environ.get("SLURM_LOCALID", "0"))
    return world_of_one() | world | {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": local}


def _slurm_world(environ: Mapping[str, str]) -> dict[str, str]:
    """Describe the group of an srun: one process for each task."""
    if environ["SLURM_NTASKS"] == "1" or environ.get("SLURM_STEP_NUM_TASKS") == "1":  # of the job; of this srun
        return world_of_one()
    job = int(environ.get("SLURM_JOB_ID", "0")) if environ.get("SLURM_JOB_ID", "0").isdecimal() else 0
    first, count = _PORTS
    return {
        "RANK": environ["SLURM_PROCID"],
        "WORLD_SIZE": environ["SLURM_NTASKS"],
        "LOCAL_RANK": environ.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": environ.get("MASTER_ADDR") or _slurm_master(environ),
        "MASTER_PORT": environ.get("MASTER_PORT") or str(first + job % count),
    }


def _slurm_master(environ: Mapping[str, str]) -> str:
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST", "")
    if not hosts:
        raise RequestError("SLURM_NTASKS without SLURM_JOB_NODELIST", "a task of srun", "set MASTER_ADDR yourself")
    if shutil.which("scontrol"):
        shown = subprocess.run(["scontrol", "show", "hostnames", hosts], capture_output=True, text=True, check=False)
        if shown.returncode == 0 and shown.stdout.split():
            return str(shown.stdout.split()[0])
    return first_host(hosts)
