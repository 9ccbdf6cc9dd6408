"""Residuals that were kept for a whole set are those that the network computes, and the trainer reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from forgeries import make_set

from qmanet_benco.benco import noise_transforms, scoring
from qmanet_benco.benco.residuals import keep_residuals
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import RequestError
from qmanet_benco.model.noise_view import Denormalise
from qmanet_benco.model.noiseprint import NoisePrintPP


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> NoisePrintPP:
    """A random NoisePrint++, in place of what a file would hold."""
    torch.manual_seed(0)
    network = NoisePrintPP()
    network.randomise()
    (tmp_path / "noiseprint.th").touch()
    monkeypatch.setattr("qmanet_benco.benco.residuals.read_noiseprint", lambda _: network.state_dict())
    monkeypatch.setattr(NoisePrintPP, "load_published", NoisePrintPP.load_state_dict)
    monkeypatch.delenv(noise_transforms.CACHE_VARIABLE, raising=False)
    return network


def test_every_image_is_found_afterwards_and_nothing_is_computed_twice(weights: NoisePrintPP, tmp_path: Path) -> None:
    data, cache = make_set(tmp_path / "data", 5), tmp_path / "cache"
    file = str(tmp_path / "noiseprint.th")
    parts = [keep_residuals(data, cache, weights=file, image_size=64, share=(part, 2)) for part in range(2)]
    assert parts == [3, 2]
    assert keep_residuals(data, cache, weights=file, image_size=64) == 0
    assert keep_residuals(data, cache, weights=file, image_size=72) == 5, "another size has other pixels"
    with scoring.as_the_test_script():
        sample = scoring.open_set(data, 64, False, None, zoo.post_function("QMANet"))[2]
    with torch.no_grad():
        expected = weights(Denormalise()(sample["image"][None]))[0]
    assert torch.allclose(sample["noiseprint_residual"], expected, atol=1e-5)


def test_an_empty_folder_is_refused(weights: NoisePrintPP, tmp_path: Path) -> None:
    del weights
    for name in ("Tp", "Gt"):
        (tmp_path / "data" / name).mkdir(parents=True)
    with pytest.raises(RequestError):
        keep_residuals(tmp_path / "data", tmp_path / "cache", weights=str(tmp_path / "noiseprint.th"))
