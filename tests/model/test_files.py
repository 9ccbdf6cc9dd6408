"""Reading runs no code from a file; writing leaves no half file behind."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from qmanet_benco.errors import RequestError
from qmanet_benco.files import sha256_of, write_atomically
from qmanet_benco.model.weights.files import read_checkpoint, state_dict_of

TENSORS = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.ones(2)}


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "code ran"))


def save_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_tensors_come_back_from_a_torch_file(save, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    save({"model": TENSORS, "epoch": 3}, path)
    content = read_checkpoint(path)
    assert content["epoch"] == 3
    torch.testing.assert_close(content["model"], TENSORS)


def test_tensors_come_back_from_a_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(TENSORS, path)
    torch.testing.assert_close(read_checkpoint(str(path)), TENSORS)


def test_the_stock_trainer_s_flags_are_no_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-3.pth"
    torch.save({"model": TENSORS, "args": argparse.Namespace(lr=1e-4)}, path)
    assert read_checkpoint(path)["args"].lr == 1e-4


@pytest.mark.parametrize("save", [torch.save, save_legacy, lambda x, path: path.write_bytes(pickle.dumps(x, 2))])
def test_code_in_a_file_is_refused_and_does_not_run(save, tmp_path: Path) -> None:
    target, path = tmp_path / "ran", tmp_path / "weights.pth"
    save({"model": TENSORS, "trap": Trap(target)}, path)
    with pytest.raises(
        RequestError, match=rf"{path} (holds more than tensors: .*--allow-pickle|cannot be read as .* pickle, but)"
    ):
        read_checkpoint(path)
    assert not target.exists()


def test_allow_pickle_runs_what_it_says(tmp_path: Path) -> None:
    target, path = tmp_path / "ran", tmp_path / "weights.pth"
    torch.save({"model": TENSORS, "trap": Trap(target)}, path)
    torch.testing.assert_close(read_checkpoint(path, allow_pickle=True)["model"], TENSORS)
    assert target.read_text() == "code ran"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 40, -1])
def test_truncated_file_is_named_with_the_cure(suffix: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(
        RequestError, match=rf"{path} cannot be read as .*; expected an undamaged file; .*fetch it again"
    ):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("text", ["<!DOCTYPE html><html>404</html>", "version https://git-lfs.github.com/spec/v1\n"])
def test_text_file_is_no_checkpoint(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RequestError, match=rf"{path} cannot be read as"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "text", ["commit 3f2a\nAuthor: me\n", "hello world\n", '{"a": 1}', "N.", "c\n\n.", "\x00" * 99]
)
def test_text_is_not_told_apart_by_what_its_letters_mean_to_a_pickle(text: str, tmp_path: Path) -> None:
    """``c`` names a class in a pickle; torch's message always mentions weights_only."""
    path = tmp_path / "weights.pth"
    path.write_text(text)
    for allow_pickle in (False, True):
        with pytest.raises(RequestError, match=rf"{path} cannot be read as a checkpoint \(.*no") as caught:
            read_checkpoint(path, allow_pickle)
        assert "allow-pickle" not in str(caught.value)
        assert "more than tensors" not in str(caught.value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("content", [{"a": 1}, {"a": argparse.ArgumentParser}])
def test_plain_pickle_is_told_to_be_one(content: object, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(RequestError, match=rf"{path} cannot be read as a checkpoint \(a pickle, but not of torch"):
        read_checkpoint(path)


@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_another_class_in_a_checkpoint_is_named_with_the_cure(save, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    save({"model": torch.nn.Linear(2, 2)}, path)
    with pytest.raises(RequestError, match=r"more than tensors: it names torch\.nn\..*Linear; .*--allow-pickle"):
        read_checkpoint(path)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"c", b"}q\x00"]))
@settings(max_examples=80)
def test_foreign_bytes_get_one_line(content: bytes, start: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.pth")
        path.write_bytes(start + content)
        with pytest.raises(RequestError, match=r"weights\.pth") as caught:
            read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_error_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"trap": Trap(tmp_path / "ran")}, path)
    with pytest.raises(RequestError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.pth", tmp_path):
        with pytest.raises(RequestError, match=rf"{path} is not a file; expected a checkpoint .*; check the path"):
            read_checkpoint(path)


def test_file_without_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.pth"
    torch.save([torch.ones(1)], path)
    with pytest.raises(RequestError, match=rf"{path} holds a list; expected a dictionary of tensors"):
        read_checkpoint(path)


@pytest.mark.parametrize("key", ["model", "state_dict", "network"])
def test_tensors_are_found_under_the_usual_keys(key: str) -> None:
    assert state_dict_of({key: {**TENSORS, "note": "text"}, "epoch": 1}) == TENSORS


def test_bare_tensors_are_found() -> None:
    assert state_dict_of({**TENSORS, "epoch": 1}) == TENSORS


def test_layer_called_model_is_no_wrapper() -> None:
    assert state_dict_of({"model": torch.ones(1), **TENSORS}).keys() == {"model", *TENSORS}


def test_writing_replaces_the_file_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    for text in ("first", "second"):
        write_atomically(path, lambda temporary, text=text: temporary.write_text(text))
        assert path.read_text() == text
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_temporary_file_has_the_suffix_that_writers_look_at(tmp_path: Path) -> None:
    suffixes = []

    def write(temporary: Path) -> None:
        suffixes.append(temporary.suffix)
        assert temporary.parent == tmp_path, "another file system would make the replacement a copy"

    write_atomically(tmp_path / "weights.safetensors", write)
    assert suffixes == [".safetensors"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_failed_write_keeps_the_old_file_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_file_is_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, lambda temporary: temporary.write_text("text"))
    assert path.stat().st_mode & 0o777 == 0o644


def test_sha256_is_hashlib_s(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 5000)
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
