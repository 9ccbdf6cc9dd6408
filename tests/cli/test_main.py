"""The command line as a whole: light help, one line and exit code 2 for a wrong request, nothing kept between calls."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from typer.main import get_command

from qmanet_benco.cli import main as cli
from qmanet_benco.errors import RequestError

WRONG = ["weights", "fetch", "no-such-weights"]


def _call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["qmanet", *arguments])
    cli.main()


def test_help_loads_neither_torch_nor_numpy_nor_the_framework() -> None:
    code = (
        "import sys, runpy; sys.argv = ['qmanet', '--help']\n"
        "try: runpy.run_module('qmanet_benco', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'IMDLBenCo', 'rich', 'PIL'} & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "Usage" in ended.stdout
    assert ended.stderr.strip() == "[]"


def test_wrong_request_is_one_line_and_exit_code_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        _call(monkeypatch, *WRONG)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("qmanet: error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EIO])
def test_unusable_path_is_one_line_and_exit_code_two(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden(name: str) -> None:
        raise OSError(number, os.strerror(number), name)

    monkeypatch.setattr("qmanet_benco.model.weights.pretrained.fetch_weights", forbidden)
    with pytest.raises(SystemExit) as end:
        _call(monkeypatch, *WRONG)
    assert end.value.code == 2
    said = f"qmanet: error: no-such-weights: {os.strerror(number)}; expected a path that you may use\n"
    assert capsys.readouterr().err == said


def test_debug_shows_the_error_itself_and_only_for_the_call_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="no-such-weights"):
        _call(monkeypatch, "--debug", *WRONG)
    with pytest.raises(SystemExit):
        _call(monkeypatch, *WRONG)


def groups(group: click.Group, name: str = "qmanet") -> Iterator[tuple[str, click.Group]]:
    yield name, group
    for word, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from groups(command, f"{name} {word}")


@pytest.mark.parametrize(("name", "group"), list(groups(get_command(cli.app))), ids=lambda value: str(value)[:20])
def test_a_list_of_commands_cuts_no_sentence_off(name: str, group: click.Group) -> None:
    said = CliRunner().invoke(group, ["--help"], prog_name=name, terminal_width=80).output
    assert all(word in said for word in group.commands)
    assert "..." not in said.partition("Commands:")[2]
