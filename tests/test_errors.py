"""What an error tells: which package is missing, whose import failed, and the command that gets it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qmanet_benco.errors import DISTRIBUTIONS, RequestError, missing_module, told

SETUP = Path(__file__).parents[1] / "setup.py"


ABSENT = """
import sys

class Absent:
    name = "{module}"

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
"""What makes an interpreter one in which a module is not installed."""

NETWORK = """
from qmanet_benco import RequestError, create_model

try:
    create_model("miniature", backbone_weights="random")
except RequestError as error:
    print(error)
"""

COMMAND = """
sys.argv = "qmanet benco train --model QMANet --help".split()
from qmanet_benco.cli.main import main
main()
"""


def said(code: str, stream: str) -> list[str]:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=500)
    assert "Traceback" not in ended.stderr
    return [line for line in getattr(ended, stream).splitlines() if "not installed" in line]


def line(module: str, importer: str) -> str:
    return (
        f"the module {module}, which {importer} imports, is not installed; expected every package of docs/install.md; "
        f"pip install {module}"
    )


@pytest.mark.compat
def test_a_package_that_the_encoders_lack_is_named_with_who_imports_it() -> None:
    expected = [line("platformdirs", "yapf_third_party")]
    assert said(ABSENT.format(module="platformdirs") + NETWORK, "stdout") == expected


@pytest.mark.compat
def test_a_package_that_only_mmsegmentation_s_other_files_import_is_not_missed() -> None:
    assert said(ABSENT.format(module="wcwidth") + NETWORK, "stdout") == []


@pytest.mark.compat
def test_a_package_that_the_framework_lacks_is_named_with_who_imports_it() -> None:
    expected = [f"qmanet: error: {line('portalocker', 'iopath')}"]
    assert said(ABSENT.format(module="portalocker") + COMMAND, "stderr") == expected


def test_the_command_names_the_distribution_and_the_release() -> None:
    error = ModuleNotFoundError("No module named 'mmcv.cnn'", name="mmcv.cnn")
    assert str(missing_module(error)).endswith("pip install mmcv-lite==2.1.0")


def test_a_broken_package_is_told_as_it_is() -> None:
    told = str(missing_module(ImportError("libGL.so.1: cannot open shared object file")))
    assert told.startswith("an import fails (libGL.so.1: cannot open shared object file)")


@pytest.mark.parametrize("requirement", sorted(DISTRIBUTIONS.values()))
def test_every_distribution_that_is_named_is_a_requirement(requirement: str) -> None:
    if requirement == "grad-cam":
        pytest.skip("the framework asks for it")
    declared = re.findall(r'^\s*\*?"([\w.-]+[^"]*)"', SETUP.read_text(encoding="utf-8"), re.MULTILINE)
    assert any(re.match(rf"{re.escape(requirement)}\b", entry) for entry in declared), declared


def test_a_failure_is_told_in_a_requests_own_words_or_with_its_kind() -> None:
    assert told(RequestError("3 workers", "1 or 2")) == "3 workers; expected 1 or 2"
    assert told(ValueError("two\n lines")) == "ValueError: two lines"
    assert told(MemoryError()) == "MemoryError"
