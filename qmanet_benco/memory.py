"""What the process does with memory that was freed.

glibc gives a freed block of 32 MB or more back to Linux, which hands out zeroed pages again one by one. A layer of
64 x 512 x 512 in float32 is 67 MB, so a network spends a large part of its time on page faults:
``runs/measure/speed.py`` has the baselines with and without. Sources: mallopt(3); torch's ``THP_MEM_ALLOC_ENABLE``.
"""

from __future__ import annotations

import os

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

    The process then stays as large as it once was, which suits one that computes and ends. Nothing happens where the
    user has chosen an allocator, and little but on Linux with glibc.

    Returns:
        Whether this process keeps its memory now.
    """
    if any(name.startswith(CHOSEN_BY_USER) for name in os.environ):
        return False
    os.environ.setdefault(LARGE_PAGES, "1")  # torch reads it when it allocates first
    return _set_thresholds()


def _set_thresholds() -> bool:
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; TypeError: Windows
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
