"""Work in processes: the order of the items, whatever finishes first; nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qmanet_benco.data.masks import UnusableFileError
from qmanet_benco.errors import RequestError
from qmanet_benco.pool import IN_FLIGHT, in_order

KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_pool import note_and_wait
from qmanet_benco.pool import in_order
list(in_order(note_and_wait, [Path(sys.argv[1])] * 8, 2))
"""


def slow_at_first(item: int) -> int:
    time.sleep(0.05 if item < 2 else 0.0)
    return item * item


def process_of(_item: int) -> int:
    return os.getpid()


def refuse_three(item: int) -> int:
    if item == 3:
        raise UnusableFileError("three")
    return item


def kill_the_worker(_item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_wait(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(in_order(slow_at_first, range(40), workers)) == [(item, item * item) for item in range(40)]


def test_several_workers_are_other_processes_and_one_is_this_one() -> None:
    assert {process for _, process in in_order(process_of, range(3), 1)} == {os.getpid()}
    assert os.getpid() not in {process for _, process in in_order(process_of, range(6), 2)}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_out_at_its_item(workers: int) -> None:
    seen: list[int] = []
    with pytest.raises(UnusableFileError, match="three"):
        seen.extend(item for item, _ in in_order(refuse_three, range(9), workers))
    assert seen == [0, 1, 2]


def test_few_items_are_taken_ahead() -> None:
    taken = []
    results = in_order(refuse_three, (taken.append(item) or 0 for item in range(1000)), 2)
    next(results)
    results.close()
    assert len(taken) <= 2 * IN_FLIGHT


def test_a_killed_worker_is_told_in_one_line() -> None:
    with pytest.raises(RequestError, match="a worker ended before its time; give the same command again"):
        list(in_order(kill_the_worker, range(4), 2))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
def test_workers_end_with_a_killed_command(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    command = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), here])
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert all(map(is_running, workers))
    command.kill()
    command.wait()
    wait_until(lambda: not any(map(is_running, workers)))
