"""What a prediction leaves on the disk: one bad file stops nothing, and nobody's files are overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_models import miniature, photo
from PIL import Image

from qmanet_benco.apps import outputs as room
from qmanet_benco.apps.outputs import predict_all
from qmanet_benco.apps.photo import photos_below
from qmanet_benco.cli.main import main
from qmanet_benco.errors import RequestError
from qmanet_benco.model.network import QMANetwork


@pytest.fixture(scope="module")
def model() -> QMANetwork:
    return miniature(64)


def saved(path: Path, seed: int = 0) -> Path:
    """A photo's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(80, 96, seed)).save(path)
    return path


def run(model: QMANetwork, photos: list[Path], out: Path) -> list[dict]:
    return list(predict_all(model, photos, out, weights="w"))


def test_bad_file_does_not_stop_the_others_and_equal_stems_do_not_meet(model: QMANetwork, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    Image.fromarray(photo()).save(source / "a.jpg")
    Image.fromarray(photo(seed=1)).save(source / "A.png")
    (source / "b.jpg").write_text("no photo")
    (source / "notes.txt").write_text("not taken from a folder")
    records = run(model, photos_below([source]), tmp_path / "out")
    assert [Path(record["file"]).name for record in records] == ["A.png", "a.jpg", "b.jpg"]
    assert ["error" in record for record in records] == [False, False, True]
    names = [name for record in records[:2] for name in record["outputs"]]
    assert len(set(names)) == 6
    for record in records[:2]:
        mask, _, probability = (np.asarray(Image.open(tmp_path / "out" / name)) for name in record["outputs"])
        assert mask.shape == probability.shape == (90, 130)
        assert set(np.unique(mask)) <= {0, 255}
        assert mask.mean() / 255 == pytest.approx(record["tampered_fraction"])
        assert ((probability > 65535 / 2) == (mask > 0)).mean() > 0.999
    stem = records[0]["outputs"][0].removesuffix(".mask.png")
    assert json.loads((tmp_path / "out" / f"{stem}.json").read_text()) == records[0]


def test_results_of_the_same_photo_are_replaced_and_other_files_stay(model: QMANetwork, tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.png")
    truth = tmp_path / "photo.mask.png"
    truth.write_bytes(b"drawn by hand")
    (record,) = run(model, [path], tmp_path)
    assert "photo.mask.png exists and is no result" in record["error"]
    assert truth.read_bytes() == b"drawn by hand"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["photo.mask.png", "photo.png"]
    for _ in range(2):
        (record,) = run(model, [path], tmp_path / "out")
        assert record["outputs"][0] == "photo.mask.png"
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_photo_of_the_same_name_gets_the_next_number_from_whatever_folder(
    model: QMANetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cameras count from IMG_0001 in every folder, and the path may be relative to any of them."""
    out = tmp_path / "out"
    for index in range(2):
        folder = saved(tmp_path / f"c{index}" / "IMG.png", index).parent
        monkeypatch.chdir(folder)
        (record,) = run(model, [Path("IMG.png")], out)
        assert record["outputs"][0] == ("IMG.mask.png", "IMG-2.mask.png")[index]
        (again,) = run(model, [folder / "IMG.png"], out)
        assert again["outputs"] == record["outputs"]


def test_numbers_do_not_depend_on_what_else_is_asked_for(model: QMANetwork, tmp_path: Path) -> None:
    first, second = (saved(tmp_path / name / "s.png", seed) for seed, name in enumerate("xy"))
    both = run(model, [first, second], tmp_path / "out")
    assert run(model, [second], tmp_path / "out") == both[1:]
    first.write_text("no photo any more")
    assert run(model, [first, second], tmp_path / "out")[1] == both[1]
    for asked in ([first, second], [second]):  # the first fails, so its name is free
        assert run(model, asked, tmp_path / "new")[-1]["outputs"][0] == "s.mask.png"
    saved(first)
    names = [record["outputs"][0] for record in run(model, [first, second], tmp_path / "new")]
    assert names == ["s-2.mask.png", "s.mask.png"]
    capital = saved(tmp_path / "z" / "S.png")
    for asked in ([capital, second], [capital]):
        assert run(model, asked, tmp_path / "new")[0]["outputs"][0] == "S-3.mask.png"


def test_two_commands_at_once_do_not_share_a_name(model: QMANetwork, tmp_path: Path) -> None:
    first, second = (saved(tmp_path / name / "s.png", seed) for seed, name in enumerate("xy"))
    here, there = (predict_all(model, [path], tmp_path / "out", weights="w") for path in (first, second))
    whole = room.read_photo

    def slow(path: Path) -> np.ndarray:
        nonlocal there
        if path == first:
            assert next(there)["outputs"][0] == "s-2.mask.png"
        return whole(path)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(room, "read_photo", slow)
        assert next(here)["outputs"][0] == "s.mask.png"


def test_a_photo_that_fails_leaves_nothing(model: QMANetwork, tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_text("no photo")
    (tmp_path / "loop.png").symlink_to("loop.png")
    good = saved(tmp_path / "a.png")
    records = run(model, photos_below([tmp_path / "b.jpg", tmp_path / "loop.png", good]), tmp_path / "out")
    assert ["error" in record for record in records] == [True, True, False]
    assert {path.name.split(".")[0] for path in (tmp_path / "out").iterdir()} == {"a"}


def test_what_a_killed_run_left_is_taken_for_this_photo_s(
    model: QMANetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = saved(tmp_path / "photo.png"), tmp_path / "out"
    whole = room.write_bytes_atomically

    def killed(file: Path, content: bytes) -> None:
        if file.name.endswith(".heatmap.png"):
            raise KeyboardInterrupt
        whole(file, content)

    monkeypatch.setattr(room, "write_bytes_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        run(model, [path], out)
    assert json.loads((out / "photo.json").read_text())["complete"] is False
    monkeypatch.undo()
    (record,) = run(model, [path], out)
    assert json.loads((out / "photo.json").read_text()) == record
    assert "complete" not in record


def test_results_are_no_photos_of_a_folder(model: QMANetwork, tmp_path: Path) -> None:
    saved(tmp_path / "a.png")
    saved(tmp_path / "drawn.mask.png")  # somebody's photo of that name: no record lies beside it
    (tmp_path / "._a.png").write_bytes(b"of macOS")
    (tmp_path / ".a.heatmap.png.k3x9.png").write_bytes(b"of a killed command")
    for out in (tmp_path, tmp_path / "predictions"):
        for _ in range(2):
            found = photos_below([tmp_path, tmp_path / "a.png"])
            assert [path.name for path in found] == ["a.png", "drawn.mask.png"]
            assert not any("error" in record for record in run(model, found, out))


def test_a_long_name_is_shortened_and_one_that_is_no_text_is_kept(model: QMANetwork, tmp_path: Path) -> None:
    long = saved(tmp_path / ("照" * 80 + ".png"))
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.png"))
    odd.write_bytes(long.read_bytes())
    records = run(model, [long, odd], tmp_path / "out")
    for record in records:
        assert (tmp_path / "out" / record["outputs"][0]).is_file()
    assert records[0]["outputs"][0].encode("utf-8")


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_a_folder_that_cannot_be_is_refused_before_anything_is_computed(
    model: QMANetwork, tmp_path: Path, out: str
) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RequestError, match="--out"):
        run(model, [saved(tmp_path / "a.png")], tmp_path / out)


def test_the_record_says_how_the_mask_was_made(model: QMANetwork, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png")
    strict, lax = (
        next(predict_all(model, [path], tmp_path / "out", weights="w", threshold=threshold)) for threshold in (0.9, 0.1)
    )
    assert strict["tampered_fraction"] <= lax["tampered_fraction"]
    assert (strict["threshold"], strict["resolution"], strict["model"]["engine"]) == (0.9, "64", "torch")


BIG = """
import resource, sys
from pathlib import Path
import numpy as np
from PIL import Image
from qmanet_benco import load_model
from qmanet_benco.apps.outputs import predict_all

height, width = 4000, 6000
shade = np.linspace(0, 255, width)[None, :, None] * np.linspace(0.3, 1, height)[:, None, None]
Image.fromarray(np.repeat(shade, 3, axis=2).astype(np.uint8)).save("big.jpg")
del shade
(record,) = predict_all(load_model("demo"), [Path("big.jpg")], Path("out"), weights="demo", native=True)
assert "error" not in record, record
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_24_megapixels_at_their_own_resolution_fit_into_4_gib(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", BIG], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < 4 * 2**20
    assert (tmp_path / "out" / "big.heatmap.png").is_file()


def test_command_prints_one_json_document_and_ends_with_1_where_a_photo_failed(
    model: QMANetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.save(model.state_dict(), tmp_path / "model.pth")
    Image.fromarray(photo()).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_text("no photo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["qmanet", "predict", "a.jpg", "b.jpg", "--weights", "model.pth", "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    written = capfd.readouterr()
    assert end.value.code == 1, written.err
    good, bad = json.loads(written.out)
    assert good["file"] == "a.jpg"
    assert "b.jpg cannot be read" in bad["error"]
    assert (tmp_path / "predictions" / "a.mask.png").is_file()
