"""An exported file is the same model; the demonstration model ships, loads and knows its input size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qmanet_benco.errors import RequestError
from qmanet_benco.model.weights.builder import create_model, load_model
from qmanet_benco.model.weights.release import export_safetensors
from qmanet_benco.model.weights.sources import DEMO_FILE


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = create_model("miniature", noise_sources="srm,bayar", backbone_weights="random")
    torch.save({"model": network.state_dict()}, tmp_path / "checkpoint-3.pth")
    return tmp_path / "checkpoint-3.pth"


@pytest.mark.parametrize(("half", "most"), [(False, 0.0), (True, 0.02)])
def test_exported_file_is_the_same_model_with_its_input_size(
    checkpoint: Path, tmp_path: Path, half: bool, most: float
) -> None:
    target = tmp_path / "model.safetensors"
    difference = export_safetensors(checkpoint, target, image_size=192, half=half)
    assert difference <= most
    model = load_model(target)
    assert model.image_size == 192
    assert load_model(checkpoint).image_size == 512
    assert all(tensor.dtype == torch.float32 for tensor in model.parameters())
    assert not half or target.stat().st_size < 0.6 * checkpoint.stat().st_size


def test_weights_that_do_not_fit_into_16_bits_are_refused_and_nothing_is_left(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    name = next(name for name, tensor in content["model"].items() if tensor.is_floating_point())
    content["model"][name].view(-1)[0] = 1e6
    torch.save(content, checkpoint)
    with pytest.raises(RequestError, match="16 bits"):
        export_safetensors(checkpoint, tmp_path / "model.safetensors", half=True)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3.pth"]
    with pytest.raises(RequestError, match=r"\.safetensors"):
        export_safetensors(checkpoint, tmp_path / "model.onnx")


@pytest.mark.parametrize("side", [8, 9000])
def test_a_file_that_was_there_stays_where_the_new_one_is_refused(checkpoint: Path, tmp_path: Path, side: int) -> None:
    target = tmp_path / "model.safetensors"
    target.write_bytes(b"an earlier one")
    with pytest.raises(RequestError, match="64 to 8192 pixels"):
        export_safetensors(checkpoint, target, image_size=side)
    assert target.read_bytes() == b"an earlier one"
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-3.pth", "model.safetensors"}


def test_weights_whose_answer_is_not_finite_are_not_written(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["model"]["decoder.head.bias"].fill_(torch.nan)
    torch.save(content, checkpoint)
    with pytest.raises(RequestError, match="differs by nan"):
        export_safetensors(checkpoint, tmp_path / "model.safetensors", image_size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3.pth"]


def test_neither_the_source_nor_a_folder_is_overwritten(checkpoint: Path, tmp_path: Path) -> None:
    source = tmp_path / "model.safetensors"
    export_safetensors(checkpoint, source, image_size=64)
    whole = source.read_bytes()
    with pytest.raises(RequestError, match="also read"):
        export_safetensors(source, source, half=True)
    assert source.read_bytes() == whole
    with pytest.raises(RequestError, match="also read"):
        export_safetensors(str(tmp_path), source, half=True)  # a folder of save_pretrained
    (tmp_path / "folder.safetensors").mkdir()
    for target in (tmp_path / "folder.safetensors", source / "below.safetensors"):
        with pytest.raises(RequestError, match="cannot be written"):
            export_safetensors(checkpoint, target)


def test_a_full_disk_is_one_line_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    code = "from pathlib import Path; from qmanet_benco.model.weights.release import export_safetensors as export\n"
    code += f"export({str(checkpoint)!r}, Path({str(tmp_path / 'm.safetensors')!r}), image_size=64)"
    limit = f"ulimit -f 500; trap '' XFSZ; exec {sys.executable} -c \"$0\""  # a larger file fails as on a full disk
    ended = subprocess.run(["bash", "-c", limit, code], capture_output=True, text=True, check=False)
    assert "RequestError" in ended.stderr.splitlines()[-1], ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3.pth"]


def test_demonstration_model_ships_in_few_megabytes_and_needs_no_licensed_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # as `qmanet data demo demo` leaves it
    assert DEMO_FILE.stat().st_size < 10e6
    model = load_model("demo")
    assert model.config.noise_sources == ("srm", "bayar")
    assert model.image_size == 256
    assert (DEMO_FILE.parent / "README.md").is_file()


def test_demonstration_model_beats_the_floor_on_forgeries_from_photos_that_it_never_saw(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    from qmanet_benco.apps.predict import predict
    from qmanet_benco.data.forge.demo import all_tampered_f1, make_demo

    made = make_demo(tmp_path / "demo", train_count=1, test_count=20, size=256, seed=99)
    model, scores = load_model("demo"), []
    for photo in sorted((made.test / "Tp").iterdir()):
        with Image.open(made.test / "Gt" / f"{photo.stem}.png") as image:
            truth = np.asarray(image) > 127
        mask = predict(model, photo).mask
        scores.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert np.mean(scores) > all_tampered_f1(made.test, 256) + 0.05
