"""What save_pretrained writes is the same model again, and its card states nothing that nobody measured."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from tiny_networks import tiny_network

from qmanet_benco.errors import RequestError
from qmanet_benco.model.calibration import Calibration
from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.weights.builder import load_model
from qmanet_benco.model.weights.hub import Measured

FILES = {"model.safetensors", "config.json", "README.md"}


@pytest.fixture
def network() -> QMANetwork:
    made = tiny_network().eval()
    made.image_size = 96
    return made


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    _, header, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(header), text


@pytest.mark.parametrize("variant", ["paper", "sl", "cd", "miniature"])
def test_saved_folder_gives_the_same_probabilities_by_each_way_of_loading(variant: str, tmp_path: Path) -> None:
    network, image = tiny_network(variant).eval(), torch.randn(1, 3, 64, 64)
    network.image_size = 96
    network.calibration = Calibration(0.4, True, -1.0, (0.5, 1.0, 0.25), authentic=20, tampered=30, false_alarms=0.05)
    network.save_pretrained(tmp_path / "folder")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == FILES
    with torch.no_grad():
        expected = network(image)
        for model in (QMANetwork.from_pretrained(tmp_path / "folder"), load_model(str(tmp_path / "folder"))):
            assert torch.equal(model(image), expected)
            assert (model.config, model.image_size, model.training) == (network.config, 96, False)
            assert model.calibration == network.calibration
    content = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert content.pop("image_size") == 96
    assert QMANetConfig.from_json(json.dumps(content)) == network.config


def test_folder_without_weights_and_a_missing_name_are_refused(tmp_path: Path) -> None:
    for load in (load_model, QMANetwork.from_pretrained):
        with pytest.raises(RequestError, match=r"holds no model\.safetensors"):
            load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written"):
        tiny_network().save_pretrained(tmp_path / "file")


def test_name_and_revision_reach_the_hub(network: QMANetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network.save_pretrained(tmp_path)
    asked = []

    def download(repository: str, filename: str, **options: Any) -> str:
        asked.append((repository, filename, options))
        return str(tmp_path / filename)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    model = QMANetwork.from_pretrained("owner/name", revision="v2")
    assert asked == [("owner/name", "model.safetensors", {"revision": "v2"})]
    torch.testing.assert_close(model.state_dict(), network.state_dict(), rtol=0, atol=0)


class FakeHub:
    """Stands in for HfApi: keeps the names and the text of what would be uploaded."""

    uploads: list[tuple[str, dict[str, bytes]]]

    def __init__(self, token: str | None = None) -> None:
        pass

    def create_repo(self, repo_id: str, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(self, repo_id: str, folder_path: Path, **_: Any) -> str:
        files = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
        FakeHub.uploads.append((repo_id, files))
        return f"https://hub.invalid/{repo_id}"


def test_pushed_files_are_those_that_are_saved(
    network: QMANetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeHub.uploads = []
    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", FakeHub)
    facts = {"data": "demo forgeries", "results": [Measured("twelve forgeries", 0.5, 0.25)], "licence": "mit"}
    assert network.push_to_hub("owner/name", model_card_kwargs=facts) == "https://hub.invalid/owner/name"
    network.save_pretrained(tmp_path, model_card_kwargs=facts)
    [(repository, files)] = FakeHub.uploads
    assert repository == "owner/name"
    assert files.keys() == FILES
    pushed = safetensors.torch.load(files.pop("model.safetensors"))  # the order in its header varies
    torch.testing.assert_close(pushed, network.state_dict(), rtol=0, atol=0)
    assert files == {name: (tmp_path / name).read_bytes() for name in files}


# the card


def test_card_states_what_the_caller_gave_beside_the_floor(network: QMANetwork, tmp_path: Path) -> None:
    results = [Measured("CASIA|dev, 460", 0.1816, 0.1549, 0.63), Measured("demo, 160", 0.381, 0.225)]
    network.save_pretrained(tmp_path, model_card_kwargs={"data": "2,400 forgeries", "results": results})
    _, text = card_of(tmp_path)
    assert "## Data\n\n2,400 forgeries\n" in text
    assert "| CASIA/dev, 460 | 0.182 | 0.155 | 0.630 |\n| demo, 160 | 0.381 | 0.225 | - |\n" in text


def test_card_invents_nothing(network: QMANetwork, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    header, text = card_of(tmp_path)
    assert "license" not in header
    assert "## Data\n\nNot stated.\n" in text
    assert "## Licence of the weights\n\nNot stated.\n" in text
    assert "None stated." in text
    assert "| pixel-F1" not in text


def test_weights_with_noiseprint_are_marked_as_restricted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = tiny_network("paper")
    network.save_pretrained(tmp_path / "a")
    header, text = card_of(tmp_path / "a")
    assert (header["license"], header["license_name"]) == ("other", "noiseprint-non-profit-research-only")
    assert "non-profit research only" in text
    assert "non-profit research only" in caplog.text
    with pytest.raises(RequestError, match="licence 'mit'"):
        network.save_pretrained(tmp_path / "b", model_card_kwargs={"licence": "mit"})
    assert not (tmp_path / "b").exists()


def test_unknown_fact_for_the_card_is_refused_and_nothing_written(network: QMANetwork, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"license.*expected data, results or licence"):
        network.save_pretrained(tmp_path / "a", model_card_kwargs={"license": "mit"})
    assert not (tmp_path / "a").exists()


def test_card_of_the_caller_stays_and_new_facts_replace_it(network: QMANetwork, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    network.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    network.save_pretrained(tmp_path, model_card_kwargs={"data": "other data"})
    assert "other data" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("scores", [(1.2, 0.1, None), (0.5, float("nan"), None), (0.5, 0.1, -0.1)])
def test_score_that_is_none_is_refused(scores: tuple[float, float, float | None]) -> None:
    with pytest.raises(RequestError, match="from 0 to 1"):
        Measured("a set", *scores)


def test_result_that_is_not_measured_is_refused(network: QMANetwork) -> None:
    with pytest.raises(RequestError, match="Measured"):
        network.generate_model_card(results=[("CASIA", 0.9)])  # type: ignore[list-item]


# the mixin leaves the network as it was


def test_mixin_adds_nothing_to_the_state_and_survives_a_copy(network: QMANetwork, tmp_path: Path) -> None:
    assert not [name for name in network.state_dict() if "hub" in name]
    assert "_extra_state" in network.state_dict()
    twin = copy.deepcopy(network)
    twin.save_pretrained(tmp_path)
    assert load_model(tmp_path).config == network.config


def test_compiled_network_saves_the_plain_one(network: QMANetwork, tmp_path: Path) -> None:
    torch.compile(network, backend="eager").save_pretrained(tmp_path)
    torch.testing.assert_close(load_model(tmp_path).state_dict(), network.state_dict(), rtol=0, atol=0)
