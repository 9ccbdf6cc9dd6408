"""Runs the architecture study: each row is one network, trained and scored by the same commands within one budget.

``runs/study.sh`` prepares the data and calls this module, which calls ``qmanet benco train`` for each row and seed,
``qmanet suite run`` over all checkpoints, and writes ``study.csv`` and ``study.md`` from the records.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas
import torch

import study_report
from qmanet_benco.benco.seam.checkpoints import newest_checkpoint
from qmanet_benco.data.forge.demo import all_tampered_f1, constant_mask_f1
from qmanet_benco.errors import RequestError
from qmanet_benco.files import write_atomically, write_text_atomically
from study_rows import ROWS, Budget, Given, StudyRow, rate_of, suite_of, train_command
from study_set import StudySet

logger = logging.getLogger(__name__)

ATTACKS = [{"jpeg": [90, 70]}, {"blur": [3, 7]}, {"noise_variance": [3, 11]}]
DONE = "done"
"""A file beside the checkpoints of a training that ended."""
BEGUN = "begun.json"
"""A file there with what the training was begun with."""
PLAIN, ATTACKED = "suite", "suite-attacked"
"""Folders of the two suites, on images as they are and under attack."""


def run_study(
    data: StudySet,
    out: Path,
    given: Given,
    rows: Sequence[StudyRow],
    budget: Budget,
    jobs: int = 1,
    attacked: bool = True,
) -> list[str]:
    """Train what is not trained, ``jobs`` at a time (0: none), each row's first seed first; score, write the tables.

    Args:
        data: what is trained on and scored.
        out: everything goes below it.
        given: files that rows read beside the images.
        rows: of the study.
        budget: what every row gets.
        jobs: trainings at once.
        attacked: score generated forgeries under attack as well.

    Returns:
        One line for each training that failed; the others are scored all the same.
    """
    wanted = sorted(((row, seed) for row in rows for seed in row.seeds), key=lambda pair: pair[1])
    folders = {(row.name, seed): trained_into(out, row, seed) for row, seed in wanted}

    def command_of(row: StudyRow, seed: int) -> list[str]:
        return train_command(row, seed, data, folders[row.name, seed], given, budget)

    for row, seed in wanted:
        claim(folders[row.name, seed], row, budget)
    if not given.no_weights.exists():
        write_atomically(given.no_weights, lambda file: torch.save({}, file))

    failures = []
    if jobs:
        with ThreadPoolExecutor(jobs) as trainings:
            failed = trainings.map(lambda pair: train(command_of(*pair), folders[pair[0].name, pair[1]], jobs), wanted)
            failures = [line for line in failed if line]
    trained = {
        key: checkpoint.resolve()
        for key, folder in folders.items()
        if (folder / DONE).exists() and (checkpoint := newest_checkpoint(folder, 0))
    }
    if not trained:
        raise RequestError("no row was trained", "one or more", "; ".join(failures))
    first_seeds = lowest_seeds(trained)
    score(suite_of(trained, rows, data.scored, [], given, budget), out, PLAIN)
    if attacked:
        score(suite_of(first_seeds, rows, {"generated": data.generated}, ATTACKS, given, budget), out, ATTACKED)
    write_tables(out, data, budget)
    return failures


def lowest_seeds(trained: Mapping[tuple[str, int], Path]) -> dict[tuple[str, int], Path]:
    """Choose each row's checkpoint of the lowest seed that was trained, also where seed 0 failed."""
    chosen = dict(sorted(trained, reverse=True))
    return {key: trained[key] for key in chosen.items()}


def trained_into(out: Path, row: StudyRow, seed: int) -> Path:
    """The folder of a row's checkpoints and logs."""
    return out / "trained" / f"{row.name.replace('/', '-').replace(' ', '_')}@{seed}"


def claim(folder: Path, row: StudyRow, budget: Budget) -> None:
    """Keep trainings of one budget, and of one meaning of a row's name, apart from others.

    Raises:
        RequestError: the folder's training was begun with something else.
    """
    asked = json.dumps(
        {
            "model": row.model,
            "ablation": row.ablation,
            **row.flags,
            **asdict(replace(budget, learning_rate=rate_of(row, budget))),
        }
    )
    known = folder / BEGUN
    if known.exists() or any(folder.glob("checkpoint-*.pth")):
        begun = known.read_text(encoding="ascii") if known.exists() else "another version of this study"
        if begun != asked:
            raise RequestError(f"{folder} was begun with {begun}", asked, "name another folder (OUTPUT_DIR)")
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(known, asked)


