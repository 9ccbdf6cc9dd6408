"""The paper's training and test lists, from whatever sets are prepared."""

from __future__ import annotations

import json

import archives
import pytest
from typer.testing import CliRunner

from qmanet_benco.cli.main import app
from qmanet_benco.data.prepare.prepare import prepare
from qmanet_benco.data.prepare.writer import PrepareOptions
from qmanet_benco.data.protocol import write_protocol
from qmanet_benco.errors import RequestError

TRAINING = ("casiav2", "fantasticreality", "imd2020", "tampcoco")
TESTS = ("columbia", "coverage", "nist16", "cocoglide", "autosplice")


@pytest.fixture
def prepared(tmp_path):
    for name in (*TRAINING, *TESTS):
        getattr(archives, name)(tmp_path / "raw" / name)
        prepare(name, tmp_path / "raw" / name, tmp_path / "sets" / f"my {name}")
    archives.casiav1(tmp_path / "raw" / "casiav1", names=archives.casiav1_names()[:3])
    prepare("casiav1", tmp_path / "raw" / "casiav1", tmp_path / "sets" / "casiav1")
    return tmp_path / "sets"


def test_seven_entries_and_six_tests(prepared, tmp_path):
    made = write_protocol(prepared, tmp_path / "lists")
    assert (made.entries, made.tests, dict(made.missing)) == (7, 6, {})
    entries = json.loads(made.train.read_text())
    kinds = [kind for kind, _ in entries]
    assert kinds == ["ManiDataset", "JsonDataset", "ManiDataset", *["JsonDataset"] * 4]
    assert [path.rsplit("/", 1)[1] for _, path in entries[3:]] == [
        "sp_COCO_list.json",
        "cm_COCO_list.json",
        "bcm_COCO_list.json",
        "bcmc_COCO_list.json",
    ]
    tests = json.loads(made.test.read_text())
    assert set(tests) == {"CASIAv1", "Columbia", "Coverage", "NIST16", "CocoGlide", "AutoSplice"}


def test_both_versions_of_nist16_are_listed_under_names_that_tell_them_apart(prepared, tmp_path):
    options = PrepareOptions(long_side=64)
    prepare("nist16", tmp_path / "raw" / "nist16", prepared / "nist16 small", options)
    tests = json.loads(write_protocol(prepared, tmp_path / "lists").test.read_text())
    assert tests["NIST16"] == str(prepared / "my nist16")
    assert tests["NIST16 (long side 64)"] == str(prepared / "nist16 small")


def test_the_framework_accepts_the_training_list(prepared, tmp_path):
    datasets = pytest.importorskip("IMDLBenCo.datasets")
    made = write_protocol(prepared, tmp_path / "lists")
    balanced = datasets.BalancedDataset(str(made.train), is_padding=False, is_resizing=True, output_size=(32, 32))
    assert len(balanced) == 12_880
    for index in range(0, 12_880, 1840):
        item = balanced[index]
        assert item["label"] == 1
        assert item["mask"].max() == 1


def test_missing_sets_are_named_with_their_commands(prepared, tmp_path):
    (prepared / "my nist16").rename(tmp_path / "elsewhere")
    (prepared / "my tampcoco" / "cm_COCO_list.json").unlink()
    made = write_protocol(prepared, tmp_path / "lists")
    assert (made.entries, made.tests) == (6, 5)
    assert set(made.missing) == {"nist16", "tampcoco cm"}
    assert made.missing["nist16"].startswith("qmanet data prepare nist16 --raw")
    done = CliRunner().invoke(app, ["data", "protocol-cat", "--root", str(prepared), "--out", str(tmp_path / "l")])
    assert done.exit_code == 1
    assert "6 of 7 entries" in done.stdout


def test_an_unfinished_set_counts_as_missing(prepared, tmp_path):
    (prepared / "my coverage" / "manifest.csv").unlink()
    assert "coverage" in write_protocol(prepared, tmp_path / "lists").missing


def test_a_root_without_sets_is_refused(tmp_path):
    with pytest.raises(RequestError, match="holds no prepared set"):
        write_protocol(tmp_path, tmp_path / "lists")
    with pytest.raises(RequestError, match="no folder"):
        write_protocol(tmp_path / "nowhere", tmp_path / "lists")
