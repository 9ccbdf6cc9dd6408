"""The processes that share a suite: this one alone, or a group of torch.distributed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from qmanet_benco import files
from qmanet_benco.benco.seam.world import gathered

PATIENCE = timedelta(hours=12)
"""A process whose share was quick waits for the others, which may take long."""


@dataclass(frozen=True)
class Processes:
    """This process's place."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(
        default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu")  # the current GPU
    )

    def wait(self) -> None:
        """Wait until all have come here."""
        if self.size > 1:
            distributed.barrier()

    def gather(self, value: Any) -> list[Any]:
        """Gather the value of each process, in the order of the ranks."""
        return gathered(value) if self.size > 1 else [value]

    def first(self, value: str, all_agree: bool = False) -> str:
        """Find the first text that is not empty; with ``all_agree`` only where nobody's is."""
        values = self.gather(value)
        if all_agree and not all(values):
            return ""
        return next((text for text in values if text), "")

    def total(self, value: int) -> int:
        """Compute the sum of everybody's value."""
        return sum(self.gather(value))

    def share(self, value: Any) -> Any:
        """Return the first process's value."""
        return self.gather(value)[0]


@contextmanager
def joined(world: Mapping[str, str] | None) -> Iterator[Processes]:
    """Join the group that a launcher's environment describes; it is left at the end of the block.

    Args:
        world: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, or None for this process alone.
    """
    if world is None or int(world["WORLD_SIZE"]) == 1:
        yield Processes()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(world["LOCAL_RANK"]) % torch.cuda.device_count())
    distributed.init_process_group("gloo", timeout=PATIENCE)  # only small objects are exchanged
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


@contextmanager
def locked(out: Path, processes: Processes) -> Iterator[None]:
    """Hold a folder, which is made, for one run at a time.

    Raises:
        RequestError: another run works there, or it cannot be written.
    """
    if processes.rank:
        yield
        return
    with ExitStack() as lock:
        with files.writing(out):
            lock.enter_context(files.locked(out))
        yield
