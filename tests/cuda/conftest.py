"""The device of these tests: CUDA's, or the one that ``QMANET_TEST_DEVICE`` names, so that the same code runs on a CPU.

What a test measures it records; ``QMANET_FIGURES`` names a file that keeps outcomes and figures as they come.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from gpu_phases import FIGURES
from gpu_report import Notes
from made_noiseprint import random_published_form
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.noiseprint import NoisePrintPP

DEVICE = os.environ.get("QMANET_TEST_DEVICE", "cuda")
WEIGHTS = os.environ.get("QMANET_TEST_NOISEPRINT", "random")
OFFSET = 1000.0
"""Means of layers 7 to 10 in units of their spread, as in the published weights."""
_notes = Notes(Path(os.environ[FIGURES])) if FIGURES in os.environ else None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep an outcome and what the test recorded."""
    if _notes is None or not (report.when == "call" or report.outcome != "passed"):
        return
    text = report.longrepr
    reason = text[2] if isinstance(text, tuple) else (report.longreprtext.strip().splitlines() or [""])[-1]
    _notes.append(
        "tests",
        {
            "test": report.nodeid.rpartition("::")[2],
            "outcome": report.outcome,
            "seconds": round(report.duration, 1),
            "figures": dict(report.user_properties),
            "reason": str(reason)[:200],
        },
    )


@pytest.fixture(scope="session")
def device() -> str:
    """``"cuda"``, or ``"cpu"`` where that was asked for."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device (QMANET_TEST_DEVICE=cpu runs the same code on the CPU)")
    return DEVICE


@pytest.fixture(params=["TF32 off", "TF32 on"])
def tf32(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether the rest of the network may use TF32, in convolutions and in matrix products."""
    allowed = request.param == "TF32 on"
    settings = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    former = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "tf32" if allowed else "ieee"
    yield allowed
    for setting, value in zip(settings, former, strict=True):
        setting.fp32_precision = value


@pytest.fixture(scope="session")
def noiseprint() -> NoisePrintPP:
    """NoisePrint++ on the CPU with the weights that were given, or with random ones of like statistics."""
    network = NoisePrintPP()
    if WEIGHTS == "random":
        torch.manual_seed(0)
        network.load_published(random_published_form(OFFSET).state_dict())
    else:
        from qmanet_benco.model.weights.encoders import read_noiseprint

        network.load_published(read_noiseprint(Path(WEIGHTS)))
    return network


@pytest.fixture(scope="session")
def photo(device: str) -> torch.Tensor:
    """1 x 3 x H x W in [0, 1]; smaller on a CPU."""
    from skimage.data import astronaut

    side = 256 if device == "cuda" else 64
    return torch.from_numpy(astronaut()[:side, :side].copy()).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def miniature(noiseprint: NoisePrintPP) -> Callable[[], QMANetwork]:
    """Makes equal small networks with all three noise sources, without dropout."""
    from qmanet_benco.model.weights.builder import create_model

    def make() -> QMANetwork:
        torch.manual_seed(1)
        sources = "srm,bayar,noiseprint"
        network = create_model("miniature", noiseprint_weights="checkpoint", noise_sources=sources, drop_path=0.0)
        assert network.noise_view.noiseprint is not None
        network.noise_view.noiseprint.load_state_dict(noiseprint.state_dict())
        return network

    return make
