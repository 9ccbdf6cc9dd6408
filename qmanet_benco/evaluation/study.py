"""The architecture study: every row is one network, trained and scored by the same commands within the same budget.

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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from qmanet_benco.data.study_set import StudySet
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation import study_report
from qmanet_benco.model.weights.files import write_atomically, write_text_atomically

logger = logging.getLogger(__name__)

ATTACKS = [{"jpeg": [90, 70]}, {"blur": [3, 7]}, {"noise_variance": [3, 11]}]
DONE = "done"
"""A file beside the checkpoints of a training that ended."""
BEGUN = "begun.json"
"""A file there with what the training was begun with."""
PLAIN, ATTACKED = "suite", "suite-attacked"
IN_CHECKPOINT = "checkpoint"
"""In place of a file: NoisePrint++ weights that come with the trained ones."""


@dataclass(frozen=True)
class Row:
    """One network of the study."""

    name: str
    flags: Mapping[str, object] = field(default_factory=dict)
    """Beside variant b0; what is not named is the model's default, the paper's losses of 0.2 and 0.8 among it."""
    model: str = "QMANet"
    seeds: tuple[int, ...] = (0, 1)
    learning_rate: float = 0.0
    """0: the budget's."""
    switches: tuple[str, ...] = ()
    """Of the training script."""


ROWS = (
    Row("QMA-Net-b0", seeds=(0, 1, 2)),
    Row("rate 1e-4", learning_rate=1e-4, seeds=(0,)),
    Row("rate 1e-3", learning_rate=1e-3, seeds=(0,)),
    *(Row(name, {"variant": f"b0-{name}"}) for name in ("cp", "sl", "ss", "cd", "mlp")),
    Row("noise none", {"noise_sources": "none"}, seeds=(0, 1, 2)),
    Row("noise srm", {"noise_sources": "srm"}),
    Row("noise bayar", {"noise_sources": "bayar"}),
    Row("noise noiseprint", {"noise_sources": "noiseprint"}),
    Row("4 queries", {"num_queries": 4}),
    Row("8 queries", {"num_queries": 8}),
    Row("32 queries", {"num_queries": 32}),
    Row("loss 0.5/0.5", {"segmentation_weight": 0.5, "edge_weight": 0.5}),
    Row("loss 0.8/0.2", {"segmentation_weight": 0.8, "edge_weight": 0.2}),
    Row("loss 0.5/0.5 + BCE", {"segmentation_weight": 0.5, "edge_weight": 0.5, "bce_weight": 0.5}),
    Row("TruFor", model="Trufor_RGB", switches=("--find_unused_parameters",)),
    Row("PSCC-Net", model="PSCC_Net"),
    Row("segformer", model="segformer"),
    Row("srm_segformer", model="srm_segformer"),
)
"""The main row first; then with other learning rates, Table 2's ablations, the noise sources, Table 9's queries, the
losses, and the framework's baselines: TruFor with its input corrected, PSCC-Net, its MiT-B2 without and with SRM."""


@dataclass(frozen=True)
class Budget:
    """What every row gets."""

    steps: int = 3000
    batch: int = 8
    image_size: int = 128
    learning_rate: float = 4e-4


@dataclass(frozen=True)
class Given:
    """Files that rows read beside the images."""

    noiseprint: str
    """NoisePrint++ weights: a file or a name."""
    cache: Path
    """Kept residuals."""
    no_weights: Path
    """A checkpoint without tensors: the framework's backbones insist on a file, and every row starts at random."""


