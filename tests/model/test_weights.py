"""The four namings of an encoder's weights, exact reports, and errors that leave the encoder as it was."""

from __future__ import annotations

import argparse
import copy
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_networks import tiny
from torch import Tensor, nn

from qmanet_benco.errors import RequestError
from qmanet_benco.model.backbone import Encoder
from qmanet_benco.model.config import VARIANTS
from qmanet_benco.model.weights.encoders import LoadReport, convert_file, load_encoder, read_noiseprint
from qmanet_benco.model.weights.files import read_checkpoint
from qmanet_benco.model.weights.naming import NAMINGS, detect_naming, from_official, to_official

CONFIG = tiny(VARIANTS["b2"], embed_dim=8, depths=(2, 1, 2, 1))
MARKS = {
    "official": "block1.0.attn.kv.weight",
    "smp": "block1.0.attn.kv.weight",
    "mmseg": "layers.0.1.0.attn.attn.in_proj_weight",
    "huggingface": "segformer.encoder.block.0.0.attention.self.key.weight",
}
"""A name that only the naming has, in the naming's own words."""


@pytest.fixture
def encoder() -> nn.Module:
    return randomised(Encoder(CONFIG).mit)


def randomised(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def in_naming(module: nn.Module, naming: str) -> dict[str, Tensor]:
    official, _, _ = to_official(module.state_dict())
    return from_official(official, naming)


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_lands_every_tensor(naming: str, encoder: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "mit.pth"
    state = in_naming(encoder, naming)
    assert MARKS[naming] in state
    torch.save(state, path)
    empty = randomised(Encoder(CONFIG).mit)
    report = load_encoder(empty, path)
    torch.testing.assert_close(empty.state_dict(), encoder.state_dict(), rtol=0, atol=0)
    # official names without a classifier are what segmentation_models_pytorch's hub holds
    expected = "smp" if naming == "official" else naming
    assert report == LoadReport(str(path), expected, len(encoder.state_dict()), ())


@pytest.mark.parametrize("first", NAMINGS)
@pytest.mark.parametrize("second", NAMINGS)
def test_converting_there_and_back_changes_nothing(first: str, second: str, encoder: nn.Module) -> None:
    original = in_naming(encoder, first)
    there = from_official(to_official(original)[0], second)
    back = from_official(to_official(there)[0], first)
    assert there.keys() == in_naming(encoder, second).keys()
    assert back.keys() == original.keys()
    for name, tensor in original.items():
        assert torch.equal(back[name], tensor), name


def test_classifier_makes_official_names_official(encoder: nn.Module) -> None:
    state = in_naming(encoder, "official")
    assert to_official(state)[1:] == ("smp", ())
    head = {"head.weight": torch.ones(2, 2), "head.bias": torch.ones(2)}
    assert to_official(state | head)[1:] == ("official", ("head.weight", "head.bias"))


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("prefix", ["module.", "model.backbone."])
def test_prefix_of_a_wrapper_does_not_matter(naming: str, prefix: str, encoder: nn.Module) -> None:
    state = in_naming(encoder, naming)
    expected = to_official(state)[0]
    found = to_official({prefix + name: tensor for name, tensor in state.items()})[0]
    assert found.keys() == expected.keys()


def test_surplus_is_reported_by_its_name_in_the_file(encoder: nn.Module, tmp_path: Path, caplog) -> None:
    state = {f"backbone.{name}": tensor for name, tensor in encoder.state_dict().items()}
    state |= {"decode_head.conv_seg.weight": torch.ones(2), "backbone.extra.weight": torch.ones(2)}
    path = tmp_path / "segmentor.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    with caplog.at_level(logging.INFO):
        report = load_encoder(encoder, path)
    assert set(report.ignored) == {"decode_head.conv_seg.weight", "backbone.extra.weight"}
    assert str(report) in caplog.text
    total = len(encoder.state_dict())
    assert str(report) == f"{path}: mmseg naming, all {total} encoder tensors filled, 2 of another head ignored"


def test_loading_writes_nothing_on_stdout(encoder: nn.Module, tmp_path: Path, capsys) -> None:
    torch.save(encoder.state_dict(), tmp_path / "mit.pth")
    load_encoder(encoder, tmp_path / "mit.pth")
    assert capsys.readouterr().out == ""  # `--json` prints one document and nothing else


def test_report_without_surplus_does_not_mention_any() -> None:
    assert str(LoadReport("mit.pth", "smp", 12)) == "mit.pth: smp naming, all 12 encoder tensors filled"


def assert_refused(encoder: nn.Module, path: Path, message: str) -> None:
    before = copy.deepcopy(encoder.state_dict())
    with pytest.raises(RequestError, match=message) as caught:
        load_encoder(encoder, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    torch.testing.assert_close(encoder.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("naming", NAMINGS)
def test_missing_tensor_is_named_and_nothing_is_loaded(naming: str, encoder: nn.Module, tmp_path: Path) -> None:
    state = in_naming(encoder, naming)
    last = [name for name in state if "norm" in name][-1]
    del state[last]
    torch.save(state, tmp_path / "mit.pth")
    randomised(encoder)
    assert_refused(
        encoder, tmp_path / "mit.pth", r"does not fit the encoder: 1 missing, first layers\.3\.\S+; expected"
    )


@pytest.mark.parametrize(
    ("naming", "name", "message"),
    [
        (
            "huggingface",
            "segformer.encoder.block.2.1.attention.self.query.weight",
            r"missing, first layers\.2\.1\.1\.attn",
        ),
        (
            "huggingface",
            "segformer.encoder.block.2.1.attention.self.key.weight",
            r"block3\.1\.attn\.q\.weight without its keys",
        ),
        (
            "huggingface",
            "segformer.encoder.block.2.1.attention.self.value.weight",
            r"block3\.1\.attn\.k\.weight without its",
        ),
        ("official", "block3.1.attn.kv.weight", r"block3\.1\.attn\.q\.weight without its keys"),
    ],
)
def test_incomplete_projection_is_named(
    naming: str, name: str, message: str, encoder: nn.Module, tmp_path: Path
) -> None:
    state = in_naming(encoder, naming)
    del state[name]
    torch.save(state, tmp_path / "mit.pth")
    assert_refused(encoder, tmp_path / "mit.pth", message)


def test_deeper_file_is_refused(encoder: nn.Module, tmp_path: Path) -> None:
    deeper = Encoder(tiny(VARIANTS["b2"], embed_dim=8, depths=(2, 2, 2, 1))).mit
    torch.save(deeper.state_dict(), tmp_path / "mit.pth")
    assert_refused(encoder, tmp_path / "mit.pth", r"\d+ unknown, first layers\.1\.1\.1\.\S+; expected the \d+ tensors")


def test_wider_file_is_refused_with_both_shapes(encoder: nn.Module, tmp_path: Path) -> None:
    wider = Encoder(tiny(VARIANTS["b2"], embed_dim=16, depths=(2, 1, 2, 1))).mit
    torch.save(wider.state_dict(), tmp_path / "mit.pth")
    message = r"of another shape, first layers\.0\.0\.norm\.bias \(16,\), where \(8,\) belongs; .*file of the same size"
    assert_refused(encoder, tmp_path / "mit.pth", message)


def test_file_without_an_encoder_is_refused(encoder: nn.Module, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(2), "fc.bias": torch.ones(2)}, tmp_path / "resnet.pth")
    message = r"no SegFormer encoder among 2 tensors, such as conv1\.weight; expected one of the namings official, smp"
    assert_refused(encoder, tmp_path / "resnet.pth", message)
    torch.save({"epoch": 3}, tmp_path / "nothing.pth")
    assert_refused(encoder, tmp_path / "nothing.pth", "no SegFormer encoder among 0 tensors, such as no tensor at all")


def test_unreadable_files_are_refused(encoder: nn.Module, tmp_path: Path) -> None:
    assert_refused(encoder, tmp_path / "absent.pth", "is not a file")
    torch.save(encoder.state_dict(), tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:10000])
    assert_refused(encoder, tmp_path / "half.pth", "cannot be read as a checkpoint")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    assert_refused(encoder, tmp_path / "page.pth", "cannot be read as a checkpoint")


class Trap:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "code ran"))


