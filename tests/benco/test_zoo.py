"""Baselines are built without CUDA and downloads, from a seed, and scored like any model."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from qmanet_benco.benco import scoring, zoo
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.cost import example

QUICK = ("Mesorch", "MantraNet", "MVSSNet", "Trufor", "Cat_Net", "IML_ViT", "PSCC_Net")
PARAMETERS_M = dict(MantraNet=3.8, MVSSNet=146.9, Cat_Net=114.3, Trufor=68.7, IML_ViT=91.7, Mesorch=85.8)
"""Measured by ``qmanet cost``; the framework's copies."""


@pytest.mark.parametrize("name", QUICK)
def test_baseline_starts_from_a_seed_without_cuda_or_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        pytest.fail("a download was tried")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (random.random(), np.random.rand(), float(torch.rand(1)))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with scoring.as_the_test_script():
        model = zoo.build_model(name, {}, seed=3)
    assert (random.random(), np.random.rand(), float(torch.rand(1))) == expected
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert millions == pytest.approx(PARAMETERS_M.get(name, millions), abs=0.06)
    assert next(model.parameters()).device.type == "cpu"
    for tensor in model.state_dict().values():
        assert torch.isfinite(tensor.float()).all()


def test_equal_seeds_give_equal_weights_and_other_seeds_others() -> None:
    with scoring.as_the_test_script():
        one, same, other = (zoo.build_model("MantraNet", {}, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("Mesorch", 512), ("Cat_Net", 256), ("Trufor", 256), ("MVSSNet", 256)])
def test_baseline_scores_an_image_as_the_test_script_calls_it(name: str, size: int) -> None:
    with scoring.as_the_test_script():
        model = zoo.build_model(name, {}).eval()
        probability, _ = scoring.predict_batch(model, example(name, size), torch.device("cpu"), amp=False)
    assert probability.shape == (1, 1, size, size)
    assert 0 <= probability.min() <= probability.max() <= 1


@pytest.mark.parametrize(
    ("name", "flags", "says"), [("Mesorsh", {}, "did you mean Mesorch"), ("QMANet", {"varient": "b0"}, "variant")]
)
def test_wrong_name_or_flag_is_told_with_the_nearest_right_one(name: str, flags: dict[str, str], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        zoo.build_model(name, flags)


def test_file_that_the_user_names_is_loaded_and_never_replaced_by_a_random_start() -> None:
    with pytest.raises(RequestError, match=r"absent\.pth"), scoring.as_the_test_script():
        zoo.build_model("Trufor", {"np_pretrain_weights": "absent.pth"})