def train(command: Sequence[str], folder: Path, beside: int = 1) -> str:
    """Run a training unless it is done; its output goes to ``folder/train.out``.

    ``OMP_NUM_THREADS`` is set, where the user has not set it, to its share of the processors: so many trainings run
    ``beside`` each other.

    Returns:
        What to say of a training that failed; else nothing.
    """
    if (folder / DONE).exists():
        return ""
    logger.warning("training into %s", folder)
    folder.mkdir(parents=True, exist_ok=True)
    threads = {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // beside))}
    with (folder / "train.out").open("ab") as stream:
        ended = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False, env=threads | os.environ)
    if ended.returncode:
        return f"{folder.name}: see {folder / 'train.out'}"
    (folder / DONE).touch()
    return ""


def score(suite: Mapping[str, Any], out: Path, name: str) -> None:
    """Run a suite into ``out/name``; records that are there stay."""
    file = out / f"{name}.yaml"
    write_text_atomically(file, json.dumps(suite, indent=2))
    command = [sys.executable, "-m", "qmanet_benco", "suite", "run", str(file), "--out", str(out / name)]
    ended = subprocess.run(command, check=False)
    if ended.returncode not in (0, 1):  # 1: some models failed, the records of the others are whole
        raise RequestError(f"{' '.join(command[2:])} ended with {ended.returncode}", "0")


def write_tables(out: Path, data: StudySet, budget: Budget) -> None:
    """Write ``study.csv`` (one line per row, seed, set and attack) and ``study.md`` from the suites' records."""
    records = [
        pandas.read_parquet(records) for name in (PLAIN, ATTACKED) if (records := out / name / "records").exists()
    ]
    sets, size = data.scored, budget.image_size
    floors_f1 = {
        "all_tampered_f1": {name: all_tampered_f1(path, size) for name, path in sets.items()},
        "constant_f1": {name: constant_mask_f1(data.train, path, size) for name, path in sets.items()},
    }
    shared = {"steps": budget.steps, "image_size": budget.image_size, "batch": budget.batch}
    table = study_report.means(records, floors_f1, shared)
    write_text_atomically(out / "study.csv", table.to_csv(index=False))
    write_text_atomically(out / "study.md", study_report.markdown(table))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="Train and score the rows of the architecture study.")
    for name in ("data", "out", "cache"):
        options.add_argument(f"--{name}", type=Path, required=True)
    options.add_argument("--weights", required=True, help="NoisePrint++")
    options.add_argument("--steps", type=int, default=Budget.steps)
    options.add_argument("--image_size", type=int, default=Budget.image_size)
    options.add_argument("--backbone", choices=("b0", "miniature"), default=Budget.backbone, help="QMA-Net's size")
    options.add_argument("--learning_rate", type=float, default=Budget.learning_rate)
    options.add_argument("--seeds", type=int, default=3, help="at most so many of a row (default: %(default)s)")
    options.add_argument("--jobs", type=int, default=1, help="trainings at once; 0: score what is trained")
    options.add_argument("--no-attacks", action="store_true", help="score no image under attack")
    options.add_argument("--rows", default="", help=f"comma list of {', '.join(row.name for row in ROWS)}")
    return options


def main() -> int:
    """Train, score, write the tables: 2 if the request was wrong, 1 if a training failed."""
    given = parser().parse_args()
    wanted = [name.strip() for name in given.rows.split(",") if name.strip()]
    unknown = set(wanted) - {row.name for row in ROWS}
    try:
        if given.seeds < 1 or given.jobs < 0:
            raise RequestError(f"--seeds {given.seeds} --jobs {given.jobs}", "1 seed or more, and 0 jobs or more")
        if unknown:
            raise RequestError(f"row {sorted(unknown)[0]!r}", f"some of {', '.join(row.name for row in ROWS)}")
        rows = [replace(row, seeds=row.seeds[: given.seeds]) for row in ROWS if not wanted or row.name in wanted]
        budget = Budget(
            steps=given.steps, image_size=given.image_size, backbone=given.backbone, learning_rate=given.learning_rate
        )
        data = StudySet.below(given.data)
        files = Given(given.weights, given.cache, given.out / "no_weights.pth")
        failures = run_study(data, given.out, files, rows, budget, given.jobs, not given.no_attacks)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.write("".join(f"failed: {line}\n" for line in failures))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
