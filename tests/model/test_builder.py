"""create_model and load_model: names in, a network out, or an error that names the file."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_networks import tiny_network

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import VARIANTS
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.weights.builder import create_model, load_model
from qmanet_benco.model.weights.encoders import load_encoder
from qmanet_benco.model.weights.trained import stored_config


@pytest.fixture
def trained(tmp_path: Path) -> tuple[QMANetwork, Path]:
    network = tiny_network().eval()
    path = tmp_path / "model.safetensors"
    save_file(network.state_dict(), path)
    return network, path


def test_the_image_size_of_a_trainer_s_checkpoint_is_the_trainer_s(tmp_path: Path, caplog) -> None:
    network, path = tiny_network(), tmp_path / "checkpoint-3.pth"
    torch.save({"model": network.state_dict(), "args": argparse.Namespace(image_size=192)}, path)
    assert load_model(path).image_size == 192
    assert "image size" not in caplog.text
    torch.save({"model": network.state_dict()}, path)
    assert load_model(path).image_size == 512
    assert "does not say which image size" in caplog.text
    torch.save({"model": network.state_dict(), "args": argparse.Namespace(image_size="huge")}, path)
    with pytest.raises(RequestError, match="huge pixels"):
        load_model(path)


def test_a_path_named_demo_is_a_folder_and_the_text_is_the_model_that_ships(
    trained: tuple[QMANetwork, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained[0].save_pretrained("demo")
    assert load_model(Path("demo")).config == QMANetwork.from_pretrained(Path("demo")).config == trained[0].config
    assert load_model("demo").config != trained[0].config


@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
def test_a_graph_is_named_as_what_only_predict_runs(name: str) -> None:
    with pytest.raises(RequestError, match="only `qmanet predict` runs"):
        load_model(name)


def test_variant_and_choices_reach_the_configuration() -> None:
    network = create_model("miniature", noise_sources="bayar,srm", num_queries=3, edge_width=5)
    assert network.config == dataclasses.replace(VARIANTS["miniature"], num_queries=3, edge_width=5)
    assert network.training


def test_zero_queries_and_no_sources_take_the_variant_s() -> None:
    assert create_model("miniature", num_queries=0, noise_sources=None).config == VARIANTS["miniature"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(variant="huge"), "variant 'huge'; expected one of paper"),
        (dict(variant="miniature", noise_sources="fft"), "noise_sources 'fft'"),
        (dict(variant="miniature", num_queries=-1), "num_queries -1; expected 1 or more"),
        (dict(variant="miniature", backbone_weights="absent.pth"), r"weights 'absent\.pth'; .*check the path"),
        (
            dict(variant="miniature", noise_sources="noiseprint", noiseprint_weights="absent.th"),
            r"weights 'absent\.th'; .*check the path",
        ),
    ],
)
def test_wrong_request_is_quoted(arguments: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        create_model(**arguments)


def test_random_weights_are_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    create_model("miniature", noise_sources="noiseprint", noiseprint_weights="random")
    levels = {record.levelno for record in caplog.records}
    assert levels == {logging.WARNING}
    assert "NoisePrint++ has random weights" in caplog.text
    assert "both backbones start from random weights" in caplog.text


def test_weights_that_come_with_the_checkpoint_are_not_worth_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    create_model("miniature", noiseprint_weights="checkpoint", backbone_weights="checkpoint")
    assert not caplog.records


def test_both_encoders_start_from_the_given_file(tmp_path: Path) -> None:
    path = tmp_path / "mit.pth"
    torch.save(create_model("miniature").gae.mit.state_dict(), path)
    network = create_model("miniature", backbone_weights=str(path))
    expected = torch.load(path, weights_only=True)
    for encoder in (network.gae, network.lae):
        torch.testing.assert_close(encoder.mit.state_dict(), expected, rtol=0, atol=0)
    assert network.gae.mit is not network.lae.mit


def test_noiseprint_starts_from_the_given_file(shared_data) -> None:
    file = str(shared_data("noiseprint++.th"))
    network = create_model("miniature", noise_sources="noiseprint", noiseprint_weights=file)
    assert network.noise_view.noiseprint.filled


def test_weights_for_a_source_that_is_left_out_are_not_read() -> None:
    network = create_model("miniature", noise_sources="srm", noiseprint_weights="absent.th")
    assert network.noise_view.noiseprint is None


def test_file_of_another_size_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "mit.pth"
    torch.save(create_model("miniature", depths=(2, 1, 1, 1)).gae.mit.state_dict(), path)
    with pytest.raises(RequestError, match=rf"{path} does not fit the encoder: .*; give the file of the same size"):
        create_model("miniature", backbone_weights=str(path))


@pytest.mark.parametrize("prefix", ["", "network.", "module.network."])
def test_checkpoint_of_the_stock_trainer_loads_without_its_wrappers(prefix: str, trained, tmp_path: Path) -> None:
    network, _ = trained
    path = tmp_path / "checkpoint-12.pth"
    model = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    torch.save({"model": model, "epoch": 12, "args": argparse.Namespace(lr=1e-4)}, path)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(load_model(path)(image), network(image))


def test_file_without_a_network_is_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(
        RequestError, match=r"other\.pth holds no QMA-Net; expected a checkpoint that this package wrote"
    ):
        load_model(tmp_path / "other.pth")


@pytest.mark.parametrize("content", [b"\xff\xfe\xff", b"[]", b"not json"])
def test_foreign_extra_state_is_refused(content: bytes, tmp_path: Path) -> None:
    state = {"_extra_state": torch.frombuffer(bytearray(content), dtype=torch.uint8)}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(RequestError, match="not a QMA-Net configuration"):
        load_model(tmp_path / "other.pth")


def test_missing_tensor_is_refused_with_the_file(trained, tmp_path: Path) -> None:
    network, _ = trained
    state = network.state_dict()
    del state["decoder.head.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(RequestError, match=r"part\.pth does not fit its own configuration \(.*decoder\.head\.weight"):
        load_model(tmp_path / "part.pth")


@pytest.mark.parametrize("source", ["absent.pth", "absent.safetensors", "absent", "a/b/c"])
def test_missing_file_is_refused(source: str) -> None:
    with pytest.raises(
        RequestError, match=rf"{source} is not a file; expected a \.safetensors or \.pth file, or owner/name"
    ):
        load_model(source)


def test_name_on_the_hub_is_fetched(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    network, path = trained
    asked = []

    def download(repository: str, filename: str) -> str:
        asked.append((repository, filename))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert load_model("owner/name").config == network.config
    assert asked == [("owner/name", "model.safetensors")]


def test_hub_that_cannot_be_reached_is_an_answer_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repository: str, filename: str) -> str:
        raise OSError("no route to host\nand more lines")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(RequestError, match=r"owner/name cannot be fetched from the hub \(no route to host\); expected"):
        load_model("owner/name")


def test_encoder_of_a_trained_network_can_start_another(trained, tmp_path: Path) -> None:
    network, path = trained
    other = tiny_network()
    report = load_encoder(other.gae.mit, path)
    torch.testing.assert_close(other.gae.mit.state_dict(), network.gae.mit.state_dict(), rtol=0, atol=0)
    assert all(name.startswith("gae.mit.") is False for name in report.ignored)


def test_configuration_travels_as_a_tensor(trained) -> None:
    network, _ = trained
    state = network.state_dict()["_extra_state"]
    assert state.dtype == torch.uint8
    assert stored_config(state) == network.config


def test_backbones_that_a_checkpoint_was_to_fill_are_not_trained_without_it() -> None:
    image = torch.randn(1, 3, 64, 64)
    network = create_model("miniature", backbone_weights="checkpoint", noise_sources="srm")
    network.eval()(image)
    with pytest.raises(RequestError, match=r"backbones without weights; .*--backbone_weights FILE"):
        network.train()(image)
    network.load_state_dict(create_model("miniature", backbone_weights="random", noise_sources="srm").state_dict())
    network.train()(image)
