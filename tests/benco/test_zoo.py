"""Baselines are built without CUDA and downloads, from a seed, and scored like any model."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from forgeries import F1, logged, make_set, output_flags, write_json

from qmanet_benco.benco import scoring
from qmanet_benco.benco.launch.launcher import Run, launch
from qmanet_benco.benco.zoo import build as zoo
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
        probability, _ = scoring.predict_batch(model, example(name, size), torch.device("cpu"))
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


@pytest.mark.parametrize(
    ("published", "registered"), [("CAT-Net", "Cat_Net"), ("trufor", "Trufor"), ("qma-net", "QMANet")]
)
def test_models_answer_to_their_names_in_the_paper(published: str, registered: str) -> None:
    assert zoo.registered_name(published) == registered


def test_imdprompter_is_published_only_and_says_so() -> None:
    with pytest.raises(RequestError, match="no public code"):
        zoo.build_model("IMDPrompter", {})


@pytest.mark.parametrize(
    ("name", "flags", "says"), [("MVSSNet", {"sobel": "perhaps"}, "bool"), ("PSCC_Net", {"input_size": 1.5}, "int")]
)
def test_value_of_a_wrong_type_is_refused(name: str, flags: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        zoo.build_model(name, flags)


@pytest.mark.parametrize("name", sorted(zoo.BASELINES))
def test_every_row_names_flags_that_its_model_has(name: str) -> None:
    row = zoo.BASELINES[name]
    zoo.check_flags(name, {**row.fresh, **row.training, **row.size_flags})
    zoo.check_flags(name, {weights.flag: "" for weights in row.weights if weights.flag})
    assert row.corrects in ("", *zoo.BASELINES)
    assert zoo.row_of(name).footnotes


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "Mesorch",
        "Cat_Net",
        "PSCC_Net",
        "MVSSNet",
        "IML_ViT",
        "Trufor",
        "MantraNet",
        "Trufor_RGB",
        "SAM",
        "Cat_Net_RealDCT",
    ],
)
def test_baseline_trains_a_step_and_is_tested_by_the_stock_scripts(name: str, tmp_path: Path) -> None:
    data = make_set(tmp_path / "data", 2)
    own = {"MVSSNet": ("--pretrained_base", "false"), "SAM": ("--weights", "random", "--variant", "miniature")}
    if name.startswith("Trufor"):
        own[name] = ("--np_pretrain_weights", "random", "--mit_b2_pretrain_weights", "random")
    shared = ("--model", name, "--image_size", "256", "--if_resizing", "--num_workers", "0", "--test_batch_size", "2")
    training = ("--epochs", "1", "--batch_size", "2", "--accum_iter", "1", "--warmup_epochs", "0", "--lr", "1e-4")
    where = ("--data_path", str(data), "--test_data_path", str(data), *output_flags(tmp_path / "run"))
    assert launch(Run("train", (*shared, *training, *where, *own.get(name, ())))) == 0
    (line,) = logged(tmp_path / "run" / "log.txt")
    assert 0 <= line[F1] <= 1
    sets = write_json(tmp_path / "sets.json", {"few": str(data)})
    tests = (
        "--test_data_json",
        str(sets),
        "--checkpoint_path",
        str(tmp_path / "run"),
        *output_flags(tmp_path / "test"),
    )
    assert launch(Run("test", (*shared, *tests, *(own[name] if name == "SAM" else ())))) == 0
    assert logged(tmp_path / "test" / "few" / "log.txt")[0][F1] == pytest.approx(line[F1], abs=1e-6)
