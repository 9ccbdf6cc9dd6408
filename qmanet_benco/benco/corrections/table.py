"""Lists the defects of the stock scripts that are corrected while one runs: one small patch each, in :data:`ROWS`.

None changes a number that published work reports: metrics, augmentations and attacks stay as they are. ``--stock``
leaves all of them out, ``--without NAME`` leaves one out, and `qmanet doctor` shows which apply here.

The rows and their patches stand in one file for each part of the framework. It is imported where a patch is applied:
the table can be read without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from qmanet_benco.benco.corrections import (
    complexity_script,
    cpu,
    datasets,
    model_zoo,
    testing_scripts,
    train_script,
    utilities,
)
from qmanet_benco.benco.corrections.row import Correction, Request
from qmanet_benco.benco.seam.patches import Patches
from qmanet_benco.errors import RequestError

ROWS = (
    *datasets.ROWS,
    *utilities.ROWS,
    *train_script.ROWS,
    *testing_scripts.ROWS,
    *complexity_script.ROWS,
    *model_zoo.ROWS,
)
NAMES = tuple(row.name for row in ROWS)
BUILDING = tuple(row for row in ROWS if row.name == datasets.JPEG_COEFFICIENTS or row in model_zoo.ROWS)
"""The corrections that building and feeding a baseline needs."""


def selected(script: str, stock: bool = False, without: Sequence[str] = ()) -> tuple[Correction, ...]:
    """Return the corrections of a run.

    Args:
        script: the stock script.
        stock: none at all.
        without: names to leave out.

    Raises:
        RequestError: a name is unknown.
    """
    for name in without:
        if name not in NAMES:
            raise RequestError(f"--without {name}", f"one of {', '.join(NAMES)}")
    return () if stock else tuple(row for row in ROWS if script in row.scripts and row.name not in without)


@contextmanager
def corrected(request: Request, rows: Sequence[Correction]) -> Iterator[None]:
    """Apply corrections within the block, and what lets the framework run where there is no CUDA."""
    with cpu.without_cuda(), Patches() as patches:
        for row in rows:
            row.apply(patches, request)
        yield
