"""What the framework's input does to TruFor's noise map, on photos that the dependencies ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from noise_map import compare, main, median_of
from qmanet_benco.data.forge.photos import PHOTOS, pixels


def test_stock_input_gives_another_noise_map_and_training_mode_a_still_less_alike_one(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    from PIL import Image

    paths = []
    for photo in (PHOTOS[0], PHOTOS[6]):
        paths.append(tmp_path / f"{Path(photo.name).stem}.png")
        Image.fromarray(pixels(photo)).save(paths[-1])
    rows = compare(str(shared_data("noiseprint++.th")), paths, image_size=128)
    middle = median_of(rows)
    assert len(rows) == 2
    assert 0 < middle.training_correlation < middle.correlation < 0.95


def test_missing_weights_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--weights", str(tmp_path / "absent.th")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # the framework prints when it is imported
    assert "absent.th" in line
