"""The sdist and the wheel: they build, install into an empty environment, and bring the model that ships."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from qmanet_benco import __version__

ROOT = Path(__file__).parents[1]
MODEL = "qmanet_benco/model/demo/model.safetensors"


def run(*command: str | Path, cwd: Path, **surroundings: str) -> str:
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **surroundings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-1000:] + ended.stderr[-3000:]
    return ended.stdout


def tracked() -> list[str]:
    """The package's files, as git knows them."""
    return run("git", "ls-files", "-co", "--exclude-standard", "qmanet_benco", cwd=ROOT).splitlines()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy that has the tracked files and nothing else."""
    here = tmp_path_factory.mktemp("checkout")
    for name in (*tracked(), "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes((ROOT / name).read_bytes())
    build = "from setuptools.build_meta import build_sdist; print(build_sdist('dist'))"
    run(sys.executable, "-c", build, cwd=here)
    (found,) = (here / "dist").glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """Built from the sdist alone."""
    with tarfile.open(sdist) as packed:
        packed.extractall(sdist.parent, filter="data")
    source = sdist.parent / sdist.name.removesuffix(".tar.gz")
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('..'))"
    run(sys.executable, "-c", build, cwd=source)
    (found,) = sdist.parent.glob("*.whl")
    return found


def test_sdist_and_wheel_bear_the_version(sdist: Path, wheel: Path) -> None:
    assert sdist.name == f"qmanet_benco-{__version__}.tar.gz"
    assert wheel.name == f"qmanet_benco-{__version__}-py3-none-any.whl"


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {name for name in tracked() if (ROOT / name).is_file()}


def test_an_empty_environment_predicts_with_the_model_inside(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are lent by this environment; the package itself is the wheel's."""
    venv.create(tmp_path / "empty")
    bin_folder = tmp_path / "empty" / "bin"
    install = (sys.executable, "-m", "pip", "--python", bin_folder / "python", "install", "--no-index", "--no-deps")
    run(*install, wheel, cwd=tmp_path)
    Image.effect_noise((96, 80), 60).convert("RGB").save(tmp_path / "photo.png")
    import torch

    lent = {"PYTHONPATH": str(Path(torch.__file__).parents[1])}
    where = "import qmanet_benco.model; print(qmanet_benco.model.__path__[0])"
    place = Path(run(bin_folder / "python", "-c", where, cwd=tmp_path, **lent).strip())
    assert place.is_relative_to(tmp_path / "empty")
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (place.parents[1] / MODEL, ROOT / MODEL)}
    assert len(digests) == 1
    assert run(bin_folder / "qmanet", "--version", cwd=tmp_path, **lent) == f"qmanet {__version__}\n"
    said = run(bin_folder / "qmanet", "predict", "photo.png", "--out", "masks", cwd=tmp_path, **lent)
    assert said.startswith("photo.png: ")
    assert (tmp_path / "masks" / "photo.mask.png").is_file()
