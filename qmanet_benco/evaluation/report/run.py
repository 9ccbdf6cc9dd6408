"""The records of a run, grouped once: every mean that a table or a figure asks for is a look-up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet as parquet

from qmanet_benco.data.sets import folded, set_title
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.metrics import METRICS, OF_TAMPERED
from qmanet_benco.evaluation.published import published_rows
from qmanet_benco.evaluation.report.cells import Cell
from qmanet_benco.evaluation.suite.records import KEYS

DESCRIBED: dict[str, type] = dict(
    name=str,
    image_size=int,
    resize=str,
    precision=str,
    seed=int,
    batch=int,
    models=list,
    sets=list,
    environment=dict,
)
ENTRIES: dict[str, dict[str, type]] = dict(models=dict(name=str, model=str, seed=int), sets=dict(name=str, images=int))
"""What the report needs of ``suite.json``, and of each entry in two of its lists."""
MEASURED = tuple(metric.name for metric in METRICS)
DETECTION = ("image_score", "image_score_rule", "image_maximum", "predicted")
"""Columns of the image-level panels; records of an earlier version have none."""
A_RUN = "a folder that `qmanet suite run --out` wrote"
UNTRAINED = "random weights: it was never trained"
"""The note under the tables of a model that a suite scores at its random start."""
READ = (*KEYS, *MEASURED, "authentic", *DETECTION)

Means = dict[tuple[str, str, str], dict[int, dict[float, dict[str, tuple[float, int]]]]]
"""Row, set and attack -> seed -> level -> metric -> mean over images, and their number."""


@dataclass(frozen=True)
class ScoredRun:
    """The records of a run and what they belong to."""

    records: pandas.DataFrame
    suite: Mapping[str, Any]
    footnotes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def models(self) -> list[str]:
        """Row names in the suite's order, each once."""
        return list(dict.fromkeys(row_name(entry) for entry in self.suite["models"]))

    def untrained(self) -> list[str]:
        """Name the rows that were scored at their random start."""
        return [model for model in self.models() if UNTRAINED in self.footnotes.get(model, ())]

    @property
    def unfinished(self) -> str:
        """Say what to do about a run that goes on or was stopped; empty for one that ended."""
        if self.suite.get("cells", True):
            return ""
        return f"{len(self.records)} images are scored so far; the same `qmanet suite run` command goes on"

    def sets(self) -> list[str]:
        """List the sets in the suite's order."""
        return [entry["name"] for entry in self.suite["sets"]]

    def versions(self, titles: Sequence[str]) -> list[str]:
        """Find other versions of these sets, such as ``NIST16 (long side 1024)``, that were scored beside them."""
        own = {title: self.set_named(title) for title in titles}
        return [name for name in self.sets() if set_title(name).partition(" (")[0] in own and name not in own.values()]

    def set_named(self, title: str) -> str:
        """Find the suite's own name of a set of the paper, or of a version of it (``NIST16 (long side 1024)``)."""
        names = self.sets()
        titles = [set_title(name) for name in names]
        versions = [one.partition(" (")[0] for one in titles]
        spelling = next((one for one in (names, titles, versions) if title in one), None)
        return names[spelling.index(title)] if spelling else title

    def cases(self) -> list[tuple[str, str, float]]:
        """Set, attack and level of everything that was measured, in the suite's order, without attack first."""
        order = {name: place for place, name in enumerate(self.sets())}
        cases = {
            (name, attack, level)
            for (_, name, attack), seeds in self._means.items()
            for levels in seeds.values()
            for level in levels
        }
        return sorted(cases, key=lambda case: (order.get(case[0], 0), case[1] != "none", case[1], case[2]))

    def levels(self, attack: str, sets: Iterable[str] = ()) -> list[float]:
        """Measured levels of an attack, ascending."""
        wanted = set(sets)
        return sorted({case[2] for case in self.cases() if case[1] == attack and (not wanted or case[0] in wanted)})

    def mean(
        self, model: str, name: str, metric: str, attack: str = "none", level: float | None = 0.0, clean: bool = False
    ) -> Cell:
        """Make a measured cell: the mean over images (and levels, where ``level`` is None), then over seeds.

        Args:
            model: row.
            name: the set, in any spelling.
            metric: a column of the records.
            attack: the attack.
            level: its level; None: all, each counting once.
            clean: the images without attack count as one level more.
        """
        name = self.set_named(name)
        seeds = self._means.get((model, name, attack), {})
        unattacked = self._means.get((model, name, "none"), {})
        by_seed: dict[int, float] = {}
        images, scored = 0, 0
        for seed, levels in seeds.items():
            chosen = [means[metric] for at, means in levels.items() if level is None or at == level]
            if clean:
                chosen += [means[metric] for means in unattacked.get(seed, {}).values()] or [(float("nan"), 0)]
            scored += len(chosen)
            values = [mean for mean, count in chosen if count]
            if values and (len(values) == len(chosen) or not clean):
                by_seed[seed] = sum(values) / len(values)
                images = max(images, *(count for _, count in chosen))
        if not by_seed:
            return Cell(undefined=scored > 0 and not clean)
        return Cell.of_seeds(by_seed, images)

    @cached_property
    def _means(self) -> Means:
        tampered = ~self.records["authentic"]
        others = [name for name in MEASURED if name not in OF_TAMPERED]
        columns = self.records[[*KEYS[1:-1], "row", *others]].assign(
            **{name: self.records[name].where(tampered) for name in OF_TAMPERED}
        )
        groups = columns.groupby(["row", "set", "attack", "seed", "level"], observed=True, sort=False)
        numbers = groups[list(MEASURED)].agg(["mean", "count"])
        means: Means = {}
        for (row, name, attack, seed, level), *values in zip(
            numbers.index, *(numbers[column].to_numpy() for column in numbers.columns), strict=True
        ):
            of_level = {
                metric: (float(values[2 * place]), int(values[2 * place + 1])) for place, metric in enumerate(MEASURED)
            }
            means.setdefault((row, name, attack), {}).setdefault(int(seed), {})[float(level)] = of_level
        return means

    @cached_property
    def image_f1(self) -> pandas.Series:
        """Mean F1 over seeds of each image without attack, by row, set and image; authentic ones are left out."""
        chosen = self.records[(self.records["attack"] == "none") & ~self.records["authentic"]]
        return chosen.groupby(["row", "set", "image"], observed=True)["f1"].mean()

    @cached_property
    def authentic_images(self) -> dict[str, int]:
        """How many authentic images each set has."""
        chosen = self.records[(self.records["attack"] == "none") & self.records["authentic"]]
        counts = chosen.groupby("set", observed=True)["image"].nunique()
        return {name: int(counts[name]) for name in self.sets() if name in counts}


