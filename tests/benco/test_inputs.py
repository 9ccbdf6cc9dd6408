"""What is refused before a stock script starts: one line, exit code 2, nothing written."""

from __future__ import annotations

import inspect
import json
import shutil
import unicodedata
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forgeries import COMMON_FLAGS, MODEL_FLAGS, make_set, output_flags, train_flags, write_json
from PIL import Image

from qmanet_benco.benco import scoring
from qmanet_benco.benco.plugin import QMANet
from qmanet_benco.benco.seam import inputs, lists, padding, pairs
from qmanet_benco.data.check import check
from qmanet_benco.errors import RequestError

Command = Callable[..., tuple[int, str]]
Damage = Callable[[Path], Any]


def _rename(folder: Path, old: str, new: str) -> None:
    (folder / old).rename(folder / new)


def _grey(folder: Path) -> None:
    path = folder / "Gt" / "photo01.png"
    mask = np.asarray(Image.open(path))
    Image.fromarray((mask > 0).astype(np.uint8)).save(path)


def _shrink(folder: Path) -> None:
    path = folder / "Gt" / "photo01.png"
    Image.open(path).resize((10, 12)).save(path)


def _cut(folder: Path) -> None:
    path = folder / "Tp" / "photo01.png"
    path.write_bytes(path.read_bytes()[:2000])


def _shift(folder: Path) -> None:
    """As many masks as images, but one of each has no partner."""
    (folder / "Tp" / "photo00.png").unlink()
    (folder / "Gt" / "photo02.png").unlink()


FOLDERS: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "no Gt": (lambda folder: shutil.rmtree(folder / "Gt"), ("no folder Gt", "Tp")),
    "no images": (lambda folder: [shutil.rmtree(folder / "Tp"), (folder / "Tp").mkdir()], ("is empty",)),
    "one mask less": (lambda folder: (folder / "Gt" / "photo01.png").unlink(), ("3 images and 2 masks", "photo01.png")),
    "a text file": (lambda folder: (folder / "Tp" / "a.txt").write_text("x"), ("a.txt",)),
    "a folder inside": (lambda folder: (folder / "Tp" / "more").mkdir(), ("more",)),
    "a shift": (_shift, ("photo01.png", "photo00.png")),
    "another size": (_shrink, ("10x12", "photo01.png")),
    "a truncated image": (_cut, ("photo01.png", "cannot be read")),
    "no image at all": (lambda folder: (folder / "Tp" / "photo01.png").write_text("x"), ("photo01.png",)),
    "a mask of 0 and 1": (_grey, ("photo01.png", "brighter than 1", "127.5")),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_wrong_folder_is_refused(case: str, qmanet: Command, data: Path, tmp_path: Path) -> None:
    damage, words = FOLDERS[case]
    folder = make_set(tmp_path / "set", 3)
    damage(folder)
    code, err = qmanet("benco", "train", *train_flags(folder, data / "test", tmp_path / "out"))
    _assert_one_line(code, err, words)
    assert not (tmp_path / "out").exists()


LISTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "no JSON": ("[[", ("not JSON",)),
    "an empty list": ([], ("an empty list",)),
    "a dictionary": ({"a": "b"}, ("a dictionary", "pairs")),
    "a single path": ([["a.png"]], ("entry 1", "pairs")),
    "numbers": ([[1, 2]], ("entry 1",)),
    "a missing file": ([["absent.png", "Negative"]], ("absent.png does not exist", "current folder")),
    "a missing folder": ([["ManiDataset", "/absent"]], ("/absent is not a folder",)),
    "another class": ([["TiffDataset", "/absent"]], ("entry 1", "ManiDataset")),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_wrong_training_list_is_refused(case: str, qmanet: Command, data: Path, tmp_path: Path) -> None:
    content, words = LISTS[case]
    listed = tmp_path / "list.json"
    listed.write_text(content if isinstance(content, str) else json.dumps(content))
    code, err = qmanet("benco", "train", *train_flags(listed, data / "test", tmp_path / "out"))
    _assert_one_line(code, err, (str(listed), *words))
    assert not (tmp_path / "out").exists()


def _train(*more: str) -> Callable[[Path, Path], list[str]]:
    return lambda data, out: ["train", *train_flags(data / "train", data / "test", out, *more)]


def _test(*more: str) -> Callable[[Path, Path], list[str]]:
    sets = "--test_data_json"
    return lambda data, out: ["test", *COMMON_FLAGS, sets, str(data / "sets.json"), *output_flags(out), *more]


def _robust(*more: str) -> Callable[[Path, Path], list[str]]:
    few = "--test_data_path"
    return lambda data, out: ["test_robust", *COMMON_FLAGS, few, str(data / "few"), *output_flags(out), *more]


