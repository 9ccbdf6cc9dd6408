"""The other sets, each with its traps; and what every preparer promises."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import archives
import numpy as np
import pytest
from PIL import Image
from prepared import SMALL, grey, left_out, manifest, pairs_of, snapshot

from qmanet_benco.data.prepare.prepare import prepare
from qmanet_benco.data.prepare.writer import PrepareOptions
from qmanet_benco.errors import RequestError


def test_casiav2_matches_a_misnamed_mask_and_leaves_the_doubtful_out(archive, tmp_path):
    made = prepare("casiav2", archive("casiav2"), tmp_path / "out")
    assert (made.tampered, made.failed) == (3, 2)
    assert np.array_equal(pairs_of(tmp_path / "out")["Tp_D_NRN_M_N_nat00001_art00002_11001"][1], archives.region(2))
    reasons = {Path(file).stem[-5:]: reason for file, reason in left_out(tmp_path / "out").items()}
    assert "12 x 8" in reasons["11002"]
    assert "turned by 90 degrees" in reasons["11003"]
    assert "no mask" in reasons["11004"]


@pytest.mark.parametrize("turns", [1, 3])
def test_a_turned_casiav2_mask_is_turned_back_if_the_photo_proves_it(turns, tmp_path):
    truth, photo = archives.region(2, (48, 32)), archives.picture(1, (48, 32)) // 2
    forged = np.where(truth[..., None], photo + 100, photo).astype(np.uint8)
    name = "Tp_D_NRN_M_N_nat00001_art00002_11003"
    archives.save(tmp_path / "raw" / "Tp" / f"{name}.tif", forged)
    archives.save(tmp_path / "raw" / "gt" / f"{name}_gt.png", np.rot90(truth, turns))
    assert prepare("casiav2", tmp_path / "raw", tmp_path / "unproven").failed == 1
    archives.save(tmp_path / "raw" / "Au" / "Au_art_00002.tif", archives.picture(7, (48, 32)))
    archives.save(tmp_path / "raw" / "Au" / "Au_nat_00001.tif", photo)
    prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(pairs_of(tmp_path / "out")[name][1], truth)
    assert "as the authentic photo proves" in manifest(tmp_path / "out")[0]["note"]


def test_columbia_green_side_is_white(archive, tmp_path):
    prepare("columbia", archive("columbia"), tmp_path / "out")
    pairs = pairs_of(tmp_path / "out")
    assert len(pairs) == 3
    for index, name in enumerate(sorted(pairs)):
        truth = archives.region(index, (64, 48))
        assert (pairs[name][1] != truth).mean() < 0.01  # the mask is a JPEG
    assert any("edgemask_3" in file for file in left_out(tmp_path / "out"))


def test_a_columbia_mask_without_colours_is_refused(tmp_path):
    archives.columbia(tmp_path / "raw")
    mask = next((tmp_path / "raw").rglob("*_02_edgemask.jpg"))
    Image.fromarray(archives.region(0, (64, 48)).astype(np.uint8) * 255).convert("RGB").save(mask)
    made = prepare("columbia", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (2, 1)


def test_coverage_takes_the_tampered_ones_and_fits_the_short_mask(archive, tmp_path):
    prepare("coverage", archive("coverage"), tmp_path / "out")
    pairs = pairs_of(tmp_path / "out")
    assert set(pairs) == {"1t", "2t", "3t"}
    assert np.array_equal(pairs["1t"][1], archives.region(1, (48, 40)))
    assert pairs["3t"][1].shape == (40, 48)
    assert [line["note"] for line in manifest(tmp_path / "out")] == ["", "", "mask scaled from 48 x 39 pixels"]


def test_nist16_is_inverted_and_follows_the_list(archive, tmp_path):
    prepare("nist16", archive("nist16"), tmp_path / "out")
    pairs = pairs_of(tmp_path / "out")
    assert len(pairs) == 3
    for index in range(3):
        assert np.array_equal(pairs[f"NC2016_{index:04d}"][1], archives.region(index, (96, 64)))
    assert [line["kind"] for line in manifest(tmp_path / "out")] == ["splice", "copy-move", "removal"]


def test_nist16_at_a_long_side_names_the_resampler(archive, tmp_path):
    options = PrepareOptions(long_side=64, resampler="bicubic")
    prepare("nist16", archive("nist16"), tmp_path / "out", options)
    lines = manifest(tmp_path / "out")
    assert [(line["width"], line["height"]) for line in lines] == [("64", "43")] * 3
    assert all(line["note"] == "scaled from 96 x 64 pixels by bicubic" for line in lines)
    assert all(mask.shape == (43, 64) for _, mask in pairs_of(tmp_path / "out").values())


@pytest.mark.parametrize("name", ["../../outside.jpg", "/etc/hostname", "..\\outside.jpg", "C:\\x.jpg"])
def test_a_list_cannot_name_files_outside_the_archive(name, tmp_path):
    archives.save(tmp_path / "outside.jpg", archives.picture(0, (96, 64)))
    row = {"ProbeFileName": name, "ProbeMaskFileName": "reference/manipulation/mask/NC2016_0000_gt.png"}
    archives.nist16(tmp_path / "raw", ({**row, "IsTarget": "Y"},))
    made = prepare("nist16", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (3, 1)
    assert any("leaves the archive" in reason for reason in left_out(tmp_path / "out").values())


def test_imd2020_pairs_within_the_folder_and_keeps_equal_names_apart(archive, tmp_path):
    prepare("imd2020", archive("imd2020"), tmp_path / "out")
    assert set(pairs_of(tmp_path / "out")) == {"1a1ogs_c8_0", "b2_c8_0", "b2_c8_1"}


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_drawn_on_the_turned_picture_is_turned_back(orientation, tmp_path):
    """The framework reads pixels as they are stored, without the EXIF orientation that viewers follow."""
    raw, truth = tmp_path / "raw" / "a", archives.region(4, (32, 24))
    raw.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(archives.picture(1, (32, 24))).save(raw / "a_0.jpg", exif=exif)
    turns = {5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    shown = Image.fromarray(truth.astype(np.uint8) * 255).transpose(Image.Transpose[turns[orientation]])
    shown.save(raw / "a_0_mask.png")
    prepare("imd2020", tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(pairs_of(tmp_path / "out")["a_0"][1], truth)


def test_masks_with_an_ending_of_their_own_belong_to_their_images(archive, tmp_path):
    raw = archive("fantasticreality")
    for path in (raw / "FantasticReality_v1" / "SegmentationFake").iterdir():
        path.rename(path.with_name(f"{path.stem}_classes{path.suffix}"))
    made = prepare("fantasticreality", raw, tmp_path / "out")
    assert (made.tampered, made.failed) == (3, 0)
    rows = manifest(tmp_path / "out")
    assert all(Path(row["source_mask"]).stem == f"{Path(row['source']).stem}_classes" for row in rows)


def test_fantasticreality_reads_class_ids_of_every_format(archive, tmp_path):
    made = prepare("fantasticreality", archive("fantasticreality"), tmp_path / "out")
    pairs = pairs_of(tmp_path / "out")
    for index in range(3):
        assert np.array_equal(pairs[f"{index:05d}"][1], archives.region(index, (40, 30)))
    assert made.lists == (tmp_path / "out" / "list.json",)
    assert not (tmp_path / "out" / "Tp").exists()


@pytest.mark.parametrize("table", [False, True])
def test_cocoglide_pairs_by_the_photo_not_by_position(table, tmp_path):
    archives.cocoglide(tmp_path / "raw", table=table)
    prepare("cocoglide", tmp_path / "raw", tmp_path / "out")
    pairs = pairs_of(tmp_path / "out")
    for index, coco in enumerate((901, 17, 4500)):
        assert np.array_equal(pairs[f"glide_inpainting_val2017_{coco}_up"][1], archives.region(index, (32, 32)))


def test_autosplice_at_a_level(archive, tmp_path):
    raw = archive("autosplice")
    prepare("autosplice", raw, tmp_path / "out", PrepareOptions(jpeg_level=75))
    pairs = pairs_of(tmp_path / "out")
    assert set(pairs) == {"71695_0", "71695_1", "8_0"}
    assert pairs["8_0"][0].read_bytes() == (raw / "Forged_JPEG75" / "8_0.jpg").read_bytes()
    assert np.array_equal(pairs["71695_1"][1], archives.region(1, (40, 40)))


@pytest.mark.parametrize("name", SMALL)
def test_nothing_is_silently_dropped(name, archive, tmp_path):
    raw = archive(name)
    prepare(name, raw, tmp_path / "out")
    named = {line[column] for line in manifest(tmp_path / "out") for column in ("source", "source_mask")}
    named |= set(left_out(tmp_path / "out"))
    lists = ("table.csv", "-ref.csv")
    files = {path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file()}
    assert {file for file in files if not file.endswith(lists)} <= named


@pytest.mark.parametrize("name", SMALL)
def test_the_manifest_tells_the_truth(name, archive, tmp_path):
    out = tmp_path / "out"
    prepare(name, archive(name), out)
    for line in manifest(out):
        assert hashlib.sha256((out / line["file"]).read_bytes()).hexdigest() == line["image_sha256"]
        assert hashlib.sha256((out / line["mask"]).read_bytes()).hexdigest() == line["mask_sha256"]
        mask = grey(out / line["mask"])
        assert (str(mask.shape[1]), str(mask.shape[0])) == (line["width"], line["height"])
        assert f"{mask.mean():.6f}" == line["tampered_fraction"]


@pytest.mark.parametrize("name", [*SMALL, "tampcoco"])
def test_twice_is_as_once_and_workers_change_nothing(name, archive, tmp_path):
    raw, out = archive(name), tmp_path / "out"
    prepare(name, raw, out)
    once = snapshot(out)
    assert not any(file.startswith(".partial") or "journal" in file for file in once)
    prepare(name, raw, out)
    assert snapshot(out) == once
    prepare(name, raw, tmp_path / "second" / "out", workers=3)
    again = {file: content for file, content in snapshot(tmp_path / "second" / "out").items() if file != "list.json"}
    assert again == {file: content for file, content in once.items() if file != "list.json"}


@pytest.mark.parametrize("name", SMALL)
def test_upper_case_and_nesting_change_no_pair(name, archive, tmp_path):
    raw = archive(name)
    prepare(name, raw, tmp_path / "plain")
    deep = tmp_path / "deep" / "Some Folder"
    for path in raw.rglob("*"):
        if path.is_file():
            place = deep / path.relative_to(raw).as_posix().upper()
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    prepare(name, tmp_path / "deep", tmp_path / "out")
    plain = {stem.casefold(): mask for stem, (_, mask) in pairs_of(tmp_path / "plain").items()}
    upper = {stem.casefold(): mask for stem, (_, mask) in pairs_of(tmp_path / "out").items()}
    assert plain.keys() == upper.keys()
    assert all(np.array_equal(plain[stem], upper[stem]) for stem in plain)


def test_authentic_images_come_as_negative(archive, tmp_path):
    made = prepare("coverage", archive("coverage"), tmp_path / "out", PrepareOptions(authentic=True))
    assert (made.tampered, made.authentic) == (3, 3)
    entries = json.loads((tmp_path / "out" / "list.json").read_text())
    assert sum(mask == "Negative" for _, mask in entries) == 3
    assert all(Path(image).is_absolute() and Path(image).is_file() for image, _ in entries)
    assert len(list((tmp_path / "out" / "Tp").iterdir())) == 3


def test_truncated_and_empty_files_are_left_out_by_name(archive, tmp_path):
    raw = archive("coverage")
    whole = (raw / "image" / "1t.tif").read_bytes()
    (raw / "image" / "1t.tif").write_bytes(whole[: len(whole) // 2])
    archives.save(raw / "mask" / "2forged.tif", np.zeros((40, 48), bool))
    made = prepare("coverage", raw, tmp_path / "out")
    assert (made.tampered, made.failed) == (1, 2)
    reasons = left_out(tmp_path / "out")
    assert "truncated" in reasons["image/1t.tif"]
    assert "empty" in reasons["image/2t.tif"]
    assert set(pairs_of(tmp_path / "out")) == {"3t"}


def test_truncated_jpegs_are_found(tmp_path):
    archives.casiav1(tmp_path / "raw", names=archives.casiav1_names()[:3])
    for path in (tmp_path / "raw" / "Tp" / "CM").glob("*_1001.jpg"):
        Image.fromarray(archives.picture(1, (240, 160))).save(path)
        path.write_bytes(path.read_bytes()[:-900])
        archives.save(next((tmp_path / "raw").rglob("*_1001_gt.png")), archives.region(1, (240, 160)))
    made = prepare("casiav1", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (2, 1)


def test_dots_in_names_cannot_shift_the_frameworks_pairs(tmp_path):
    for name in ("a", "a.k", "a.b", "a-b", "a_b"):
        archives.save(tmp_path / "raw" / "x" / f"{name}.jpg", archives.picture(1, (32, 24)))
        archives.save(tmp_path / "raw" / "x" / f"{name}_mask.png", archives.region(len(name), (32, 24)))
    prepare("imd2020", tmp_path / "raw", tmp_path / "out")
    assert len(pairs_of(tmp_path / "out")) == 5


def test_a_foreign_folder_is_refused(archive, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(RequestError, match="is not empty"):
        prepare("coverage", archive("coverage"), tmp_path / "out")
    assert snapshot(tmp_path / "out") == {"thesis.txt": b"years of work"}


def test_other_choices_need_another_folder(archive, tmp_path):
    raw = archive("coverage")
    prepare("coverage", raw, tmp_path / "out")
    with pytest.raises(RequestError, match="was prepared as"):
        prepare("coverage", raw, tmp_path / "out", PrepareOptions(authentic=True))


def test_wrong_requests_say_what_to_do(archive, tmp_path):
    raw = archive("coverage")
    with pytest.raises(RequestError, match="one of casiav1"):
        prepare("casia9", raw, tmp_path / "out")
    with pytest.raises(RequestError, match="holds no pair of Columbia"):
        prepare("columbia", raw, tmp_path / "out")
    with pytest.raises(RequestError, match="no folder"):
        prepare("coverage", tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(RequestError, match="inside the archive"):
        prepare("coverage", raw, raw / "out")
    with pytest.raises(RequestError, match="one of lanczos"):
        prepare("coverage", raw, tmp_path / "out", PrepareOptions(resampler="best"))
    assert not (tmp_path / "out").exists()


def test_the_table_of_cocoglide_may_disagree_with_the_names(tmp_path):
    """The authors' table is the authority: here it swaps two masks."""
    archives.cocoglide(tmp_path / "raw", table=True)
    table = tmp_path / "raw" / "CocoGlide" / "table.csv"
    rows = list(csv.reader(table.open(encoding="utf-8-sig")))
    rows[1][2], rows[2][2] = rows[2][2], rows[1][2]
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    prepare("cocoglide", tmp_path / "raw", tmp_path / "out")
    pairs = pairs_of(tmp_path / "out")
    assert np.array_equal(pairs["glide_inpainting_val2017_901_up"][1], archives.region(1, (32, 32)))