def train_command(row: Row, seed: int, data: StudySet, out: Path, given: Given, budget: Budget) -> list[str]:
    """The command line that trains a row with a seed."""
    rate = rate_of(row, budget)
    flags: dict[str, object] = {
        "model": row.model,
        "data_path": data.train,
        "test_data_path": data.generated,
        "image_size": budget.image_size,
        "batch_size": budget.batch,
        "test_batch_size": budget.batch,
        "accum_iter": 1,
        "epochs": 10,  # --max-steps scales the schedule: a tenth of the steps warms up
        "lr": rate,
        "min_lr": rate / 40,
        "warmup_epochs": 1,
        "test_period": 4,
        "num_workers": 0,
        "seed": seed,
        "output_dir": out,
        "log_dir": out,
    }
    own = ["--augment", "none", "--max-steps", str(budget.steps), "--keep", "1", "--resume", "auto"]
    flags |= model_flags(row, given, budget)
    listed = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "qmanet_benco.cli", "benco", "train", *own, *listed, "--if_resizing", *row.switches]


def model_flags(row: Row, given: Given, budget: Budget) -> dict[str, object]:
    """Flags of a row's model."""
    if row.model == "Trufor_RGB":
        weights = "random" if given.noiseprint == IN_CHECKPOINT else given.noiseprint
        return {"np_pretrain_weights": weights, "mit_b2_pretrain_weights": "random"}
    if row.model == "PSCC_Net":
        return {"input_size": budget.image_size}
    if row.model != "QMANet":
        return {"pretrain_pth_path": given.no_weights}
    flags: dict[str, object] = {"variant": "b0", **row.flags}
    if "noiseprint" in str(flags.get("noise_sources", "noiseprint")):
        flags |= {"noiseprint_weights": given.noiseprint, "noiseprint_cache": given.cache}
    return flags


def suite_of(
    trained: Mapping[tuple[str, int], Path],
    rows: Sequence[Row],
    sets: Mapping[str, Path],
    attacks: Sequence[Mapping[str, object]],
    given: Given,
    budget: Budget,
) -> dict[str, Any]:
    """A suite that scores trained rows; JSON is YAML too.

    Args:
        trained: checkpoint of each row's name and seed.
        rows: of the study.
        sets: names and ManiDataset folders.
        attacks: beside the plain images.
        given: files that models read.
        budget: for the image size.
    """
    by_name = {row.name: row for row in rows}
    models = []
    for (name, seed), checkpoint in trained.items():
        flags = model_flags(by_name[name], replace(given, noiseprint=IN_CHECKPOINT), budget)
        flags = {key: value if isinstance(value, int | float) else str(value) for key, value in flags.items()}
        models.append(
            {"name": name, "model": by_name[name].model, "flags": flags, "seed": seed, "checkpoint": str(checkpoint)}
        )
    return {
        "name": "study",
        "image_size": budget.image_size,
        "models": models,
        "sets": [{"name": name, "path": str(path)} for name, path in sets.items()],
        "attacks": list(attacks),
    }


def scored_sets(data: StudySet) -> dict[str, Path]:
    """Generated forgeries of unseen photos, crops of real ones, and those whole, squeezed into the square."""
    return {"generated": data.generated, "real crops": data.crops, "real": data.real}


def run_study(data: StudySet, out: Path, given: Given, rows: Sequence[Row], budget: Budget, jobs: int = 1) -> list[str]:
    """Train what is not trained, ``jobs`` rows at a time (0: none), score everything, write the tables.

    Returns:
        One line for each training that failed; the others are scored all the same.
    """
    import torch

    from qmanet_benco.benco.seam.checkpoints import newest_checkpoint

    wanted = [(row, seed) for row in rows for seed in row.seeds]
    folders = {(row.name, seed): trained_into(out, row, seed) for row, seed in wanted}

    def command_of(row: Row, seed: int) -> list[str]:
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
    score(suite_of(trained, rows, scored_sets(data), [], given, budget), out, PLAIN)
    score(suite_of(first_seeds, rows, {"generated": data.generated}, ATTACKS, given, budget), out, ATTACKED)
    write_tables(out, data, budget)
    return failures


def lowest_seeds(trained: Mapping[tuple[str, int], Path]) -> dict[tuple[str, int], Path]:
    """Of each row the checkpoint of the lowest seed that was trained, also where seed 0 failed."""
    chosen = dict(sorted(trained, reverse=True))
    return {key: trained[key] for key in chosen.items()}


