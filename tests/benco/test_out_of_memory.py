"""A batch that does not fit into the memory is one line that says what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from forgeries import COMMON_FLAGS, train_flags

CUDA_SAYS = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB"
ERRORS = (
    torch.OutOfMemoryError(CUDA_SAYS),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to"),
)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Let every forward pass of QMA-Net fail with an error."""
    from qmanet_benco import QMANet

    def fail_with(error: Exception) -> None:
        def forward(self: Any, *_: Any, **__: Any) -> NoReturn:
            raise error

        monkeypatch.setattr(QMANet, "forward", forward)

    return fail_with


@pytest.mark.parametrize("error", ERRORS, ids=["torch", "driver", "processor"])
def test_training_names_batch_size_and_checkpointing(
    error: Exception, data: Path, tmp_path: Path, qmanet: Callable[..., tuple[int, str]], full: Callable[..., None]
) -> None:
    full(error)
    code, said = qmanet("benco", "train", *train_flags(data / "train", data / "test", tmp_path / "run"))
    assert code == 2
    last = said.strip().splitlines()[-1]
    assert "the memory is full: --batch_size 2 at --image_size 64" in last
    assert "a smaller --batch_size" in last
    assert "--accum_iter" in last
    assert "--checkpointing 1" in last
    assert "Traceback" not in said


def test_testing_names_its_own_batch_size(
    data: Path, trained: Path, tmp_path: Path, qmanet: Callable[..., tuple[int, str]], full: Callable[..., None]
) -> None:
    full(ERRORS[0])
    folders = ("--checkpoint_path", str(trained), "--output_dir", str(tmp_path), "--log_dir", str(tmp_path))
    flags = (*COMMON_FLAGS, "--test_data_json", str(data / "sets.json"), *folders)
    code, said = qmanet("benco", "test", *flags)
    assert code == 2
    last = said.strip().splitlines()[-1]
    assert "--test_batch_size 2 at --image_size 64" in last
    assert "--checkpointing" not in last


def test_other_errors_stay_what_they_are(
    data: Path, tmp_path: Path, qmanet: Callable[..., tuple[int, str]], full: Callable[..., None]
) -> None:
    full(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        qmanet("benco", "train", *train_flags(data / "train", data / "test", tmp_path / "run"))
