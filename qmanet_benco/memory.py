"""Keeps memory that the network freed, so that the next layer need not fetch it from Linux again.

glibc gives a freed block of 32 MB or more back to Linux, which hands out zeroed pages again one by one. A layer of
64 x 512 x 512 in float32 is 67 MB, so a network spends a large part of its time on page faults:
``runs/measure/speed.py`` has the baselines with and without. Sources: mallopt(3); torch's ``THP_MEM_ALLOC_ENABLE``.
"""

from __future__ import annotations

import os
from pathlib import Path

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""mallopt's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD (malloc.h)."""
LARGEST_KEPT = 1 << 30
"""Bytes. Larger blocks still go back to Linux when they are freed."""
NEVER = -1
"""The heap's free end is not given back."""
LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Environment variable: at "1" torch asks Linux for pages of 2 MB."""
CHOSEN_BY_USER = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Whoever sets one of these has decided on the allocator."""


def keep_freed_memory() -> bool:
    """Keep freed memory for the next use, in this process and in those that it forks; results do not change.

    The process then stays as large as it once was, which suits one that computes and ends. Where the user has chosen
    an allocator, nothing is changed. Elsewhere than on Linux with glibc it has little effect.

    Returns:
        Whether this process keeps its memory now.
    """
    if any(name.startswith(CHOSEN_BY_USER) for name in os.environ):
        return False
    os.environ.setdefault(LARGE_PAGES, "1")  # torch reads it when it allocates first
    return _set_thresholds()


def free_bytes() -> int:
    """Return the bytes of memory that Linux can still give, within a container's limit; elsewhere 4 GiB.

    Sources: MemAvailable of proc_meminfo(5); memory.max and memory.current of control groups, version 2.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = next((line.removeprefix("0::/") for line in groups if line.startswith("0::/")), "")
    except (OSError, ValueError, StopIteration):
        return 4 << 30
    return min([free, *bytes_left_to_groups(Path("/sys/fs/cgroup"), own)])


def bytes_left_to_groups(root: Path, own: str) -> list[int]:
    """Return the bytes that are left to a control group, and to each group around it, where there is a limit."""
    left, folder = [], root / own
    for _ in range(1 + len((root / own).relative_to(root).parts)):
        try:
            limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
            left.append(max(0, limit - used))
        except (OSError, ValueError):  # no such file, or "max"
            pass
        folder = folder.parent
    return left


def _set_thresholds() -> bool:
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; TypeError: Windows
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