def trained_into(out: Path, row: Row, seed: int) -> Path:
    """The folder of a row's checkpoints and logs."""
    return out / "trained" / f"{row.name.replace('/', '-').replace(' ', '_')}@{seed}"


def claim(folder: Path, row: Row, budget: Budget) -> None:
    """Keep trainings of one budget, and of one meaning of a row's name, apart from others.

    Raises:
        RequestError: the folder's training was begun with something else.
    """
    asked = json.dumps({"model": row.model, **row.flags, **asdict(replace(budget, learning_rate=rate_of(row, budget)))})
    known = folder / BEGUN
    if known.exists() or any(folder.glob("checkpoint-*.pth")):
        begun = known.read_text(encoding="ascii") if known.exists() else "another version of this study"
        if begun != asked:
            raise RequestError(f"{folder} was begun with {begun}", asked, "name another folder (OUTPUT_DIR)")
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(known, asked)


def rate_of(row: Row, budget: Budget) -> float:
    """The learning rate of a row."""
    return row.learning_rate or budget.learning_rate


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
    command = [sys.executable, "-m", "qmanet_benco.cli", "suite", "run", str(file), "--out", str(out / name)]
    ended = subprocess.run(command, check=False)
    if ended.returncode not in (0, 1):  # 1: some models failed, the records of the others are whole
        raise RequestError(f"{' '.join(command[2:])} ended with {ended.returncode}", "0")


def write_tables(out: Path, data: StudySet, budget: Budget) -> None:
    """Write ``study.csv`` (one line per row, seed, set and attack) and ``study.md`` from the suites' records."""
    import pandas

    from qmanet_benco.data.forge.demo import all_tampered_f1, constant_mask_f1

    records = [pandas.read_parquet(out / name / "records") for name in (PLAIN, ATTACKED)]
    sets, size = scored_sets(data), budget.image_size
    floors_f1 = {
        "all_tampered_f1": {name: all_tampered_f1(path, size) for name, path in sets.items()},
        "constant_f1": {name: constant_mask_f1(data.train, path, size) for name, path in sets.items()},
    }
    shared = {"steps": budget.steps, "image_size": budget.image_size, "batch": budget.batch}
    table = study_report.means(records, floors_f1, shared)
    write_text_atomically(out / "study.csv", table.to_csv(index=False))
    write_text_atomically(out / "study.md", study_report.markdown(table))


def main() -> int:
    """``--data DIR --out DIR --weights FILE --cache DIR [--steps N] [--rows A,B] [--seeds N] [--jobs N]``."""
    parser = argparse.ArgumentParser(description="Train and score the rows of the architecture study.")
    for name in ("data", "out", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--weights", required=True, help="NoisePrint++")
    parser.add_argument("--steps", type=int, default=Budget.steps)
    parser.add_argument("--image_size", type=int, default=Budget.image_size)
    parser.add_argument("--seeds", type=int, default=3, help="at most so many of a row (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once; 0: score what is trained")
    parser.add_argument("--rows", default="", help=f"comma list of {', '.join(row.name for row in ROWS)}")
    given = parser.parse_args()
    wanted = [name.strip() for name in given.rows.split(",") if name.strip()]
    unknown = set(wanted) - {row.name for row in ROWS}
    try:
        if given.seeds < 1 or given.jobs < 0:
            raise RequestError(f"--seeds {given.seeds} --jobs {given.jobs}", "1 seed or more, and 0 jobs or more")
        if unknown:
            raise RequestError(f"row {sorted(unknown)[0]!r}", f"some of {', '.join(row.name for row in ROWS)}")
        rows = [replace(row, seeds=row.seeds[: given.seeds]) for row in ROWS if not wanted or row.name in wanted]
        budget = Budget(steps=given.steps, image_size=given.image_size)
        data = StudySet.below(given.data)
        files = Given(given.weights, given.cache, given.out / "no_weights.pth")
        failures = run_study(data, given.out, files, rows, budget, given.jobs)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.write("".join(f"failed: {line}\n" for line in failures))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
