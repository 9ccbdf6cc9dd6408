"""Every row of the study is trained by one command within one budget, and its tables come from the suite's records."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import study
from qmanet_benco.benco.seam.options import split
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import parse_noise_sources, variant_config
from small_training import make_images
from study import ATTACKED, ATTACKS, PLAIN, claim, lowest_seeds, run_study, train, trained_into, write_tables
from study_images import CROPS, GENERATED, REAL, TRAIN
from study_report import beside_main, markdown, seed_deviation
from study_rows import ROWS, Budget, Given, model_flags, suite_of, train_command
from study_set import StudySet

BUDGET = Budget(steps=20)
GIVEN = Given("noiseprint.th", Path("residuals"), Path("no_weights.pth"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_names_flags_that_its_model_takes(row, tmp_path: Path) -> None:
    flags = model_flags(row, GIVEN, BUDGET)
    zoo.check_flags(row.model, flags)
    if row.model == "QMANet":
        variant_config(str(flags["variant"]))
        sources = parse_noise_sources(str(flags.get("noise_sources", "srm,bayar,noiseprint")))
        assert ("noiseprint" in sources) == ("noiseprint_weights" in flags)


def test_rows_differ_from_the_main_row_in_what_they_are_named_after_only(tmp_path: Path) -> None:
    data = StudySet.below(tmp_path)
    commands = [train_command(row, 0, data, tmp_path / "out", GIVEN, BUDGET) for row in ROWS]
    budgets = {tuple(command[command.index("--max-steps") :][:2]) for command in commands}
    assert budgets == {("--max-steps", "20")}
    assert len(set(map(tuple, commands))) == len(ROWS)
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_the_main_row_and_the_floor_of_noise_have_three_seeds_and_the_others_two() -> None:
    assert {row.name for row in ROWS if len(row.seeds) == 3} == {"QMA-Net", "noise none"}
    assert {len(row.seeds) for row in ROWS if not row.learning_rate} == {2, 3}


def test_a_row_s_own_learning_rate_is_that_of_its_command(tmp_path: Path) -> None:
    for row in ROWS:
        command = train_command(row, 0, StudySet.below(tmp_path), tmp_path, GIVEN, BUDGET)
        rate = float(command[command.index("--lr") + 1])
        assert rate == (row.learning_rate or BUDGET.learning_rate)
        assert float(command[command.index("--min_lr") + 1]) == pytest.approx(rate / 40)


def test_launchers_own_flags_are_known(tmp_path: Path) -> None:
    command = train_command(ROWS[0], 0, StudySet.below(tmp_path), tmp_path, GIVEN, BUDGET)
    own, rest = split("train", command[command.index("train") + 1 :])
    assert own.augment == "none"
    assert "--augment" not in rest


def test_a_suite_names_every_trained_row_with_its_seed(tmp_path: Path) -> None:
    trained = {(ROWS[0].name, 0): tmp_path / "a.pth", (ROWS[0].name, 1): tmp_path / "b.pth"}
    sets = StudySet.below(tmp_path).scored
    suite = suite_of(trained, ROWS, sets, ATTACKS, GIVEN, BUDGET)
    assert [(model["name"], model["seed"]) for model in suite["models"]] == list(trained)
    assert suite["models"][0]["flags"]["noiseprint_weights"] == "checkpoint"


def test_tables_hold_the_means_of_the_records_and_the_floor(tmp_path: Path) -> None:
    data = StudySet.below(tmp_path / "data")
    for name in (TRAIN, GENERATED, REAL, CROPS):
        make_images(tmp_path / "data" / name, 2, seed=0)
    rows = [
        dict(model="QMA-Net", seed=seed, set="generated", attack="none", level=0.0, image=str(index))
        | dict(f1=0.2 * (index + seed), permute_f1=0.5, iou=0.3, auc=0.7)
        for seed in (0, 1)
        for index in (0, 1)
    ]
    attacked = [row | dict(attack="jpeg", level=70.0) for row in rows if row["seed"] == 0]
    for name, records in ((PLAIN, rows), (ATTACKED, attacked + rows[:2])):
        (tmp_path / name / "records").mkdir(parents=True)
        pd.DataFrame(records).to_parquet(tmp_path / name / "records" / "all.parquet")
    write_tables(tmp_path, data, BUDGET)
    table = pd.read_csv(tmp_path / "study.csv")
    assert list(table["f1"]) == pytest.approx([0.1, 0.1, 0.3])
    assert list(table["attack"]) == ["jpeg", "none", "none"]
    assert set(table["steps"]) == {20}
    assert (table["all_tampered_f1"] > 0).all()
    assert (table["constant_f1"] > 0).all()
    assert list(table.columns[:7]) == ["row", "seed", "steps", "f1", "permute_f1", "iou", "auc"]
    assert set(table["images"]) == {2}
    text = (tmp_path / "study.md").read_text()
    assert "| QMA-Net | 2 | 0.200 +- 0.141 |" in text
    assert "| row | none | jpeg 70 |" in text
    assert text == markdown(table)


def test_trufor_trains_with_the_given_noiseprint_and_is_scored_with_its_checkpoint_s(tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.name == "TruFor")
    command = train_command(row, 0, StudySet.below(tmp_path), tmp_path, GIVEN, BUDGET)
    assert command[command.index("--np_pretrain_weights") + 1] == GIVEN.noiseprint
    assert command[command.index("--mit_b2_pretrain_weights") + 1] == "random"
    assert "--find_unused_parameters" in command
    scored = suite_of({("TruFor", 0): tmp_path / "a.pth"}, ROWS, {}, [], GIVEN, BUDGET)["models"][0]
    assert scored["flags"]["np_pretrain_weights"] == "random"  # what the checkpoint has is not read twice


def lines_of(f1: dict[str, list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"row": row, "seed": seed, "f1": one} for row, of in f1.items() for seed, one in enumerate(of)]
    )


def test_a_difference_is_marked_where_the_seeds_set_it_apart() -> None:
    f1 = {"QMA-Net": [0.30, 0.32, 0.34], "near": [0.29, 0.31], "far": [0.20, 0.22], "one": [0.35], "nothing": [0, 0]}
    lines = lines_of(f1)
    # variances 4e-4 with two degrees of freedom, twice 2e-4 with one; "nothing" does not count
    assert seed_deviation(lines) == pytest.approx((1.2e-3 / 4) ** 0.5)
    assert beside_main(lines) == {"near": "-0.020", "far": r"-0.110 \*", "one": "+0.030", "nothing": r"-0.320 \*"}


def test_without_a_main_row_or_second_seeds_nothing_is_marked() -> None:
    assert beside_main(lines_of({"far": [0.1, 0.2]})) == {}
    assert beside_main(lines_of({"QMA-Net": [0.5], "far": [0.1]})) == {"far": "-0.400"}


def test_a_row_whose_first_seed_failed_is_attacked_with_the_next(tmp_path: Path) -> None:
    trained = {("one", 1): tmp_path / "1", ("one", 2): tmp_path / "2", ("other", 0): tmp_path / "0"}
    assert lowest_seeds(trained) == {("one", 1): tmp_path / "1", ("other", 0): tmp_path / "0"}


def test_the_document_holds_the_table_s_markdown() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert markdown(pd.read_csv(docs / "study.csv")) in (docs / "study.md").read_text(encoding="utf-8")


def test_without_jobs_nothing_is_trained_and_only_what_is_there_is_scored(tmp_path: Path, monkeypatch) -> None:
    data, scored = StudySet.below(tmp_path / "data"), []
    given = Given("noiseprint.th", tmp_path / "residuals", tmp_path / "no_weights.pth")
    monkeypatch.setattr(study, "train", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(study, "score", lambda suite, *_: scored.append([model["name"] for model in suite["models"]]))
    monkeypatch.setattr(study, "write_tables", lambda *_: None)
    with pytest.raises(RequestError, match="no row was trained"):
        run_study(data, tmp_path, given, ROWS, BUDGET, jobs=0)
    folder = trained_into(tmp_path, ROWS[0], 1)
    (folder / "done").touch()
    torch.save({"model": {}, "epoch": 0}, folder / "checkpoint-0.pth")
    assert run_study(data, tmp_path, given, ROWS, BUDGET, jobs=0) == []
    assert scored == [[ROWS[0].name]] * 2


def test_a_training_that_is_done_is_not_begun_again_and_one_that_fails_is_named(tmp_path: Path) -> None:
    fails = [sys.executable, "-c", "import sys; print('said'); sys.exit(3)"]
    assert "train.out" in train(fails, tmp_path / "row@0")
    assert (tmp_path / "row@0" / "train.out").read_text() == "said\n"
    assert not train([sys.executable, "-c", ""], tmp_path / "row@0")
    assert not train(fails, tmp_path / "row@0")


def test_trainings_of_another_budget_or_another_meaning_are_not_mixed_in(tmp_path: Path) -> None:
    main = ROWS[0]
    for _ in range(2):
        claim(tmp_path / "row", main, Budget(steps=429))
    for row, budget in (
        (main, Budget(steps=3000)),
        (replace(main, flags={"bce_weight": 0.5}), Budget(steps=429)),
        (replace(main, learning_rate=1e-3), Budget(steps=429)),
        (main, Budget(steps=429, image_size=256)),
    ):
        with pytest.raises(RequestError, match=r"row was begun with .*429.*another folder"):
            claim(tmp_path / "row", row, budget)
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    (unknown / "checkpoint-0.pth").touch()
    with pytest.raises(RequestError, match="begun with another version"):
        claim(unknown, main, BUDGET)


def test_trainings_side_by_side_share_the_processors(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ask = [sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"]
    processors = len(os.sched_getaffinity(0))
    assert train(ask, tmp_path / "alone") == ""
    assert train(ask, tmp_path / "beside", processors) == ""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert train(ask, tmp_path / "asked", processors) == ""
    given = [(tmp_path / name / "train.out").read_text().strip() for name in ("alone", "beside", "asked")]
    assert given == [str(processors), "1", "7"]