def test_code_in_a_weights_file_does_not_run(encoder: nn.Module, tmp_path: Path) -> None:
    torch.save({**encoder.state_dict(), "trap": Trap(tmp_path / "ran")}, tmp_path / "mit.pth")
    assert_refused(encoder, tmp_path / "mit.pth", "holds more than tensors")
    assert not (tmp_path / "ran").exists()


def test_checkpoint_of_the_stock_trainer_is_read(encoder: nn.Module, tmp_path: Path) -> None:
    content = {"model": in_naming(encoder, "official"), "args": argparse.Namespace(lr=1e-4)}
    torch.save(content, tmp_path / "checkpoint-3.pth")
    assert load_encoder(encoder, tmp_path / "checkpoint-3.pth").landed == len(encoder.state_dict())


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_converted_file_lands_as_the_original_does(
    naming: str, suffix: str, encoder: nn.Module, tmp_path: Path
) -> None:
    torch.save(in_naming(encoder, "official") | {"head.bias": torch.ones(2)}, tmp_path / "mit.pth")
    target = tmp_path / "new" / f"converted{suffix}"
    report = convert_file(tmp_path / "mit.pth", target, naming)
    assert (report.naming, report.ignored) == ("official", ("head.bias",))
    assert MARKS[naming] in read_checkpoint(target)
    empty = randomised(Encoder(CONFIG).mit)
    load_encoder(empty, target)
    torch.testing.assert_close(empty.state_dict(), encoder.state_dict(), rtol=0, atol=0)


