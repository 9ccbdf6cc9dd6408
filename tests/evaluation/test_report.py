"""Tables say what the records say, beside the published numbers; the HTML report is one inert, sortable file."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas
import pytest
from made_runs import EVIL, SETS, make_run
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from browsers import chromium
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.published import published
from qmanet_benco.evaluation.report.detection import detection_table
from qmanet_benco.evaluation.report.figures import Shown, plt, qualitative_grid, robustness_curves, style
from qmanet_benco.evaluation.report.gallery import gallery_of
from qmanet_benco.evaluation.report.report import make_report, read_run
from qmanet_benco.evaluation.report.summary import summary
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


def test_published_numbers_stand_in_lines_of_their_own(made: tuple[Path, pandas.DataFrame]) -> None:
    root, _ = made
    assert cell(root, "table1", "Pixel F1", "SAM", "CASIAv1")["measured"] == ""
    text = (root / "report" / "tables" / "table1.md").read_text()
    assert "| *SAM, published* | *0.627* |" in text
    lines = text.splitlines()
    own = next(place for place, line in enumerate(lines) if line.startswith("| TruFor"))
    assert "published" not in lines[own]
    assert lines[own + 1].startswith("| *published* | *0.700* |")
    tex = (root / "report" / "tables" / "table1.tex").read_text()
    assert r"\footnotesize SAM, published & \footnotesize\textit{0.627}" in tex


def test_tables_in_which_nothing_was_measured_are_left_out_and_named(tmp_path: Path) -> None:
    make_run(tmp_path / "out", sets=("my own photos",))
    make_report(tmp_path / "out")
    tables = {path.stem for path in (tmp_path / "out" / "report" / "tables").glob("*.csv")}
    assert tables == {"overview", "everything"}
    text = (tmp_path / "out" / "report" / "report.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("Left out")]
    for name in ("Table 1", "Table 2", "Table 5", "Table 6", "Tables 7 and 8", "Table 9", "Image-level detection"):
        assert name in line
    assert "needs one of the sets CASIAv1, Columbia, Coverage, NIST16" in line
    assert "the key authentic of a set" in line
    assert text.index("Who is ahead") < text.index("Localization") < text.index("How this was made")


def test_report_of_less_removes_the_tables_of_one_of_more(tmp_path: Path) -> None:
    root = tmp_path / "out"
    make_run(root, sets=("CASIAv1",))
    (root / "report" / "tables").mkdir(parents=True)
    (root / "report" / "tables" / "table6.csv").write_text("old")
    (root / "report" / "tables" / "mine.csv").write_text("mine")
    make_report(root, ("csv",))
    assert {"table1", "mine"} <= {path.stem for path in (root / "report" / "tables").iterdir()}
    assert not (root / "report" / "tables" / "table6.csv").exists()


def test_measured_only_has_no_published_number(made: tuple[Path, pandas.DataFrame], tmp_path: Path) -> None:
    root = shutil.copytree(made[0], tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    make_report(root, ("md", "latex", "csv"), only_measured=True)
    assert all(line["published"] == "" for line in lines_of(root, "table1"))
    assert {line["model"] for line in lines_of(root, "table1")} == {"QMA-Net", "TruFor", EVIL}
    for ending in (".md", ".tex"):
        for path in (root / "report" / "tables").glob(f"*{ending}"):
            assert re.search(r"\*published|, published|size published", path.read_text()) is None, path


def test_deviation_of_an_average_is_that_of_the_seeds_averages(made: tuple[Path, pandas.DataFrame]) -> None:
    root, records = made
    chosen = records[(records.model == "QMA-Net") & records.set.isin(SETS[:4]) & (records.attack == "none")]
    averages = chosen.groupby(["seed", "set"]).f1.mean().groupby("seed").mean()
    found = cell(root, "table1", "Pixel F1", "QMA-Net", "Avg")
    assert float(found["deviation"]) == pytest.approx(np.std(averages, ddof=1), abs=1e-6)


def test_attack_averages_stand_without_and_with_the_unattacked_images(made: tuple[Path, pandas.DataFrame]) -> None:
    root, records = made
    chosen = records[(records.model == "TruFor") & (records.set == "NIST16")]
    levels = chosen[chosen.attack.isin(["jpeg", "none"])].groupby(["attack", "level"]).f1.mean()
    assert len(levels) == 3
    without = cell(root, "table7_8", "NIST16", "TruFor", "JPEG")
    assert float(without["measured"]) == pytest.approx(levels["jpeg"].mean(), abs=1e-6)
    found = cell(root, "table7_8", "NIST16, and without attack", "TruFor", "JPEG")
    assert float(found["measured"]) == pytest.approx(levels.mean(), abs=1e-6)
    assert found["published"] == without["published"]


def test_noise_says_whether_its_level_is_a_variance_or_a_standard_deviation(
    made: tuple[Path, pandas.DataFrame],
) -> None:
    root, _ = made
    report = root / "report"
    for path in [report / "report.html", report / "report.md", *(report / "tables").glob("table7_8.*")]:
        text = path.read_text()
        assert "noise (variance)" in text, path
        assert "noise (standard deviation)" in text, path
    for path in (report / "tables").glob("everything.*"):
        assert "noise, variance 11" in path.read_text(), path


def test_authentic_images_count_in_detection_and_in_no_mean_over_pixels(tmp_path: Path) -> None:
    root = tmp_path / "out"
    records = make_run(root, sets=("CASIAv1",), authentic=4)
    make_report(root)
    chosen = records[(records.model == "TruFor") & (records.attack == "none")]
    found = cell(root, "table1", "Pixel F1", "TruFor", "CASIAv1")
    assert float(found["measured"]) == pytest.approx(chosen[~chosen.authentic].f1.mean(), abs=1e-6)
    assert found["images"] == "5"
    own = cell(
        root, "detection", "CASIAv1: 5 tampered and 4 authentic images, by each model's own score", "TruFor", "ImageAUC"
    )
    expected = roc_auc_score(~chosen.authentic, chosen.image_score)
    assert (float(own["measured"]), own["score"], own["images"]) == (
        pytest.approx(expected, abs=1e-6),
        "pred_label",
        "9",
    )
    assert "a head without training" in own["footnotes"]
    lines = [line for line in lines_of(root, "detection") if "share above 0.5 (threshold 0.01)" in line["panel"]]
    shared = next(line for line in lines if (line["model"], line["column"]) == ("TruFor", "average precision"))
    assert float(shared["measured"]) == pytest.approx(
        average_precision_score(~chosen.authentic, chosen.predicted), abs=1e-6
    )
    text = (root / "report" / "tables" / "detection.md").read_text()
    assert "score pred_label: the model's own answer" in text.replace("\\_", "_")
    assert "4 authentic images are left out of F1" in (root / "report" / "tables" / "everything.md").read_text()


def test_set_of_authentic_images_alone_says_what_has_no_value(tmp_path: Path) -> None:
    root = tmp_path / "out"
    make_run(root, images=0, sets=("real",), authentic=3)
    make_report(root, ("md", "latex", "csv"))
    detection = (root / "report" / "tables" / "detection.md").read_text()
    assert "| TruFor<sup>1,2</sup> | pred\\_label | n/a | n/a |" in detection
    assert "| TruFor<sup>1</sup> | n/a | n/a |" in (root / "report" / "tables" / "overview.md").read_text()
    for path in (root / "report").rglob("*.*"):
        if path.suffix in (".md", ".tex", ".csv"):
            assert re.search(r"\bnan\b", path.read_text(), re.IGNORECASE) is None, path


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


def test_measured_model_of_the_paper_stands_in_tables_that_print_no_row_of_it(tmp_path: Path) -> None:
    make_run(tmp_path, images=2, models=(("Mesorch", "Mesorch", 0), ("8 queries", "QMANet", 0)))
    tables = {table.key: table for table in paper_tables(read_run(tmp_path))}
    rows = {key: [row.name for row in tables[key].panels[0].rows] for key in ("table1", "table5", "table7_8")}
    assert "Mesorch" not in published()["table7_8"]["NIST16"]
    for key, names in rows.items():
        assert names.count("Mesorch") == 1, key
        assert "8 queries" not in names, key
    (row,) = [row for row in tables["table7_8"].panels[0].rows if row.name == "Mesorch"]
    assert row.cells[0].value is not None
    assert row.cells[0].published is None


def test_latex_is_balanced_and_escaped(made: tuple[Path, pandas.DataFrame]) -> None:
    root, _ = made
    for path in (root / "report" / "tables").glob("*.tex"):
        text = path.read_text()
        for environment in ("table", "tabular"):
            begun = len(re.findall(rf"\\begin\{{{environment}\*?\}}", text))
            assert begun == len(re.findall(rf"\\end\{{{environment}\*?\}}", text)) > 0
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert re.search(r"(?<!\\)[%#]", text) is None
        assert re.search(r"caption\{Tables? \d", text) is None
        columns = 0
        for line in text.splitlines():
            if line.startswith(r"\begin{tabular}"):
                columns = len(line.rsplit("{", 1)[1].rstrip("}"))
            if line.endswith(r"\\"):
                spanned = sum(int(width) - 1 for width in re.findall(r"\\multicolumn\{(\d+)\}", line))
                assert len(re.findall(r"(?<!\\)&", line)) + spanned == columns - 1, line


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs (texlive-latex-recommended)")
@pytest.mark.parametrize("only_measured", [False, True])
def test_document_with_all_tables_compiles_and_no_table_is_wider_than_its_place(
    only_measured: bool, tmp_path: Path
) -> None:
    root = tmp_path / "out"
    make_run(root, authentic=3)
    make_report(root, ("latex",), only_measured=only_measured)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    ended = subprocess.run(command, cwd=root / "report", capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert "Overfull \\hbox" not in ended.stdout
    assert (root / "report" / "tables.pdf").read_bytes().startswith(b"%PDF")


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


def test_seventeen_models_differ_in_colour_marker_and_dashes() -> None:
    styles = [style(index) for index in range(17)]
    for part in ("color", "marker", "ls"):
        assert len({each[part] for each in styles}) == 17


def test_figures_show_what_is_chosen_and_refuse_what_is_not_there(made: tuple[Path, pandas.DataFrame]) -> None:
    root, _ = made
    run = read_run(root)
    chosen = Shown(models=("TruFor",), sets=("NIST16", "Columbia"), attacks=("jpeg",), images=("photo 3", "photo 1"))
    curves = robustness_curves(run, chosen)
    assert [len(axis.lines) for axis in curves.axes] == [1, 1]
    assert [axis.get_ylabel().partition("\n")[0] for axis in curves.axes] == ["Columbia", "NIST16"]
    words = [text.get_text() for text in qualitative_grid(run, root, chosen).axes[0].texts]
    names = [f"{name}\n{stem}" for name in ("NIST16", "Columbia") for stem in ("photo 3", "photo 1")]
    assert words == ["photo", "truth", "TruFor", *names]
    plt.close("all")
    for wrong in (Shown(models=("Mesorch",)), Shown(sets=("x",)), Shown(attacks=("blur",)), Shown(images=("x",))):
        with pytest.raises(RequestError, match=r"Mesorch|x|blur"):
            make_report(root, ("csv",), chosen=wrong)


def test_gallery_takes_a_number_of_images_or_as_many_as_fit(
    made: tuple[Path, pandas.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = made
    run = read_run(root)
    assert len(gallery_of(run, root).items) == 25
    few = gallery_of(run, root, 2)
    assert (len(few.items), few.kept) == (10, 25)
    monkeypatch.setattr("qmanet_benco.evaluation.report.gallery.MOST_BYTES", 250_000)
    fitting = gallery_of(run, root).items
    assert 0 < len(fitting) < 25
    assert len({item["set"] for item in fitting}) == 5


def test_summary_names_who_is_ahead_by_how_much(made: tuple[Path, pandas.DataFrame]) -> None:
    root, records = made
    clean = records[(records.attack == "none") & (records.set == "NIST16")]
    means = clean.groupby(["model", "seed"]).f1.mean().groupby("model").mean().sort_values(ascending=False)
    run = read_run(root)
    lead = next(lead for lead in summary(run, detection_table(run)) if lead.where == "NIST16: pixel F1")
    assert (lead.best, lead.second, lead.images) == (means.index[0], means.index[1], 5)
    assert lead.lead == pytest.approx(means.iloc[0] - means.iloc[1])
    images = clean.groupby(["model", "image"]).f1.mean()
    assert lead.error == pytest.approx(1.96 * (images[means.index[0]] - images[means.index[1]]).std() / 5**0.5)


def test_model_with_random_weights_is_named_beside_who_is_ahead(tmp_path: Path) -> None:
    make_run(tmp_path, images=2, sets=("CASIAv1",))
    described = json.loads((tmp_path / "suite.json").read_text())
    described["models"][2]["checkpoint"] = "random"
    (tmp_path / "suite.json").write_text(json.dumps(described))
    make_report(tmp_path, formats=("html", "md"))
    for name in ("report.html", "report.md"):
        text = (tmp_path / "report" / name).read_text()
        assert text.count("Never trained, scored with random weights: TruFor.") == 1


def test_report_of_a_run_that_has_not_ended_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = make_run(tmp_path, images=2, sets=("CASIAv1",))
    make_report(tmp_path, formats=("html", "md"))
    ended = [(tmp_path / "report" / name).read_text() for name in ("report.html", "report.md")]
    described = json.loads((tmp_path / "suite.json").read_text())
    (tmp_path / "suite.json").write_text(json.dumps(described | {"cells": []}))
    make_report(tmp_path, formats=("html", "md"))
    said = f"{len(records)} images are scored so far"
    assert said in caplog.text
    for name, before in zip(("report.html", "report.md"), ended, strict=True):
        assert "NOT FINISHED" not in before
        assert f"NOT FINISHED: {said}" in (tmp_path / "report" / name).read_text()


def test_chosen_images_and_formats_alone_are_made(made: tuple[Path, pandas.DataFrame], tmp_path: Path) -> None:
    root = shutil.copytree(made[0], tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    written = make_report(root, ("csv",), chosen=Shown(images=("photo 3",)))
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


def test_tables_sort_by_the_column_that_is_pressed_and_keep_published_lines(
    made: tuple[Path, pandas.DataFrame], browser: object
) -> None:
    browser.get(f"file://{made[0] / 'report' / 'report.html'}")
    table = browser.find_element("css selector", "#table1 table")

    def values() -> list[str]:
        return [row.text for row in table.find_elements("css selector", "tbody > tr:first-child > td:nth-child(2)")]

    button = table.find_elements("css selector", ".heads button")[1]
    for descending in (True, False):
        button.click()
        numbers = [float(value.split()[0]) for value in values() if value]
        assert numbers == sorted(numbers, reverse=descending)
    names = [body.text.split("\n") for body in table.find_elements("tag name", "tbody")]
    (own,) = [lines for lines in names if lines[0].startswith("TruFor")]
    assert own[1].startswith("published 0.700")


@pytest.mark.parametrize("width", [400, 1280])
def test_page_itself_never_scrolls_sideways(width: int, made: tuple[Path, pandas.DataFrame], browser: object) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(f"file://{made[0] / 'report' / 'report.html'}")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    order = [each.get_attribute("id") for each in browser.find_elements("css selector", "section[id]")]
    assert order[:3] == ["summary", "overview", "table1"]
    assert order[-2:] == ["metrics", "made"]
    assert order.index("images") < order.index("table5")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_page_prints(made: tuple[Path, pandas.DataFrame], browser: object) -> None:
    browser.get(f"file://{made[0] / 'report' / 'report.html'}")
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")
    folded = "return [...document.querySelectorAll('details')].filter(part => !part.open).map(part => part.innerText)"
    assert browser.execute_script(folded) == ["Everything that was measured"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find_element("class name", "controls").is_displayed()
    size = {"width": 1030, "height": 700, "deviceScaleFactor": 1, "mobile": False}  # A4 landscape without margins
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1030
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