FLAGS: dict[str, tuple[Callable[[Path, Path], list[str]], tuple[str, ...]]] = {
    "the stock default path": (
        lambda data, out: ["train", *COMMON_FLAGS, *output_flags(out)],
        ("--data_path /root/Dataset/CASIA2.0 does not exist", "Tp"),
    ),
    "no test data": (_train("--test_data_path", "/absent"), ("--test_data_path /absent does not exist",)),
    "test data in a list": (_train("--test_data_path", "LIST"), ("a list", "name")),
    "neither resizing nor padding": (
        lambda data, out: ["train", *MODEL_FLAGS, "--data_path", str(data / "train"), *output_flags(out)],
        ("neither --if_resizing nor --if_padding", "--if_resizing"),
    ),
    "both": (_train("--if_padding"), ("both",)),
    "a small image size": (_train("--image_size", "32"), ("--image_size 32", "64")),
    "no model": (lambda data, out: ["train", "--if_resizing"], ("no --model",)),
    "a misspelt model": (lambda data, out: ["train", "--model", "QMAnet"], ("QMAnet", "did you mean QMANet?")),
    "a model without its file": (
        lambda data, out: ["train", "--model", "SPAN", "--if_resizing", *output_flags(out)],
        ("SPAN without --weight_path",),
    ),
    "a misspelt flag": (_train("--batchsize", "2"), ("--batchsize", "did you mean --batch_size?")),
    "a misspelt flag of the model": (_train("--num_querys", "2"), ("--num_querys", "--num_queries")),
    "words for a number": (_train("--epochs", "many"), ("epochs", "many")),
    "an unknown variant": (_train("--variant", "huge"), ("huge", "miniature")),
    "absent backbone weights": (_train("--backbone_weights", "/absent.pth"), ("/absent.pth",)),
    "absent weights to start from": (_train("--initial_weights", "/absent.pth"), ("/absent.pth",)),
    "weights of another network to start from": (
        _train("--initial_weights", "demo", "--noise_sources", "srm"),
        ("noise_sources=srm,bayar", "noise_sources=srm"),
    ),
    "NoisePrint++ without weights": (
        _train("--noise_sources", "srm,noiseprint"),
        ("NoisePrint++", "--noiseprint_weights"),
    ),
    "CUDA where there is none": (_train("--device", "cuda"), ("--device cuda", "cpu")),
    "a batch larger than the set": (_train("--batch_size", "5"), ("4 images", "--batch_size 5")),
    "an absent checkpoint to resume": (_train("--resume", "/absent.pth"), ("--resume /absent.pth",)),
    "a checkpoint from the network": (_train("--resume", "https://example.org/c.pth"), ("--resume https", "SHA-256")),
    "an absent checkpoint folder": (_test("--checkpoint_path", "/absent"), ("/absent is not a folder",)),
    "an empty checkpoint folder": (_test("--checkpoint_path", "EMPTY"), ("no .pth file",)),
    "a name without an epoch": (_test("--checkpoint_path", "NAMED"), ("best.pth", "checkpoint-N.pth")),
    "a checkpoint that runs code": (_test("--checkpoint_path", "PICKLE"), ("--allow-pickle", "system")),
    "a truncated checkpoint": (_test("--checkpoint_path", "CUT"), ("checkpoint-0.pth", "cannot be read")),
    "a text file as a checkpoint": (_robust("--checkpoint_path", "TEXT"), ("text.pth", "cannot be read")),
    "bare weights": (_robust("--checkpoint_path", "BARE"), ("no entry 'model'",)),
    "a folder for one checkpoint": (_robust("--checkpoint_path", "NAMED"), ("is not a file",)),
    "unknown levels": (
        lambda data, out: ["test_robust", "--levels", "fog=3", *_robust("--checkpoint_path", "GOOD")(data, out)[1:]],
        ("fog=3", "blur"),
    ),
    "an even blur": (
        lambda data, out: ["test_robust", "--levels", "blur=4", *_robust("--checkpoint_path", "GOOD")(data, out)[1:]],
        ("blur=4", "odd"),
    ),
    "a correction without that name": (
        lambda data, out: ["train", "--without", "nothing", *_train()(data, out)[1:]],
        ("--without nothing", "cudnn-enabled"),
    ),
    "no processes": (lambda data, out: ["train", "--nproc", "0", *_train()(data, out)[1:]], ("--nproc 0",)),
    "GPUs where there are none": (lambda data, out: ["train", "--nproc", "auto", *_train()(data, out)[1:]], ("GPU",)),
    "machines without a meeting point": (
        lambda data, out: ["train", "--nnodes", "2", *_train()(data, out)[1:]],
        ("--rdzv",),
    ),
}


