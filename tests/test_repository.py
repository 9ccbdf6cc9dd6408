"""What people expect beside the code: a first page that can be read, and files that tools read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from qmanet_benco import __version__

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 130
YAML_FILES = [*sorted((ROOT / ".github").rglob("*.yml")), ROOT / "CITATION.cff"]


def test_the_first_page_is_short_and_shows_a_picture_before_anything_else() -> None:
    assert len(README.splitlines()) <= MOST_LINES
    assert README.index("](docs/pictures/") < README.index("\n## ")
    assert "runs/quickstart.sh" in README
    assert "runs/check.sh" in README


def test_every_page_of_the_documentation_can_be_reached_from_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if f": {page}\n" not in navigation} == set()


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_files_for_tools_are_read_by_a_parser(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_the_public_ci_runs_the_same_command_on_every_python_that_setup_allows() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["check"]
    listed = re.findall(r'Python :: (3\.\d+)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert job["strategy"]["matrix"]["python"] == listed
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


def test_the_changelog_begins_with_the_version_of_the_code() -> None:
    (first, *_) = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert first.split(",")[0] == Version(__version__).base_version


def test_make_help_lists_every_target() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [line.split()[0] for line in said.splitlines()] == targets
    assert len(targets) > 4
