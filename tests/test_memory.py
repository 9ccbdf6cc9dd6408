"""Freed memory is kept unless the user has chosen otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qmanet_benco import memory
from qmanet_benco.cli import main as cli

FAULTS = """
import resource, sys
from qmanet_benco.memory import keep_freed_memory
kept = "keep" in sys.argv and keep_freed_memory()
import torch
def use():
    torch.ones(1 << 24)  # 64 MiB, above what glibc keeps by itself
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def faults(*words: str, **environment: str) -> tuple[bool, int]:
    """Whether memory was kept, and the page faults of using 64 MiB four times more."""
    surroundings = {name: value for name, value in os.environ.items() if name != memory.LARGE_PAGES}
    ended = subprocess.run(
        [sys.executable, "-c", FAULTS, *words],
        env=surroundings | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, count = ended.stdout.split()
    return bool(int(kept)), int(count)


@glibc_only
def test_freed_memory_is_used_again() -> None:
    kept, few = faults("keep")
    assert kept
    many = faults()[1]  # 4 x 64 MiB in pages of 4 KiB: 65,536
    if many < 8000:
        pytest.skip("this kernel hands out large pages by itself")
    assert few < many / 4


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_an_allocator_that_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    before = dict(os.environ)
    monkeypatch.setattr(memory, "_set_thresholds", pytest.fail)
    assert not memory.keep_freed_memory()
    assert dict(os.environ) == before


def test_every_command_keeps_memory_but_the_page_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: calls.append("kept"))
    runner = CliRunner()
    assert runner.invoke(cli.app, ["weights", "list"]).exit_code == 0
    assert calls == ["kept"]
    runner.invoke(cli.app, ["app", "--port", "-1"])
    assert calls == ["kept"]


def test_free_memory_is_no_more_than_the_machine_has_and_something() -> None:
    assert 0 < memory.free_bytes() < 1 << 50


def test_a_group_has_no_more_than_the_groups_around_it(tmp_path: Path) -> None:
    own = tmp_path / "slurm" / "job"
    own.mkdir(parents=True)
    for folder, limit, used in ((own, "max", 10), (own.parent, "1000", 300), (tmp_path, "5000", 6000)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
    assert memory.bytes_left_to_groups(tmp_path, "slurm/job") == [700, 0]
    assert memory.bytes_left_to_groups(tmp_path / "absent", "slurm/job") == []
