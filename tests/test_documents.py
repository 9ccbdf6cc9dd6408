"""What the documents say is true: commands run or at least parse, links lead somewhere, generated pages are fresh."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from PIL import Image
from typer.main import get_command

from differences import page
from qmanet_benco.benco.seam.flags import SCRIPTS
from qmanet_benco.cli.main import app
from warm_commands import warm_commands

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(r"^<!-- (needs|takes|downloads)\b.* -->")
"""Below a block that no test runs: what it wants, or how long it takes."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    number: int
    language: str
    code: str
    marked: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}-{self.number}"

    def commands(self) -> Iterator[list[str]]:
        """The words of each `qmanet` command, also behind variables or inside a loop."""
        for line in self.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "qmanet" in words:
                yield words[words.index("qmanet") + 1 :]


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start, language = -1, ""
    for index, line in enumerate(lines):
        if line.startswith("```") and start < 0:
            start, language = index, line.removeprefix("```")
        elif line == "```":
            after = "\n".join(lines[index + 1 : index + 2])
            code = "\n".join(lines[start + 1 : index])
            found.append(Block(page, len(found) + 1, language, code, bool(MARK.match(after))))
            start = -1
    return found


ALL = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in ALL if block.language == "bash"]


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of the pages' commands; `qmanet` and `python` are this checkout's."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        patch.setenv("PYTHONPATH", str(ROOT))
        with warm_commands(tmp_path_factory.mktemp("qmanet")) as changes:
            yield {**os.environ, **changes}


def run_here(block: Block, folder: Path, surroundings: dict[str, str]) -> None:
    """Run a block of bash or Python in a folder."""
    commands = {
        "bash": ["bash", "-euo", "pipefail", "-c", block.code],
        "python": ["python", "-c", block.code],
    }
    ended = subprocess.run(
        commands[block.language], cwd=folder, env=surroundings, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{block}\n{block.code}\n{ended.stdout[-800:]}\n{ended.stderr[-2000:]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of the documents take for granted."""
    from qmanet_benco import load_model

    here = tmp_path_factory.mktemp("reader")
    for name in ("photo.jpg", "photo.png", "FOLDER/other.jpg"):
        (here / name).parent.mkdir(exist_ok=True)
        Image.effect_noise((200, 150), 60).convert("RGB").save(here / name)
    (here / "OUT").mkdir()
    torch.save({"model": load_model("demo").state_dict()}, here / "OUT/checkpoint-29.pth")
    return here


@pytest.fixture(scope="module")
def read() -> set[Path]:
    """Pages whose commands have run."""
    return set()


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_parse(block: Block) -> None:
    for words in block.commands():
        context = click.Context(get_command(app), info_name="qmanet")
        command, arguments = context.command, words
        while isinstance(command, click.Group):
            _, found, arguments = command.resolve_command(context, arguments)
            assert found is not None
            context, command = click.Context(found, parent=context, info_name=(arguments and arguments[0]) or ""), found
        if words[0] == "benco":
            assert words[1] in (*SCRIPTS, "run"), words
            continue  # the script's own flags: the blocks that run
        command.make_context(words[0], arguments)


SCRIPT_COMMAND = re.compile(r"python ((?:runs|tests)/[\w/]+\.py)([^`#|&]*)")
"""A command that runs a script of the checkout, in a block or within a line."""


def script_commands() -> list[tuple[str, str]]:
    """Scripts and their arguments in all pages."""
    texts = [page.read_text(encoding="utf-8").replace("\\\n", " ") for page in PAGES]
    matches = [match for text in texts for match in SCRIPT_COMMAND.finditer(text)]
    return sorted({(match[1], match[2].partition("\n")[0].strip()) for match in matches})


@pytest.mark.parametrize(("script", "arguments"), script_commands())
def test_scripts_take_the_arguments_that_the_pages_give_them(script: str, arguments: str) -> None:
    module = importlib.import_module(Path(script).stem)
    assert Path(str(module.__file__)) == ROOT / script
    parser = module.parser()
    for action in parser._actions:
        action.required = False  # a sentence may name some options only
    parser.parse_args(shlex.split(arguments))


RUN = [block for block in ALL if block.language in ("bash", "python") and not block.marked]


GOES_ON = {ROOT / "docs/compare.md": ROOT / "docs/train.md", ROOT / "docs/project.md": ROOT / "docs/train.md"}
"""Pages whose commands need what another page's commands made."""


def pages_that_run() -> list[Any]:
    """README repeats other pages and a project has tests of its own, so both wait for the night."""
    pages = sorted({block.page for block in RUN}, key=lambda path: (path.name == "README.md", path))
    later = ("README.md", "project.md")
    return [pytest.param(one, marks=[pytest.mark.slow] * (one.name in later), id=one.name) for one in pages]


@pytest.mark.parametrize("page_path", pages_that_run())
def test_commands_run(
    page_path: Path, folder: Path, read: set[Path], surroundings: dict[str, str], tmp_path: Path
) -> None:
    """In the order of the page."""
    for one in (GOES_ON.get(page_path), page_path):
        if one is None or one in read:
            continue
        read.add(one)
        if one.name == "README.md":  # it tells the whole story once more, from a photo on
            shutil.copy(folder / "photo.jpg", tmp_path)
            folder = tmp_path
        for block in blocks(one):
            if block.language == "yaml":
                (name,) = re.findall(r"^name: (\w+)", block.code, re.MULTILINE)
                (folder / f"{name}.yaml").write_text(block.code, encoding="utf-8")
            if block in RUN:
                run_here(block, folder, surroundings)


@pytest.mark.parametrize("page_path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page_path: Path) -> None:
    text = re.sub(r"```.*?```", "", page_path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page_path.parent / target).exists(), f"{page_path.name}: {target}"


def test_page_of_differences_is_fresh() -> None:
    assert (ROOT / "docs/differences.md").read_text(encoding="utf-8") == page(), (
        "python docs/differences.py > docs/differences.md"
    )


def test_pages_name_files_that_are_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    drawing = (ROOT / "docs/pictures/architecture.svg").read_text(encoding="utf-8")
    names = set(re.findall(r"[\w/]+\.py", text + drawing))
    there = {path.name for folder in ("qmanet_benco", "tests") for path in (ROOT / folder).rglob("*.py")}
    assert len(names) > 12
    assert not {name for name in names if Path(name).name not in there}


def test_a_reader_of_the_readme_is_two_steps_from_each_file() -> None:
    assert "](docs/architecture.md#where-is)" in (ROOT / "README.md").read_text(encoding="utf-8")
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = text.partition("## Where is ...?")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) >= 12
    for row in rows:
        paths = [path for path in re.findall(r"`([\w/.]+)`", row) if "/" in path]
        assert paths, row
        assert all((ROOT / "qmanet_benco" / path).exists() for path in paths), row


def test_equations_that_are_named_are_the_papers() -> None:
    """It has eight; the noise residuals are those of section 3.2."""
    for path in [*PAGES, *(ROOT / "qmanet_benco").rglob("*.py")]:
        for numbers in re.findall(r"[Ee]quations? (\d+)(?:(?: to | and |, )(\d+))?", path.read_text(encoding="utf-8")):
            assert all(1 <= int(number) <= 8 for number in numbers if number), f"{path}: equation {numbers}"
    (line,) = [line for line in (ROOT / "docs/architecture.md").read_text().splitlines() if "noise residuals" in line]
    assert "section 3.2" in line
