"""A short form of the long run."""

from __future__ import annotations

from pathlib import Path

import pytest

from soak import Watch, predict, train


@pytest.mark.slow
def test_predictions_do_not_make_the_process_grow(tmp_path: Path) -> None:
    figures = predict(120, tmp_path)
    assert figures.count == 120
    assert figures.flat, figures


@pytest.mark.slow
def test_training_does_not_make_the_process_grow(tmp_path: Path) -> None:
    figures = train(120, tmp_path)
    assert figures.count == 120
    assert figures.flat, figures


def test_growth_is_found() -> None:
    leaking = Watch(memory=[100.0 + number for number in range(20)], files=[10] * 20)
    assert not leaking.figures("steps").flat
    open_files = Watch(memory=[100.0] * 20, files=[10 + number for number in range(20)])
    assert not open_files.figures("steps").flat
    assert Watch(memory=[100.0] * 20, files=[10] * 20).figures("steps").flat
