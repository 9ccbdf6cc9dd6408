"""Does the same work on many files, in several processes; the results come in the order of the files."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from qmanet_benco.errors import RequestError

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT = 8
"""Files given out for each worker: enough that none waits, few enough that memory does not grow with the set."""

_work: Callable[[Any], Any]
"""The work of a worker process. It is sent once, not with every file."""


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield each item with its result, in the order of the items.

    Threads would not do: Pillow decodes and encodes under the interpreter's lock.

    Args:
        work: picklable where there are several workers; its exceptions come out here.
        items: any number; a few are taken ahead.
        workers: processes; 1 works in this one.

    Yields:
        Items and results. Close the generator where the loop over it may end early: its processes end then.

    Raises:
        RequestError: a worker was killed, as the system does when memory runs out.
    """
    if workers == 1:
        for item in items:
            yield item, work(item)
        return
    # forked by a server of their own: forking a process that has threads can leave its locks held
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver"), _begin, (work,))
    flying: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            flying.append((item, pool.submit(_do, item)))
            if len(flying) >= IN_FLIGHT * workers:
                first, future = flying.popleft()
                yield first, future.result()
        while flying:
            first, future = flying.popleft()
            yield first, future.result()
    except BrokenProcessPool:
        raise RequestError(
            "a worker ended before its time",
            cure="give the same command again, with fewer --workers if memory ran out; a script that asks for several "
            'needs the guard `if __name__ == "__main__":`',
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches the whole group; the command itself ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End a worker whose command was killed: none is left that waits for it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(item: Any) -> Any:
    return _work(item)
