"""Importing the package is light; its public names are there when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import qmanet_benco


def test_importing_the_package_loads_neither_torch_nor_the_framework() -> None:
    code = "import sys, qmanet_benco; print(sorted({'torch', 'IMDLBenCo', 'mmseg', 'numpy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", qmanet_benco.__all__)
def test_public_name_resolves_to_the_object_of_its_room(name: str) -> None:
    value = getattr(qmanet_benco, name)
    assert value is getattr(qmanet_benco, name)
    assert getattr(value, "__name__", name) in (name, "dict")
    assert name in dir(qmanet_benco)


def test_agreed_names_are_public() -> None:
    agreed = {"QMANet", "QMANetConfig", "VARIANTS", "create_model", "load_model"}
    assert agreed <= set(qmanet_benco.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'qmanet_benco' has no attribute 'QMANetwork'"):
        _ = qmanet_benco.QMANetwork
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from qmanet_benco import nothing  # noqa: F401
