"""One trained network and its data, shared by the tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forgeries import make_set, train_flags, write_json


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, in this process as in those that it starts."""
    import torch

    former = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(former)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train`` of 4 images, ``test`` of 5, ``few`` of 3, and ``sets.json`` that names the last two."""
    root = tmp_path_factory.mktemp("data")
    sets = {"five": str(make_set(root / "test", 5, seed=1)), "three": str(make_set(root / "few", 3, seed=2))}
    make_set(root / "train", 4)
    write_json(root / "sets.json", sets)
    return root


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of one epoch of the stock trainer, with ``checkpoint-0.pth``."""
    from qmanet_benco.benco.launch.launcher import Run, launch

    output = tmp_path_factory.mktemp("trained") / "run"
    assert launch(Run("train", tuple(train_flags(data / "train", data / "test", output)))) == 0
    return output


@pytest.fixture
def qmanet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command line in this process; gives its exit code and what it wrote on stderr."""

    def run(*arguments: str) -> tuple[int, str]:
        from qmanet_benco.cli import main as cli

        monkeypatch.setattr(sys, "argv", ["qmanet", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        code = end.value.code
        return (code if isinstance(code, int) else int(code is not None)), capsys.readouterr().err

    return run
