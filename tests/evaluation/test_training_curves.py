"""The curves of a training are what its trainer logged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.report import training_curves
from qmanet_benco.evaluation.report.training_curves import figure_of, losses_of, validation_of


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """As the framework's train.py leaves it: 3 epochs, the last of them resumed, validated at 0 and 2."""
    lines = [
        {"train_lr": 1e-4, "train_total_loss": 0.9 - 0.2 * epoch, "train_edge_loss_level1": 0.5, "epoch": epoch}
        for epoch in (0, 1, 2)
    ]
    lines.append(lines[-1] | {"train_total_loss": 0.4})
    (tmp_path / "log.txt").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for values in ({0: 0.1, 2: 0.2}, {2: 0.3}):
        writer = SummaryWriter(log_dir=str(tmp_path))
        for epoch, value in values.items():
            writer.add_scalars("pixel-level F1_Metric", {"real": value, "generated": 2 * value}, epoch)
        writer.close()
    return tmp_path


def test_losses_and_every_set_s_f1_are_read_and_a_resumed_epoch_counts_once(trained: Path) -> None:
    assert losses_of(trained) == {"total loss": pytest.approx({0: 0.9, 1: 0.7, 2: 0.4})}
    assert validation_of(trained) == {
        "generated": pytest.approx({0: 0.2, 2: 0.6}),
        "real": pytest.approx({0: 0.1, 2: 0.3}),
    }


def test_the_figure_shows_both_after_the_epochs_that_ended(trained: Path) -> None:
    loss, f1 = figure_of(losses_of(trained), validation_of(trained)).axes
    assert list(loss.lines[0].get_xdata()) == [1, 2, 3]
    assert {line.get_label(): list(line.get_xdata()) for line in f1.lines} == {"generated": [1, 3], "real": [1, 3]}


def test_the_command_writes_a_picture_and_refuses_what_is_no_training(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["curves", str(trained), "--to", str(tmp_path / "curves.png")])
    assert training_curves.main() == 0
    assert Image.open(tmp_path / "curves.png").size[0] > 500
    monkeypatch.setattr(sys, "argv", ["curves", str(trained), "--to", str(tmp_path / "curves.xyz")])
    assert training_curves.main() == 2
    assert "curves.xyz" in capsys.readouterr().err
    assert not (tmp_path / "curves.xyz").exists()
    monkeypatch.setattr(sys, "argv", ["curves", str(trained), "--to", str(tmp_path / "log.txt" / "curves.png")])
    assert training_curves.main() == 2
    assert "log.txt" in capsys.readouterr().err
    with pytest.raises(RequestError, match="--output_dir"):
        losses_of(tmp_path / "elsewhere")
    (tmp_path / "log.txt").write_text('{"train_total_loss": 0.5}\n')
    with pytest.raises(RequestError, match="epoch"):
        losses_of(tmp_path)


def test_no_set_is_left_out_of_the_figure() -> None:
    validation = {f"set{number}": {0: 0.1} for number in range(11)}
    assert len(figure_of({}, validation).axes[1].lines) == 11
