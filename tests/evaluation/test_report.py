"""Tables say what the records say, beside the published numbers; the HTML report is one inert, sortable file."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas
import pytest
from made_runs import EVIL, SETS, make_run
from PIL import Image

from browsers import chromium
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.published import published
from qmanet_benco.evaluation.report.report import make_report, read_run
from qmanet_benco.evaluation.report.tables import paper_tables


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pandas.DataFrame]:
    root = tmp_path_factory.mktemp("run") / "out"
    records = make_run(root)
    make_report(root)
    return root, records


def lines_of(root: Path, table: str) -> list[dict[str, str]]:
    with (root / "report" / "tables" / f"{table}.csv").open() as stream:
        return list(csv.DictReader(stream))


def cell(root: Path, table: str, panel: str, model: str, column: str) -> dict[str, str]:
    wanted = (panel, model, column)
    (found,) = [line for line in lines_of(root, table) if (line["panel"], line["model"], line["column"]) == wanted]
    return found


def test_measured_cell_is_the_mean_over_images_and_then_over_seeds(made: tuple[Path, pandas.DataFrame]) -> None:
    root, records = made
    for name in SETS[:4]:
        chosen = records[(records.model == "QMA-Net") & (records.set == name) & (records.attack == "none")]
        means = [np.mean([row.f1 for row in chosen.itertuples() if row.seed == seed]) for seed in (0, 1)]
        found = cell(root, "table1", "Pixel F1", "QMA-Net", name)
        assert float(found["measured"]) == pytest.approx(np.mean(means), abs=1e-6)
        assert float(found["deviation"]) == pytest.approx(np.std(means, ddof=1), abs=1e-6)
        assert (found["seeds"], found["images"]) == ("2", "5")
        assert float(found["published"]) == published()["table1"]["pixel_f1"]["QMA-Net"][name]
        assert float(found["difference"]) == pytest.approx(np.mean(means) - float(found["published"]), abs=2e-6)


def test_average_counts_each_set_once_and_robustness_each_level(made: tuple[Path, pandas.DataFrame]) -> None:
    root, records = made
    sets = [float(cell(root, "table1", "Pixel F1", "TruFor", name)["measured"]) for name in SETS[:4]]
    assert float(cell(root, "table1", "Pixel F1", "TruFor", "Avg")["measured"]) == pytest.approx(
        np.mean(sets), abs=2e-6
    )
    attacked = records[(records.model == "TruFor") & (records.set == "NIST16") & (records.attack == "jpeg")]
    expected = attacked.groupby("level").f1.mean().mean()
    assert float(cell(root, "table7_8", "NIST16", "TruFor", "JPEG")["measured"]) == pytest.approx(expected, abs=1e-6)


def test_what_was_not_measured_says_so_and_never_shows_a_number_as_measured(
    made: tuple[Path, pandas.DataFrame],
) -> None:
    root, _ = made
    assert cell(root, "table1", "Pixel F1", "SAM", "CASIAv1")["measured"] == ""
    text = (root / "report" / "tables" / "table1.md").read_text()
    assert "| SAM | not measured (published 0.627)" in text
    assert "not measured (published" in (root / "report" / "tables" / "table6.md").read_text()


def test_best_is_bold_and_second_underlined(made: tuple[Path, pandas.DataFrame]) -> None:
    root, _ = made
    for name in SETS[:4]:
        lines = [line for line in lines_of(root, "table1") if (line["panel"], line["column"]) == ("Pixel F1", name)]
        by_rank = sorted((line for line in lines if line["measured"]), key=lambda line: -float(line["measured"]))
        assert [line["rank"] for line in by_rank[:2]] == ["1", "2"]
        best, second = (f"{float(line['measured']):.3f}" for line in by_rank[:2])
        text = (root / "report" / "tables" / "table1.md").read_text()
        assert f"**{best}**" in text
        assert f"<u>{second}</u>" in text
        tex = (root / "report" / "tables" / "table1.tex").read_text()
        assert rf"\textbf{{{best}}}" in tex
        assert rf"\underline{{{second}}}" in tex


def test_every_published_row_of_every_table_is_there(made: tuple[Path, pandas.DataFrame]) -> None:
    root, _ = made
    for table, blocks in {
        "table1": ("pixel_f1", "pixel_auc"),
        "table2": ("pixel_f1",),
        "table9": ("pixel_f1",),
    }.items():
        for block in blocks:
            shown = {line["model"] for line in lines_of(root, table)}
            assert set(published()[table][block]) <= shown, (table, block)
    assert cell(root, "table9", "Pixel F1", "16 queries (QMA-Net)", "CASIAv1")["seeds"] == "2"


def test_latex_is_balanced_and_escaped(made: tuple[Path, pandas.DataFrame]) -> None:
    root, _ = made
    for path in (root / "report" / "tables").glob("*.tex"):
        text = path.read_text()
        for environment in ("table", "tabular"):
            assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") > 0
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert re.search(r"(?<!\\)[%#]", text) is None
        columns = 0
        for line in text.splitlines():
            if line.startswith(r"\begin{tabular}"):
                columns = len(line.rsplit("{", 1)[1].rstrip("}"))
            if line.endswith(r"\\") and not line.startswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == columns - 1, line


def test_footnotes_stand_under_the_table(made: tuple[Path, pandas.DataFrame]) -> None:
    root, _ = made
    text = (root / "report" / "tables" / "table1.md").read_text()
    assert "| TruFor<sup>1</sup> |" in text
    assert "1. 50 % &amp; more" in text


def test_figures_are_pictures_of_some_size(made: tuple[Path, pandas.DataFrame]) -> None:
    root, _ = made
    for name in ("figure3", "figure4"):
        with Image.open(root / "report" / "figures" / f"{name}.png") as image:
            assert min(image.size) > 300
            assert np.asarray(image.convert("L")).std() > 5
        assert (root / "report" / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_chosen_images_and_formats_alone_are_made(made: tuple[Path, pandas.DataFrame], tmp_path: Path) -> None:
    root = shutil.copytree(made[0], tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    written = make_report(root, ("csv",), images=("photo 3",))
    assert {path.suffix for path in written} == {".csv", ".png", ".pdf"}
    with pytest.raises(RequestError, match="docx"):
        make_report(root, ("docx",))


def test_records_of_models_that_left_the_suite_are_not_shown(
    made: tuple[Path, pandas.DataFrame], tmp_path: Path
) -> None:
    root = shutil.copytree(made[0], tmp_path / "copy")
    described = json.loads((root / "suite.json").read_text())
    described["models"] = [entry for entry in described["models"] if entry["name"] != "TruFor"]
    (root / "suite.json").write_text(json.dumps(described))
    run = read_run(root)
    assert "TruFor" not in set(run.records["row"])
    (row,) = [row for row in paper_tables(run)[0].panels[0].rows if row.name == "TruFor"]
    assert all(cell.value is None for cell in row.cells)


def test_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"suite\.json"):
        make_report(tmp_path)
    (tmp_path / "suite.json").write_text("{}")
    with pytest.raises(RequestError, match="no records"):
        make_report(tmp_path)


# in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium(performance="ALL") as opened:
        yield opened


def test_gallery_sorts_and_filters_and_names_are_inert(
    made: tuple[Path, pandas.DataFrame], browser: object, tmp_path: Path
) -> None:
    from selenium.webdriver.support.ui import Select

    page = shutil.copy(made[0] / "report" / "report.html", tmp_path / "alone.html")
    browser.get(f"file://{page}")

    def shown() -> list[tuple[str, float]]:
        items = browser.find_elements("css selector", ".item")
        return [(item.get_attribute("data-name"), float(item.get_attribute("data-f1"))) for item in items]

    def choose(name: str, value: str) -> None:
        Select(browser.find_element("id", name)).select_by_value(value)

    assert len(shown()) == 25
    assert [f1 for _, f1 in shown()] == sorted(f1 for _, f1 in shown())
    choose("order", "best")
    choose("by", "TruFor")
    choose("set", "Columbia")
    records = made[1]
    chosen = records[(records.model == "TruFor") & (records.set == "Columbia") & (records.attack == "none")]
    expected = chosen.sort_values("f1", ascending=False)
    assert [name for name, _ in shown()] == list(expected.image)
    assert [f1 for _, f1 in shown()] == pytest.approx(list(expected.f1))
    assert browser.title != "caught"
    assert EVIL in browser.find_element("tag name", "body").text
    assert all(width > 0 for width in browser.execute_script("return [...document.images].map(i => i.naturalWidth)"))


def test_report_asks_for_nothing_outside_itself(made: tuple[Path, pandas.DataFrame], browser: object) -> None:
    browser.get_log("performance")
    browser.get(f"file://{made[0] / 'report' / 'report.html'}")
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    sent = [request["request"]["url"] for request in requests]
    assert [url for url in sent if not url.startswith(("data:", "file:"))] == []
    assert len([url for url in sent if url.startswith("file:")]) == 1
