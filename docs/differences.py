"""The page "How our numbers differ from the framework's", made from the tables that the code itself runs by.

``python docs/differences.py`` prints it; a test holds ``docs/differences.md`` to it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from qmanet_benco.benco.corrections.row import Correction, nothing
from qmanet_benco.benco.corrections.table import ROWS as CORRECTIONS
from qmanet_benco.benco.launch import stock_script
from qmanet_benco.benco.zoo.baselines import NOT_BUILT
from qmanet_benco.benco.zoo.baselines import ROWS as BASELINES
from qmanet_benco.evaluation.attacks import ATTACKS
from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.report.render import markdown_table

INTRODUCTION = """\
# How our numbers differ from the framework's, and why

This page is printed by `python docs/differences.py`; a test keeps it so. File and line are
those of IMDL-BenCo 0.1.45.

Columns with the framework's names equal its numbers, defects included, so that they can stand beside published ones.
Where we hold another definition to be right, it has another name. The framework's scripts run with the corrections
below; `qmanet benco ... --stock` (stock: the framework's own code, unchanged) leaves out all of them,
`--without NAME` one.
"""
METRICS_INTRODUCTION = """\
## Metrics

The suite's means of the first four equal what the framework's own test script logs
(`tests/evaluation/test_run.py`, to 1e-6, with one process and with two). Of a set with authentic images the script's
mean counts each of them as 0; so do the records, but the report's means leave them out.

At image level ImageF1, ImageAUC and ImageAccuracy equal the framework's evaluators
(`tests/evaluation/test_detection.py`)."""
CORRECTIONS_INTRODUCTION = """\
## Corrections of the scripts

None changes a published metric, augmentation or attack. `qmanet doctor` shows which apply. Files are below
`qmanet_benco/`. What lets the scripts run where there is no CUDA is apart, in `benco/corrections/cpu.py`; it holds for
`--stock` too."""
ATTACKS_INTRODUCTION = """\
## Attacks

Each is seeded by the suite's seed, the attack, its level and the image's pixels: a record depends neither on the
order of the images nor on the batch. The levels are those of the paper's Tables 7 and 8, where it has the attack."""
BASELINES_INTRODUCTION = """\
## Baselines

What the framework's copy of a method does differently from its authors, or what makes a comparison unfair. The
framework's copies stay as they are; a corrected version is a model of its own."""

NOT_BUILT_INTRODUCTION = "## Models that cannot be run"


def page() -> str:
    """Write the page as Markdown."""
    metrics = [(f"`{row.name}`", row.definition, row.averages_over, row.differs_from_stock) for row in METRICS]
    corrections = [
        (f"`{row.name}`", f"`{row.stock}`", row.why, ", ".join(row.scripts), f"`{_file(row)}`") for row in CORRECTIONS
    ]
    attacks = [
        (f"`{kind.name}`", kind.unit, kind.about, ", ".join(map(str, kind.paper_levels)) or "none")
        for kind in ATTACKS.values()
    ]
    baselines = [(f"`{row.name}`", "<br>".join(row.footnotes)) for row in BASELINES if row.footnotes]
    parts = [
        INTRODUCTION,
        METRICS_INTRODUCTION,
        _table(("column", "definition", "averages over", "differs from the framework's"), metrics),
        CORRECTIONS_INTRODUCTION,
        _table(("name", "line of IMDLBenCo", "what is wrong there", "scripts", "corrected in"), corrections),
        ATTACKS_INTRODUCTION,
        _table(("name", "unit", "what it does", "paper's levels"), attacks),
        BASELINES_INTRODUCTION,
        _table(("model", "notes"), baselines),
        NOT_BUILT_INTRODUCTION,
        _table(("model", "why"), list(NOT_BUILT.items())),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _file(row: Correction) -> str:
    """Where a correction's patch stands; what has none is done before the script starts."""
    module = stock_script.__name__ if row.apply is nothing else row.apply.__module__
    return f"{module.removeprefix('qmanet_benco.').replace('.', '/')}.py"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(markdown_table(heads, [[cell.replace("|", "/") for cell in row] for row in rows]))


if __name__ == "__main__":
    sys.stdout.write(page())
