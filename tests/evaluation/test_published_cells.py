"""Every number that the paper prints has its measured one beside it, however the sets are spelled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from qmanet_benco.data.protocol import TESTS
from qmanet_benco.data.sets import SETS, data_set, set_title
from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.published import published
from qmanet_benco.evaluation.report.report import read_run
from qmanet_benco.evaluation.report.tables import paper_tables
from qmanet_benco.evaluation.suite.suite_file import read_suite, with_choices

TABLES = ("table1", "table2", "table5", "table6", "table7_8", "table9")
AVERAGE = "Avg"


def published_numbers(found: Any, *keys: str) -> Iterator[tuple[str, ...]]:
    """The keys of every number below."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from published_numbers(value, *keys, key)
    elif isinstance(found, float):
        yield keys


def everything_measured(root: Path, sets: dict[str, str]) -> None:
    """A run of the models and attacks of paper.yaml; ``sets`` gives each of its sets another name."""
    suite = read_suite("paper.yaml")
    rows = [
        dict(model=model.name, seed=0, set=sets[entry.name], attack=attack.name, level=attack.level, image="one")
        | {metric.name: 0.5 for metric in METRICS}
        for model in suite.models
        for entry in suite.sets
        for attack in suite.attacks
    ]
    (root / "records").mkdir(parents=True)
    pandas.DataFrame(rows).to_parquet(root / "records" / "all.parquet")
    described = {
        **dict(name="paper", image_size=512, resize="resize", precision="fp32", seed=0, batch=4, environment={}),
        "models": [dict(name=entry.name, model=entry.model, seed=0, footnotes=[]) for entry in suite.models],
        "sets": [dict(name=sets[entry.name], path="", images=1) for entry in suite.sets],
    }
    (root / "suite.json").write_text(json.dumps(described), encoding="utf-8")


@pytest.mark.parametrize(
    "spelled",
    [
        {},
        {"CocoGlide": "COCOGLide"},
        {"CASIAv1": "casia1", "Columbia": "columbia", "Coverage": "COVER", "NIST16": "nist-16", "CocoGlide": "glide"},
        {"NIST16": "NIST16 (long side 1024)", "AutoSplice": "autosplice", "CASIAv1": "CASIA v1.0"},
    ],
    ids=["paper", "as section 4.1", "lower case", "versions"],
)
def test_every_published_number_finds_its_measured_one(spelled: dict[str, str], tmp_path: Path) -> None:
    names = {entry.name: entry.name for entry in read_suite("paper.yaml").sets} | spelled
    everything_measured(tmp_path, names)
    cells = {}
    for table in paper_tables(read_run(tmp_path)):
        for panel in table.panels:
            for row in panel.rows:
                for column, cell in zip(panel.columns, row.cells, strict=True):
                    if cell.published is not None:
                        cells[table.key, panel.title, row.name, column] = cell
    assert len(cells) >= sum(len(list(published_numbers(published()[table]))) for table in TABLES)
    assert [key for key, cell in cells.items() if cell.value is None] == []


def test_the_numbers_are_the_papers(shared_data: Any) -> None:
    """The copy in the package against the one that was read out of the paper, where that is at hand."""
    given = shared_data("../paper/published.json")
    theirs = json.loads(given.read_text(encoding="utf-8"))
    for table in TABLES:
        assert published()[table] == theirs[table]


def test_lists_and_tables_spell_a_set_alike() -> None:
    titles = {SETS[name].title for name in TESTS}
    assert titles == {entry.name for entry in read_suite("paper.yaml").sets}
    for table in TABLES:
        named = {key for keys in published_numbers(published()[table]) for key in keys if set_title(key) in titles}
        assert named <= titles


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ("COCOGLide", "CocoGlide"),
        ("coco-glide", "CocoGlide"),
        ("CASIA1.0", "CASIAv1"),
        ("Casia_v2", "CASIAv2"),
        ("nist2016", "NIST16"),
        ("NIST16 (long side 1024)", "NIST16 (long side 1024)"),
        ("CASIAv1+", "CASIAv1+"),
        ("mine", "mine"),
    ],
)
def test_a_set_has_one_name(given: str, title: str) -> None:
    assert set_title(given) == title
    if title in {row.title for row in SETS.values()}:
        assert data_set(given).title == title


def test_a_path_for_a_set_in_another_spelling_replaces_its_path() -> None:
    suite = with_choices(read_suite("paper.yaml"), {"cocoglide": "elsewhere", "mine": "here"}, {})
    assert {entry.name: entry.path for entry in suite.sets}["CocoGlide"] == "elsewhere"
    assert [entry.name for entry in suite.sets if entry.path == "here"] == ["mine"]
    assert len(suite.sets) == 7


def test_both_versions_of_nist16_stand_side_by_side(tmp_path: Path) -> None:
    everything_measured(tmp_path, {entry.name: entry.name for entry in read_suite("paper.yaml").sets})
    suite = json.loads((tmp_path / "suite.json").read_text())
    suite["sets"].append(dict(name="NIST16 (long side 1024)", path="", images=1))
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    records = pandas.read_parquet(tmp_path / "records/all.parquet")
    other = records[records["set"] == "NIST16"].assign(set="NIST16 (long side 1024)", f1=0.75)
    other.to_parquet(tmp_path / "records/other.parquet")
    (table,) = [table for table in paper_tables(read_run(tmp_path)) if table.key == "table1"]
    assert table.panels[0].columns == ("CASIAv1", "Columbia", "Coverage", "NIST16", "Avg", "NIST16 (long side 1024)")
    row = next(row for row in table.panels[0].rows if row.name == "Mesorch")
    assert [cell.value for cell in row.cells] == pytest.approx([0.5] * 5 + [0.75])
    assert row.cells[-1].published is None


def test_a_version_in_the_sets_own_column_is_named(tmp_path: Path) -> None:
    names = {entry.name: entry.name for entry in read_suite("paper.yaml").sets}
    everything_measured(tmp_path, names | {"NIST16": "NIST16 (long side 1024)"})
    (table,) = [table for table in paper_tables(read_run(tmp_path)) if table.key == "table1"]
    assert "the column NIST16 is NIST16 (long side 1024)" in table.notes