@pytest.fixture
def stored(tmp_path: Path, data: Path, trained: Path) -> dict[str, Path]:
    """Files and folders that the table names by capitals."""
    good = trained / "checkpoint-0.pth"
    for name in ("empty", "named", "pickle", "cut"):
        (tmp_path / name).mkdir()
    (tmp_path / "named" / "checkpoint-0.pth").symlink_to(good)
    (tmp_path / "named" / "best.pth").symlink_to(good)
    torch.save({"model": _Shell()}, tmp_path / "pickle" / "checkpoint-0.pth")
    (tmp_path / "cut" / "checkpoint-0.pth").write_bytes(good.read_bytes()[:100_000])
    (tmp_path / "text.pth").write_text("not a checkpoint")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "bare.pth")
    write_json(tmp_path / "list.json", [["a", "b"]])
    files = {name: tmp_path / name.lower() for name in ("EMPTY", "NAMED", "PICKLE", "CUT")}
    return files | {
        "TEXT": tmp_path / "text.pth",
        "BARE": tmp_path / "bare.pth",
        "LIST": tmp_path / "list.json",
        "GOOD": good,
    }


class _Shell:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch /tmp/qmanet_ran_code",)


@pytest.mark.parametrize("case", FLAGS)
def test_a_wrong_request_is_refused(
    case: str, qmanet: Command, data: Path, stored: dict[str, Path], tmp_path: Path
) -> None:
    compose, words = FLAGS[case]
    arguments = [str(stored.get(word, word)) for word in compose(data, tmp_path / "out")]
    code, err = qmanet("benco", *arguments)
    _assert_one_line(code, err, words)
    assert not (tmp_path / "out").exists()
    assert not Path("/tmp/qmanet_ran_code").exists()