def row_name(entry: Mapping[str, Any]) -> str:
    """Return the row of the tables that a model of ``suite.json`` stands in."""
    return str(entry.get("row") or entry["name"])


def name_rows(entries: Sequence[dict[str, Any]]) -> None:
    """Give each model of ``suite.json`` its row: the published one that its name spells, unless two names do."""
    rows = {folded(row): row for row in published_rows()}
    spellings: dict[str, set[str]] = {}
    for entry in entries:
        spellings.setdefault(folded(row_name(entry)), set()).add(row_name(entry))
    for entry in entries:
        word = folded(row_name(entry))
        entry["row"] = rows.get(word, row_name(entry)) if len(spellings[word]) == 1 else row_name(entry)


def read_run(root: Path) -> ScoredRun:
    """Read the records and the description of a run, finished or not.

    Raises:
        RequestError: the folder is none of a run, or it has no records.
    """
    try:
        suite: dict[str, Any] = json.loads((root / "suite.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{root} has no readable suite.json", A_RUN) from error
    files = sorted((root / "records").glob("*.parquet"))
    if not files:
        raise RequestError(
            f"{root} has no records yet",
            "scores of at least one model on one set",
            "give `qmanet suite run` time to write some",
        )
    _check_description(root, suite)
    try:
        records = _read_records(files)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0][:200]
        raise RequestError(f"records in {root} cannot be read ({reason})", A_RUN) from error
    _check_columns(root, records)
    name_rows(suite["models"])
    rows = {(entry["name"], entry["seed"]): row_name(entry) for entry in suite["models"]}
    names = {entry["name"] for entry in suite["sets"]}
    titles = list(dict.fromkeys(rows.values()))
    codes = np.full(len(records), -1)
    for (model, seed), row in rows.items():
        codes[((records["model"] == model) & (records["seed"] == seed)).to_numpy()] = titles.index(row)
    records["row"] = pandas.Categorical.from_codes(codes, titles)
    known = (codes >= 0) & records["set"].isin(names).to_numpy()
    if not known.all():  # without need it would copy them all
        records = records[known].reset_index(drop=True)
    if records.empty:
        raise RequestError(f"no record in {root} belongs to the models and sets of its suite.json", A_RUN)
    return ScoredRun(records, suite, _footnotes(suite))


def _read_records(files: Sequence[Path]) -> pandas.DataFrame:
    """Return all rows, with names as categories."""
    tables = []
    for path in files:
        file = parquet.ParquetFile(path)  # read_table takes five times as long for a small file
        part = file.read([name for name in READ if name in file.schema_arrow.names])
        for place, column in enumerate(part.schema):
            if pyarrow.types.is_string(column.type):
                part = part.set_column(place, column.name, part[column.name].dictionary_encode())
        tables.append(part)
    table = pyarrow.concat_tables(tables, promote_options="default").unify_dictionaries()
    tables.clear()
    records = table.to_pandas(strings_to_categorical=True, split_blocks=True, self_destruct=True)
    if "authentic" not in records:
        records["authentic"] = False
    records["authentic"] = records["authentic"].fillna(False).astype(bool)
    return records


def _footnotes(suite: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    footnotes: dict[str, tuple[str, ...]] = {}
    for entry in suite["models"]:
        notes = (*footnotes.get(row_name(entry), ()), *entry.get("footnotes", ()))
        if entry.get("checkpoint") == "random" and entry["model"] != "AllTampered":
            notes = (*notes, UNTRAINED)
        footnotes[row_name(entry)] = tuple(dict.fromkeys(notes))
    return footnotes


def _check_description(root: Path, suite: Any) -> None:
    """Raise RequestError where ``suite.json`` lacks something that the report needs."""
    checked = [("", suite, DESCRIBED)]
    if isinstance(suite, dict):
        for part, kinds in ENTRIES.items():
            entries = suite.get(part)
            checked += [(f"{part}: ", entry, kinds) for entry in (entries if isinstance(entries, list) else [])]
    for where, described, kinds in checked:
        for name, kind in kinds.items():
            if not isinstance(described, dict) or not isinstance(described.get(name), kind):
                got = f"{root / 'suite.json'}: {where}no {name} that is a {kind.__name__}"
                raise RequestError(got, A_RUN)


def _check_columns(root: Path, records: pandas.DataFrame) -> None:
    for name in (*KEYS, *MEASURED):
        if name not in records or (name in MEASURED and not pandas.api.types.is_numeric_dtype(records[name])):
            raise RequestError(f"records in {root} have no column {name} of the right kind", A_RUN)
