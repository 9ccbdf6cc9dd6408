"""A small forged set, a checkpoint of the stock trainer, and a suite that scores both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_sets import COMMON_FLAGS, IMAGE_SIZE, make_forgeries


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, in this process as in those that it starts."""
    import os

    import torch

    former, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    torch.set_num_threads(former)
    os.environ.pop("OMP_NUM_THREADS") if variable is None else os.environ.update(OMP_NUM_THREADS=variable)


@pytest.fixture(scope="session")
def forgeries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven forged images."""
    return make_forgeries(tmp_path_factory.mktemp("data") / "test", 7)


@pytest.fixture(scope="session")
def checkpoint(forgeries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``checkpoint-0.pth`` of one epoch of the stock trainer."""
    from qmanet_benco.benco.launch.launcher import Run, launch

    out = tmp_path_factory.mktemp("trained") / "run"
    data = ("--data_path", str(forgeries), "--test_data_path", str(forgeries), "--epochs", "1")
    batches = ("--batch_size", "3", "--test_batch_size", "3", "--accum_iter", "1", "--test_period", "9")
    folders = ("--output_dir", str(out), "--log_dir", str(out))
    rate = ("--lr", "1e-3", "--warmup_epochs", "0", "--seed", "0")
    assert launch(Run("train", (*COMMON_FLAGS, *data, *batches, *folders, *rate))) == 0
    return out / "checkpoint-0.pth"


@pytest.fixture
def suite_file(forgeries: Path, checkpoint: Path, tmp_path: Path) -> Path:
    """The trained network and the floor, on the images as they are and under two attacks."""
    path = tmp_path / "suite.yaml"
    path.write_text(
        f"""\
image_size: {IMAGE_SIZE}
batch: 2
previews: 3
models:
  - name: QMA-Net
    model: QMANet
    flags: {{variant: miniature, noise_sources: "srm,bayar"}}
    checkpoint: "{checkpoint}"
  - {{name: all-tampered, model: AllTampered}}
sets:
  - {{name: seven, path: "{forgeries}"}}
attacks:
  - {{jpeg: [50]}}
  - {{noise_std: [11]}}
"""
    )
    return path
