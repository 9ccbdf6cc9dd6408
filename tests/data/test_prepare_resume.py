"""A kill in the middle, followed by a second run, gives the bytes of one run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import archives
import pytest
from prepared import pairs_of, snapshot

from qmanet_benco.data.prepare.prepare import prepare
from qmanet_benco.errors import RequestError

SLOWLY = """
import sys, time
from pathlib import Path
from qmanet_benco.data.prepare.prepare import prepare
slow = lambda done, total: time.sleep(0.01)  # the workers wait for it: few files are given out ahead
prepare("casiav1", Path(sys.argv[1]), Path(sys.argv[2]), workers=2, progress=slow)
"""


@pytest.mark.parametrize("finished", [1, 40])
def test_killed_and_started_again_is_as_never_killed(finished, tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    archives.casiav1(raw, names=archives.casiav1_names()[60:180])
    child = subprocess.Popen([sys.executable, "-c", SLOWLY, str(raw), str(out)], stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not (out / "Gt").is_dir() or len(list((out / "Gt").iterdir())) < finished:
        assert time.monotonic() < limit
        assert child.poll() is None
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (out / "manifest.csv").exists()
    with (out / ".journal.jsonl").open("a") as journal:
        journal.write('{"file": "Tp/torn')
    prepare("casiav1", raw, out)
    prepare("casiav1", raw, tmp_path / "once")
    assert snapshot(out) == snapshot(tmp_path / "once")
    assert len(pairs_of(out)) == 120


def test_what_is_done_is_not_done_again(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    archives.casiav1(raw, names=archives.casiav1_names()[:30])
    prepare("casiav1", raw, out)
    before = {path: path.stat().st_mtime_ns for path in (out / "Gt").iterdir()}
    seen = []
    prepare("casiav1", raw, out, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(30, 30)]
    assert {path: path.stat().st_mtime_ns for path in (out / "Gt").iterdir()} == before


def test_a_lost_file_is_made_again(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    archives.casiav1(raw, names=archives.casiav1_names()[:30])
    prepare("casiav1", raw, out)
    before = snapshot(out)
    next((out / "Gt").iterdir()).unlink()
    prepare("casiav1", raw, out)
    assert snapshot(out) == before


def test_an_interrupt_leaves_nothing_half_written(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    archives.casiav1(raw, names=archives.casiav1_names()[:30])

    def interrupt(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("casiav1", raw, out, workers=2, progress=interrupt)
    assert not (out / "manifest.csv").exists()
    prepare("casiav1", raw, out)
    prepare("casiav1", raw, tmp_path / "once")
    assert snapshot(out) == snapshot(tmp_path / "once")


def test_another_set_does_not_go_into_the_same_folder(tmp_path: Path):
    archives.casiav1(tmp_path / "raw", names=archives.casiav1_names()[:3])
    archives.coverage(tmp_path / "other")
    prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    with pytest.raises(RequestError, match="name another folder"):
        prepare("coverage", tmp_path / "other", tmp_path / "out")