def test_earlier_checkpoints_stay_when_a_request_is_refused(qmanet: Command, data: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "out" / "checkpoint-7.pth"
    earlier.parent.mkdir()
    earlier.write_text("precious")
    code, _ = qmanet("benco", "train", *train_flags(tmp_path / "absent", data / "test", tmp_path / "out"))
    assert code == 2
    assert [path.name for path in earlier.parent.iterdir()] == ["checkpoint-7.pth"]
    assert earlier.read_text() == "precious"


def test_authentic_images_need_no_mask(data: Path) -> None:
    photo = str(data / "few" / "Tp" / "photo00.png")
    assert pairs.check_pairs([pairs.Pair(photo, pairs.NEGATIVE)], "list") is None
    with pytest.raises(RequestError):  # the same photo with a mask that is none
        pairs.check_pairs([pairs.Pair(photo, "absent.png")], "list")


def test_a_black_mask_is_an_authentic_image_and_a_partly_grey_one_is_read(tmp_path: Path) -> None:
    pairs.check_mask(np.zeros((4, 4, 3), np.uint8), "black.png")
    partly = np.full((4, 4, 3), 90, np.uint8)
    partly[0, 0] = 128
    pairs.check_mask(partly, "partly.png")
    partly[0, 0] = 127
    with pytest.raises(RequestError, match=r"grey\.png is nowhere brighter than 127"):
        pairs.check_mask(partly, "grey.png")


@pytest.mark.parametrize("ending", ["_groundtruth", "_gt3", "_label", "_seg", "_mask_1", "_anything"])
def test_every_image_gets_the_mask_of_its_name(ending: str, tmp_path: Path) -> None:
    folder = make_set(tmp_path, 3)
    for old, new in (("photo00", "1"), ("photo01", "2"), ("photo02", "10")):
        _rename(folder / "Tp", f"{old}.png", f"{new}.png")
        _rename(folder / "Gt", f"{old}.png", f"{new}{ending}.png")
    right = {"1": f"1{ending}", "2": f"2{ending}", "10": f"10{ending}"}
    found = pairs.pair_folder(folder, "folder")
    assert {Path(pair.image).stem: Path(pair.mask).stem for pair in found} == right
    assert [(str(a), str(b)) for a, b in check.pairs_of(folder)[0]] == [tuple(pair) for pair in found]
    with scoring.as_the_test_script():
        read = scoring.open_set(folder, 64, False, None, None)
        assert list(zip(read.tp_path, read.gt_path, strict=True)) == [tuple(pair) for pair in found]


def test_masks_without_common_names_are_refused(tmp_path: Path) -> None:
    folder = make_set(tmp_path, 2)
    _rename(folder / "Gt", "photo00.png", "a.png")
    _rename(folder / "Gt", "photo01.png", "b.png")
    with pytest.raises(RequestError, match=r"Tp photo00\.png, photo01\.png; Gt a\.png, b\.png"):
        pairs.pair_folder(folder, "folder")


def test_files_of_other_programs_are_passed_over_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_set(tmp_path, 2)
    (folder / "Tp" / "Thumbs.db").write_bytes(b"x")
    (folder / "Gt" / "._photo00.png").write_bytes(b"x")
    (folder / "Gt" / ".ipynb_checkpoints").mkdir()
    assert len(pairs.pair_folder(folder, "folder")) == 2
    assert "1 file of other programs (Thumbs.db)" in caplog.text
    assert "2 files of other programs" in caplog.text


@pytest.mark.parametrize(
    "flags",
    [
        dict(shared_gcm=0, residual="initial", literal_first_block=1),
        dict(dilations="1,2", residual_gain=2.0, keep_alignment=1),
        dict(num_queries=3, noise_sources="srm", fusion_ratio=0.5, edge_supervision="fused"),
    ],
)
def test_weights_to_start_from_are_compared_with_the_network_that_the_flags_build(
    flags: dict[str, Any], tmp_path: Path
) -> None:
    QMANet(variant="miniature", backbone_weights="checkpoint", **flags).network.save_pretrained(tmp_path)
    defaults = {name: parameter.default for name, parameter in inspect.signature(QMANet).parameters.items()}
    given = Namespace(**defaults | {"variant": "miniature", "initial_weights": str(tmp_path)} | flags)
    args = Namespace(image_size=256, resume="")
    inputs._check_qmanet("train", args, given)
    given.gcm_groups = 4
    with pytest.raises(RequestError, match="the weights are of a network with gcm_groups=8; expected gcm_groups=4"):
        inputs._check_qmanet("train", args, given)


def test_a_large_set_is_checked_evenly_and_says_so(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pairs, "HEADER_BOUND", 2)
    found = pairs.pair_folder(data / "test", "set")
    pairs.check_pairs(found, "set")
    assert "headers of 2 of 5 pairs" in caplog.text
    assert "contents" not in caplog.text
    assert sorted(pairs.spread(found)) == found


def test_decoding_ends_when_its_time_is_up_and_says_so(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pairs, "DECODE_SECONDS", 0.0)
    pairs.check_pairs(pairs.pair_folder(data / "test", "set"), "set")
    assert "contents of 1 of 5 pairs" in caplog.text


def test_a_group_of_gradients_that_is_never_full_is_warned_about(
    qmanet: Command, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = train_flags(data / "train", data / "few", tmp_path, "--accum_iter", "16", "--epochs", "1")
    assert qmanet("benco", "train", *flags)[0] == 0
    assert "no weight will change" in caplog.text


def _assert_one_line(code: int, err: str, words: tuple[str, ...]) -> None:
    assert code == 2, err
    assert err.startswith("qmanet: error: ")
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err


@pytest.mark.parametrize("side", [40, 96])
def test_padding_says_how_many_images_it_crops(side: int, tmp_path: Path) -> None:
    folder = make_set(tmp_path, 3)
    mask = np.zeros((64, 64), np.uint8)
    mask[50:60, 45:60] = 255
    for name in ("photo00", "photo01", "photo02"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "Tp" / f"{name}.png")
        Image.fromarray(mask if name == "photo00" else 255 - mask).save(folder / "Gt" / f"{name}.png")
    said: list[str] = []
    padding.warn_of_cropping(pairs.pair_folder(folder, "set"), side, "set", said.append)
    if side == 96:
        assert said == []
        return
    assert "3 of 3 images are larger than --image_size 40" in said[0]
    assert "1 of 3 of them lose all that is tampered" in said[0]


def test_a_list_names_files_as_other_systems_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Tp").mkdir()
    name = unicodedata.normalize("NFD", "caf\u00e9.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "Tp" / name)
    entry = [unicodedata.normalize("NFC", "Tp\\caf\u00e9.png"), "Negative"]
    found = lists.read_pair_list(write_json(tmp_path / "list.json", [entry, entry]), "list")
    assert found == [pairs.Pair(f"Tp/{name}", "Negative")] * 2
    assert "1 entries repeat an earlier one" in caplog.text
    with pytest.raises(RequestError, match="that is a path of Windows"):
        lists.read_pair_list(write_json(tmp_path / "list.json", [["C:\\data\\Tp\\a.png", "Negative"]]), "list")
    with pytest.raises(RequestError, match="is listed twice"):
        scoring.pairs_of(write_json(tmp_path / "list.json", [entry, entry]), "set")
