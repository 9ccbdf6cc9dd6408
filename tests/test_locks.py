"""Two runs never work in one folder at a time, and a killed one leaves no lock behind."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from qmanet_benco.data.forge.demo import make_demo
from qmanet_benco.data.prepare.prepare import prepare
from qmanet_benco.errors import RequestError
from qmanet_benco.files import locked


def hold(folder: Path, held: object) -> None:
    with locked(folder):
        held.set()  # type: ignore[attr-defined]
        signal.pause()


def test_a_second_run_is_refused_and_names_the_folder(tmp_path: Path) -> None:
    refused = pytest.raises(RequestError, match=r"another run works in .*out; .*name another folder")
    with locked(tmp_path / "a"), refused, locked(tmp_path / "a", tmp_path / "out"):
        pass
    with locked(tmp_path / "a"):
        assert os.listdir(tmp_path / "a") == []  # noqa: PTH208


def test_a_killed_run_lets_go(tmp_path: Path) -> None:
    context = get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "a", held))
    process.start()
    assert held.wait(60)
    with pytest.raises(RequestError), locked(tmp_path / "a"):
        pass
    process.kill()
    process.join()
    with locked(tmp_path / "a"):
        pass


def test_a_folder_that_was_put_into_place_meanwhile_is_not_the_one_that_is_locked(tmp_path: Path) -> None:
    with locked(tmp_path / "work"):
        (tmp_path / "work").rename(tmp_path / "done")
        with locked(tmp_path / "work"):
            assert (tmp_path / "work").is_dir()


def test_concurrent_runs_of_the_generator_leave_one_whole_set(tmp_path: Path) -> None:
    alone = make_demo(tmp_path / "alone", train_count=3, test_count=2, size=64)
    together = threading.Barrier(4)

    def run(_: int) -> bool:
        together.wait(30)
        try:
            make_demo(tmp_path / "out", train_count=3, test_count=2, size=64)
        except RequestError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 1
    names = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*"))
    assert names == sorted(path.relative_to(alone.train.parent) for path in alone.train.parent.rglob("*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "out"]
    for path in alone.train.rglob("*.png"):
        assert (tmp_path / "out" / path.relative_to(alone.train.parent)).read_bytes() == path.read_bytes()


def test_files_of_others_in_the_working_folder_survive_the_refusal(tmp_path: Path) -> None:
    place = tmp_path / ".out.unfinished"
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    with pytest.raises(RequestError, match="did not write"):
        make_demo(tmp_path / "out", train_count=1, test_count=1, size=64)
    assert (place / "thesis.txt").read_text() == "mine"


def test_preparing_waits_for_nobody(tmp_path: Path) -> None:
    from hostile_makers import archive

    archive()(tmp_path / "raw")
    prepare("cocoglide", tmp_path / "raw", tmp_path / "out")
    with locked(tmp_path / "out"), pytest.raises(RequestError, match="another run works in"):
        prepare("cocoglide", tmp_path / "raw", tmp_path / "out")


def test_preparing_gives_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    from hostile_makers import archive

    archive()(tmp_path / "raw")
    made = {}
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        prepare("cocoglide", tmp_path / "raw", out, workers=workers)
        made[workers] = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert made[1] == made[2]