def test_conversion_overwrites_nothing(encoder: nn.Module, tmp_path: Path) -> None:
    torch.save(encoder.state_dict(), tmp_path / "mit.pth")
    target = tmp_path / "mine.pth"
    target.write_text("mine")
    with pytest.raises(RequestError, match=r"mine\.pth exists; expected a new file; nothing was written"):
        convert_file(tmp_path / "mit.pth", target, "official")
    assert target.read_text() == "mine"


@pytest.mark.parametrize(
    ("target", "naming", "message"),
    [
        ("converted.bin", "smp", r"converted\.bin; expected a name ending in \.safetensors or \.pth"),
        ("converted.pth", "timm", "naming 'timm'; expected one of official"),
    ],
)
def test_wrong_conversion_writes_nothing(target: str, naming: str, message: str, encoder, tmp_path: Path) -> None:
    torch.save(encoder.state_dict(), tmp_path / "mit.pth")
    with pytest.raises(RequestError, match=message):
        convert_file(tmp_path / "mit.pth", tmp_path / target, naming)
    assert [path.name for path in tmp_path.iterdir()] == ["mit.pth"]


def test_conversion_names_the_file_that_holds_no_encoder(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(2)}, tmp_path / "resnet.pth")
    with pytest.raises(RequestError, match=r"resnet\.pth: no SegFormer encoder among 1 tensors"):
        convert_file(tmp_path / "resnet.pth", tmp_path / "new.pth", "smp")


def test_unknown_naming_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="naming 'timm'; expected one of official, smp, mmseg, huggingface"):
        from_official({}, "timm")


def test_name_that_is_no_official_one_is_refused() -> None:
    with pytest.raises(RequestError, match=r"tensor 'stem\.weight'; expected an official name"):
        from_official({"stem.weight": torch.ones(1)}, "huggingface")


def test_naming_is_told_by_one_name_with_its_prefix() -> None:
    assert detect_naming(["head.bias", "a.b.patch_embed1.proj.weight"]) == ("official", "a.b.")
    assert detect_naming(["stages.0.patch_embeddings.proj.weight"]) == ("huggingface5", "")


@pytest.mark.parametrize("wrapped", [True, False])
def test_noiseprint_is_read_bare_or_under_network(wrapped: bool, tmp_path: Path) -> None:
    weights = {"0.weight": torch.ones(2), "47.bias": torch.ones(1)}
    torch.save({"network": weights} if wrapped else weights, tmp_path / "noiseprint.th")
    assert read_noiseprint(tmp_path / "noiseprint.th").keys() == weights.keys()
