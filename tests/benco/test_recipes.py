"""Each baseline has its weights and flags in one file; what starts from nothing says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qmanet_benco.benco import scoring
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.benco.zoo.recipes import started_from_nothing, weights_of
from qmanet_benco.errors import RequestError
from qmanet_benco.model.weights.encoders import convert_file
from recipe import read_flags, recipe

RUNS = Path(__file__).parents[2] / "runs"


@pytest.fixture(autouse=True)
def nothing_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMANET_HOME", str(tmp_path / "cache"))


def test_the_file_that_ships_names_flags_that_the_models_have() -> None:
    found = read_flags(RUNS / "baselines.yaml")
    assert {"Mesorch", "IML_ViT", "PSCC_Net", "Cat_Net"} <= set(found)
    for model, flags in found.items():
        zoo.check_flags(model, flags)
        assert set(flags) <= {one.flag for one in weights_of(model)}


def test_weights_that_are_there_are_passed_and_others_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mae.pth").touch()
    file = tmp_path / "mine.yaml"
    file.write_text(f"IML_ViT: {{vit_pretrain_path: {tmp_path / 'mae.pth'}, lr: 3.0e-5, if_not_amp: true}}\n")
    flags = recipe("IML_ViT", file)
    assert flags[-5:] == ["--vit_pretrain_path", str(tmp_path / "mae.pth"), "--lr", "3e-05", "--if_not_amp"]
    file.write_text(
        "IML_ViT: {vit_pretrain_path: absent.pth}\nMesorch: {seg_pretrain_path: mit_b3, conv_pretrain: true}"
    )
    with pytest.raises(RequestError, match=r"vit_pretrain_path: no file absent.pth.*mae_pretrain_vit_base"):
        recipe("IML_ViT", file)
    with pytest.raises(RequestError, match="mit_b3 is not fetched"):
        recipe("Mesorch", file)
    assert "--seg_pretrain_path" not in (lenient := recipe("Mesorch", file, optional=True))
    assert lenient[-2:] == ["--conv_pretrain", "true"]
    assert "Mesorch: mit_b3 is not fetched: it will start from random weights" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "Mesorch: 3", "Mesorsch: {}", "a: [", "SPAN: {}"])
def test_a_file_of_another_form_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RequestError, match=r"mine\.yaml"):
        recipe("Mesorch", tmp_path / "mine.yaml")


def test_span_says_why_it_cannot_be_trained() -> None:
    with pytest.raises(RequestError, match="new random layers"):
        recipe("SPAN")


@pytest.mark.parametrize(
    ("model", "flags", "parts"),
    [
        ("Mesorch", {"seg_pretrain_path": None, "conv_pretrain": False}, 2),
        ("Mesorch", {"seg_pretrain_path": "mit_b3", "conv_pretrain": True}, 0),
        ("IML_ViT", {"vit_pretrain_path": "mae.pth"}, 0),
        ("PSCC_Net", {"pretrain_path": ""}, 1),
        ("Cat_Net", {"cfg_file": "absent.yaml"}, 2),
        ("MVSSNet", {"pretrained_base": True}, 0),
        ("QMANet", {"backbone_weights": "random", "noiseprint_weights": "noiseprint++", "noise_sources": ""}, 1),
        ("QMANet", {"backbone_weights": "mit_b3", "noiseprint_weights": "random", "noise_sources": "srm"}, 0),
        ("QMANet", {"backbone_weights": "random", "initial_weights": "mine.safetensors"}, 0),
        ("somebody's", {"weights": ""}, 0),
    ],
)
def test_what_starts_from_nothing_is_known(model: str, flags: dict[str, object], parts: int) -> None:
    sentences = started_from_nothing(model, flags)
    assert len(sentences) == parts
    assert all(sentence.startswith("started from random weights, without ") for sentence in sentences)


def test_cat_net_is_filled_where_its_configuration_names_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "rgb.pth").touch()
    config = tmp_path / "cat.yaml"
    config.write_text(f"MODEL: {{PRETRAINED_RGB: {tmp_path / 'rgb.pth'}, PRETRAINED_DCT: absent}}")
    (only,) = started_from_nothing("Cat_Net", {"cfg_file": str(config)})
    assert "DCT stream" in only


@pytest.mark.slow
def test_mesorch_reads_its_encoder_in_any_naming(tmp_path: Path) -> None:
    """The stock call is not strict: mmsegmentation's names would leave every weight as it was."""
    with scoring.as_the_test_script():
        source = zoo.build_model("Mesorch", {}, seed=5).segformer.state_dict()
        source["patch_embed1.proj.weight"] = source["patch_embed1.proj.weight"][:, :3].clone()
        source["patch_embed1.proj.bias"] = torch.zeros(64)
        torch.save(source, tmp_path / "official.pth")
        convert_file(tmp_path / "official.pth", tmp_path / "mmseg.pth", "mmseg")
        model = zoo.build_model("Mesorch", {"seg_pretrain_path": str(tmp_path / "mmseg.pth")}, seed=6)
    for name, tensor in source.items():
        if name.startswith("block"):
            assert torch.equal(model.segformer.state_dict()[name], tensor)
