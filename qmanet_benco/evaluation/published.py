"""The paper's own numbers, always shown as published and never mixed with measured ones."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("published.json")


@cache
def published() -> dict[str, Any]:
    """Tables 1, 2, 5 to 10 of the paper by ``table1`` ... ``table10``."""
    content: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return content


def published_value(*keys: str) -> float | None:
    """Look up one number, e.g. of ``("table1", "pixel_f1", "TruFor", "CASIAv1")``; None where the paper has none."""
    value: Any = published()
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else None


def rows_of(*block: str) -> list[str]:
    """Names of the rows of a block, e.g. of ``("table1", "pixel_f1")``."""
    value: Any = published()
    for key in block:
        value = value[key]
    return list(value)


def published_rows() -> set[str]:
    """Return every model that has a row of its own somewhere in the paper."""
    blocks = (("table1", "pixel_f1"), ("table2", "pixel_f1"), ("table9", "pixel_f1"))
    return {name for block in blocks for name in rows_of(*block)}
