"""The check finds what would make figures wrong, and says nothing where there is nothing."""

from __future__ import annotations

import json

import archives
import numpy as np
import pytest
from PIL import Image
from prepared import SMALL
from typer.testing import CliRunner

from qmanet_benco.cli.main import app
from qmanet_benco.data.check.check import check
from qmanet_benco.data.prepare.prepare import prepare
from qmanet_benco.data.prepare.writer import PrepareOptions
from qmanet_benco.errors import RequestError


@pytest.fixture
def coverage(tmp_path):
    archives.coverage(tmp_path / "raw")
    prepare("coverage", tmp_path / "raw", tmp_path / "out")
    return tmp_path / "out"


def failures(out, name=None):
    return [finding.what for finding in check([out], name)[0].findings if finding.level == "failure"]


@pytest.mark.parametrize("name", [*SMALL, "tampcoco"])
def test_what_was_prepared_passes(name, archive, tmp_path):
    prepare(name, archive(name), tmp_path / "out")
    assert failures(tmp_path / "out") == []
    assert failures(tmp_path / "out", name)[-1].split(";")[1].startswith(" the paper has")


def test_the_full_archive_of_casiav1_agrees_with_table_4(casiav1_archive, tmp_path):
    prepare("casiav1", casiav1_archive[0], tmp_path / "out")
    (report,) = check([tmp_path / "out"], "casiav1", workers=2)
    assert not report.failed
    assert (report.tampered, report.expected) == (920, 920)
    assert report.kinds == {"copy-move": 459, "splice": 461}


def test_counts_resolutions_and_authentic_images(coverage, tmp_path):
    (report,) = check([coverage])
    assert (report.tampered, report.authentic, report.smallest) == (3, 0, (48, 40))
    prepare("coverage", tmp_path / "raw", tmp_path / "both", PrepareOptions(authentic=True))
    (report,) = check([tmp_path / "both" / "list.json"])
    assert (report.tampered, report.authentic, report.failed) == (3, 3, False)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((40, 48), np.uint8), "the mask is empty"),
        (np.full((40, 48), 100, np.uint8), "mid-grey"),
        (np.pad(np.full((20, 24), 200, np.uint8), ((0, 20), (0, 24))), "neither 0 nor 255"),
        (np.full((40, 40), 255, np.uint8), "40 x 40 pixels, the image 48 x 40"),
    ],
)
def test_a_bad_mask_is_found(mask, said, coverage):
    Image.fromarray(mask).save(coverage / "Gt" / "1t.png")
    assert any(said in what for what in failures(coverage))


def test_a_shifted_folder_is_found(coverage):
    (coverage / "Gt" / "1t.png").unlink()
    found = failures(coverage)
    assert "3 images in Tp, 2 masks in Gt" in found
    assert "no mask has its name" in found
    assert any("the framework pairs it with 2t.png" in what for what in found)


def test_a_truncated_image_is_found(coverage):
    path = coverage / "Tp" / "1t.tif"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:900])
    assert any("truncated" in what for what in failures(coverage))


def test_a_file_that_two_sets_share_is_a_leak(coverage, tmp_path):
    archives.coverage(tmp_path / "again", count=1)
    prepare("coverage", tmp_path / "again", tmp_path / "train")
    one, other = check([coverage, tmp_path / "train"])
    assert one.failed
    assert other.failed
    assert any("is in another set" in finding.what for finding in other.findings)


def test_a_recompressed_copy_in_another_set_is_noted(shared_data, tmp_path):
    photos = sorted((shared_data("casia1_dev") / "Au").iterdir())[:8]
    for folder, quality, chosen in (("one", 95, photos[:4]), ("two", 60, photos[3:])):
        for path in chosen:
            for place in ("Tp", "Gt"):
                (tmp_path / folder / place).mkdir(parents=True, exist_ok=True)
            with Image.open(path) as photo:
                photo.save(tmp_path / folder / "Tp" / path.name, quality=quality)
                mask = Image.new("L", photo.size, 0)
            mask.paste(255, (0, 0, 9, 9))
            mask.save(tmp_path / folder / "Gt" / f"{path.stem}.png")
    one, two = check([tmp_path / "one", tmp_path / "two"])
    assert not one.failed
    assert not two.failed
    alike = [finding for finding in one.findings if "looks like" in finding.what]
    assert len(alike) == 1
    assert photos[3].name in alike[0].what


def test_a_path_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(RequestError, match="no Tp and Gt"):
        check([tmp_path])
    (tmp_path / "list.json").write_text("{}")
    with pytest.raises(RequestError, match="with 2 paths"):
        check([tmp_path, tmp_path], "coverage")


def test_the_command_line(coverage):
    runner = CliRunner()
    done = runner.invoke(app, ["data", "check", str(coverage), "--json"])
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["ok"]
    assert document["sets"][0]["tampered"] == 3
    done = runner.invoke(app, ["data", "check", str(coverage), "--set", "coverage"])
    assert done.exit_code == 1
    assert "the paper has 100" in done.stdout
    assert "48 x 40" in done.stdout


def test_prepare_at_the_command_line(tmp_path):
    archives.casiav2(tmp_path / "raw")
    args = ["data", "prepare", "casiav2", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 1  # two masks that do not fit
    assert "3 pairs" in done.stdout
    args[2] = "casia9"
    assert isinstance(CliRunner().invoke(app, args).exception, RequestError)


def test_a_list_of_another_system_is_read_and_repetitions_are_said(coverage, tmp_path, monkeypatch):
    monkeypatch.chdir(coverage)
    entry = ["Tp\\1t.tif", "Gt\\1t.png"]
    (tmp_path / "list.json").write_text(json.dumps([entry, entry]))
    (report,) = check([tmp_path / "list.json"])
    assert not report.failed
    assert any(finding.what == "1 entries repeat an earlier one" for finding in report.findings)
