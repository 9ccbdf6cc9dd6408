"""`qmanet doctor`: what it finds, and that --json is one document."""

from __future__ import annotations

import json
import os
import sys

import pytest

from qmanet_benco.benco.corrections import cpu as compat
from qmanet_benco.benco.corrections import table as hardening
from qmanet_benco.benco.launch import doctor, requirements


def test_json_is_one_document_and_names_every_patch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from qmanet_benco.cli import main as cli

    monkeypatch.setattr(sys, "argv", ["qmanet", "doctor", "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is True
    assert [patch["name"] for patch in found["patches"]] == [row.name for row in (*hardening.ROWS, *compat.ROWS)]
    assert found["packages"]["imdlbenco"] == "0.1.45"
    assert found["cores"] == len(os.sched_getaffinity(0))


def test_tables_show_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from qmanet_benco.cli.doctor import show

    show(doctor.diagnose(), Console(width=200))
    shown = capsys.readouterr().out
    for row in (*hardening.ROWS, *compat.ROWS):
        assert row.name in shown
    assert shown.splitlines()[-1].startswith("Healthy: ")


def test_another_release_and_a_broken_opencv_are_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from qmanet_benco.cli.doctor import show

    monkeypatch.setattr(doctor, "_opencv", lambda: "fails: libGL.so.1")
    monkeypatch.setattr(doctor, "_stock_lines", lambda name: ["something else"])
    found = doctor.diagnose()
    assert not found.healthy
    assert not any(patch.found for patch in found.patches)
    assert doctor.Missing("a working OpenCV", doctor.opencv_cure()) in found.missing
    show(found, Console(width=80))
    assert capsys.readouterr().out.splitlines()[-1] == doctor.verdict(found)
    assert doctor.opencv_cure() in doctor.verdict(found)
    monkeypatch.setattr(doctor, "_opencv", lambda: "4.11.0")
    count = len(found.patches)
    assert f"{count} of {count} corrected lines" in doctor.verdict(doctor.diagnose())
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    assert "not installed" in doctor.verdict(doctor.diagnose())


def test_extras_are_read_from_the_packages_own_metadata() -> None:
    listed = ["torch>=2", 'pytest>=8 ; extra == "test"', "ruff; extra == 'dev'"]
    assert doctor._extras(listed) == {"test": ["pytest"], "dev": ["ruff"]}


def test_packages_that_installed_ones_ask_for_are_named_where_they_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {
        "mine": ["Framework>=1", "opencv_python", "absent-extra; extra == 'x'", "old; python_version < '3'"],
        "framework": ["Yapf", "opencv-python-headless"],
        "yapf": ["platformdirs>=3", "setuptools"],
        "opencv-python-headless": [],
    }
    monkeypatch.setattr(requirements, "_requirements", asked.get)
    assert requirements.absent_packages("mine") == ["platformdirs"]
    asked["yapf"] = []
    assert requirements.absent_packages("mine") == []
    del asked["opencv-python-headless"]
    assert requirements.absent_packages("mine") == ["opencv-python", "opencv-python-headless"]


def test_doctor_gives_the_command_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "absent_packages", lambda name: ["platformdirs", "wcwidth"])
    expected = doctor.Missing("packages: platformdirs, wcwidth", "pip install --no-deps platformdirs wcwidth")
    assert expected in doctor.diagnose().missing


@pytest.mark.compat
def test_nothing_is_absent_here() -> None:
    assert requirements.absent_packages(doctor.PACKAGE) == []
