"""The experiment on killed commands: it finds nothing lost where nothing is, and notices what is."""

from __future__ import annotations

from pathlib import Path

import kill_commands as room


def test_preparation_that_is_killed_ends_with_the_same_files(tmp_path: Path) -> None:
    prepare, _ = room.subjects(tmp_path, pairs=300)
    found = room.experiment(prepare, tmp_path / "prepare", kills=2)
    assert found.kills > 0
    assert found.files > 600
    assert found.lost == []


def test_missing_surplus_and_different_files_are_lost(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder, names in ((whole, "abc"), (killed, "bcd")):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("equal" if name == "b" else str(folder))
    subject = room.Subject("", (), ("**/*",), "")
    assert room._differing(whole, killed, subject) == ["a", "d", "c"]
