"""tampCOCO: lists, no copies, in constant memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import archives
import numpy as np
import pytest
from prepared import left_out, manifest, snapshot

from qmanet_benco.data.prepare.prepare import prepare
from qmanet_benco.errors import RequestError
from qmanet_benco.files import locked

STREAM = """
import resource, sys, time
from pathlib import Path
from qmanet_benco.data.prepare.prepare import prepare
prepare("tampcoco", Path(sys.argv[1]), Path(sys.argv[2]) / "warm")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = prepare("tampcoco", Path(sys.argv[3]), Path(sys.argv[2]) / "out")
print(made.tampered, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def entries(out: Path, part: str) -> list[list[str]]:
    return json.loads((out / f"{part}_COCO_list.json").read_text())


def test_four_lists_of_the_archives_own_files(archive, tmp_path):
    raw = archive("tampcoco")
    made = prepare("tampcoco", raw, tmp_path / "out")
    assert (made.tampered, made.left_out) == (16, 0)
    for part in ("sp", "cm", "bcm", "bcmc"):
        pairs = entries(tmp_path / "out", part)
        assert len(pairs) == 4
        for image, mask in pairs:
            assert Path(image).is_file()
            assert Path(image).is_absolute()
            assert Path(mask).parent.name == ("bcm_masks" if part == "bcmc" else f"{part}_masks")
            assert Path(image).stem == Path(mask).stem
    assert [line["pairs"] for line in manifest(tmp_path / "out")] == ["4"] * 4
    assert not any(path.suffix in {".jpg", ".png"} for path in (tmp_path / "out").rglob("*"))


def test_without_lists_the_folders_tell(archive, tmp_path):
    raw = archive("tampcoco")
    prepare("tampcoco", raw, tmp_path / "listed")
    for path in raw.rglob("*.txt"):
        path.unlink()
    prepare("tampcoco", raw, tmp_path / "scanned")
    for part in ("sp", "cm", "bcm", "bcmc"):
        assert entries(tmp_path / "scanned", part) == entries(tmp_path / "listed", part)


@pytest.mark.parametrize("place", ["beside", "above", "train"])
def test_lists_in_other_places(place, archive, tmp_path):
    raw = archive("tampcoco")
    for path in sorted((raw / "tampCOCO").glob("*.txt")):
        name = path.name.replace("_list", "_train_list") if place == "train" else path.name
        path.rename({"beside": path.parent, "above": raw, "train": path.parent}[place] / name)
    assert prepare("tampcoco", raw, tmp_path / "out").tampered == 16


def test_a_whole_list_goes_before_a_training_split(archive, tmp_path):
    raw = archive("tampcoco")
    (raw / "tampCOCO" / "sp_COCO_train_list.txt").write_text("sp_images/000000000000.jpg,sp_masks/000000000000.png\n")
    prepare("tampcoco", raw, tmp_path / "out")
    assert len(entries(tmp_path / "out", "sp")) == 4


def test_lines_that_lead_nowhere_are_left_out_and_said(archive, tmp_path):
    raw = archive("tampcoco")
    with (raw / "tampCOCO" / "sp_COCO_list.txt").open("a") as stream:
        stream.write("../../secret.jpg,sp_masks/000000000000.png\n\n/etc/hosts,sp_masks/000000000000.png\n")
        stream.write("sp_images/000000000000.jpg\nsp_images/absent.jpg,sp_masks/000000000000.png\n")
    made = prepare("tampcoco", raw, tmp_path / "out")
    assert (made.tampered, made.failed) == (16, 4)
    reasons = left_out(tmp_path / "out")
    assert "leaves the archive" in reasons["tampCOCO/sp_COCO_list.txt:5"]
    assert "leaves the archive" in reasons["tampCOCO/sp_COCO_list.txt:7"]
    assert "not in the archive" in reasons["tampCOCO/sp_COCO_list.txt:9"]


def test_a_line_without_end_is_left_out_and_costs_no_memory(archive, tmp_path):
    raw = archive("tampcoco")
    (listed,) = (raw / "tampCOCO").glob("sp_*.txt")
    whole = listed.read_text()
    with listed.open("w") as stream:
        for _ in range(64):
            stream.write("x" * (1 << 20))
        stream.write(f"\n{'y' * 4000}.jpg,{'y' * 4000}.png\n{whole}")
    tracemalloc.start()
    made = prepare("tampcoco", raw, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (made.tampered, made.left_out) == (16, 2)
    reasons = left_out(tmp_path / "out")
    assert "more than 10000 characters" in reasons[f"tampCOCO/{listed.name}:1"]
    assert "not in the archive" in reasons[f"tampCOCO/{listed.name}:2"]
    assert peak < 32 << 20


def test_one_run_at_a_time(archive, tmp_path):
    raw = archive("tampcoco")
    with locked(tmp_path / "out"), pytest.raises(RequestError, match="another run works in"):
        prepare("tampcoco", raw, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_repeated_lines_stay_and_are_said(archive, tmp_path, caplog):
    raw = archive("tampcoco")
    (listed,) = (raw / "tampCOCO").glob("sp_*.txt")
    listed.write_text(listed.read_text() * 2)
    made = prepare("tampcoco", raw, tmp_path / "out")
    assert (made.tampered, made.left_out) == (20, 0)
    assert "sp_COCO_list.txt: 4 lines repeat an earlier one" in caplog.text


def test_windows_paths_and_accents_in_lists_are_found(archive, tmp_path):
    raw = archive("tampcoco")
    (listed,) = (raw / "tampCOCO").glob("sp_*.txt")
    for folder, ending in (("sp_images", "jpg"), ("sp_masks", "png")):
        path = raw / "tampCOCO" / folder / f"000000000000.{ending}"
        path.rename(path.with_name(unicodedata.normalize("NFD", f"caf\u00e9.{ending}")))
    text = listed.read_text().replace("000000000000", unicodedata.normalize("NFC", "caf\u00e9")).replace("/", "\\")
    listed.write_text(text, encoding="utf-8")
    assert prepare("tampcoco", raw, tmp_path / "out").tampered == 16
    assert all(Path(file).is_file() for pair in entries(tmp_path / "out", "sp") for file in pair)


def test_without_lists_a_mask_may_keep_its_images_ending(archive, tmp_path):
    raw = archive("tampcoco")
    for path in raw.rglob("*.txt"):
        path.unlink()
    for path in (raw / "tampCOCO" / "sp_masks").iterdir():
        path.rename(path.with_name(f"{path.stem}.jpg.png"))
    prepare("tampcoco", raw, tmp_path / "out")
    assert [Path(mask).name for _, mask in entries(tmp_path / "out", "sp")] == [f"{n:012d}.jpg.png" for n in range(4)]


def test_dark_masks_are_noticed(archive, tmp_path):
    """The framework would see an empty mask where the archive has 0 and 1."""
    raw = archive("tampcoco")
    mask = raw / "tampCOCO" / "sp_masks" / "000000000000.png"
    archives.save(mask, archives.region(0).astype(np.uint8))
    made = prepare("tampcoco", raw, tmp_path / "out")
    assert made.failed == 1


def test_twice_is_as_once(archive, tmp_path):
    raw = archive("tampcoco")
    prepare("tampcoco", raw, tmp_path / "out")
    once = snapshot(tmp_path / "out")
    prepare("tampcoco", raw, tmp_path / "out")
    assert snapshot(tmp_path / "out") == once


@pytest.mark.slow
def test_memory_does_not_grow_with_the_list(archive, tmp_path):
    raw = archive("tampcoco")
    large = tmp_path / "large"
    archives.tampcoco(large, parts=("sp",))
    line = "sp_images/000000000001.jpg,sp_masks/000000000001.png\n"
    with (large / "tampCOCO" / "sp_COCO_list.txt").open("w") as stream:
        stream.writelines([line] * 60_000)
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(raw), str(tmp_path), str(large)], capture_output=True, text=True, check=True
    )
    pairs, kibibytes = map(int, done.stdout.split())
    assert pairs == 60_000
    assert kibibytes < 8 * 1024
