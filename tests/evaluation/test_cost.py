"""The counter against closed forms, and Table 10's command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qmanet_benco.cli.main import main
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.cost import Cost, Subject, multiply_adds, subjects


class Named(nn.Module):
    """A layer that takes its input by name, as the framework's models do."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layer(image)


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x)


class Products(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x.transpose(-2, -1) @ x


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 5, padding=2), (1, 3, 20, 30), 20 * 30 * 8 * 3 * 25),
        (nn.Conv2d(8, 8, 3, stride=2, padding=1), (1, 8, 20, 30), 10 * 15 * 8 * 8 * 9),
        (nn.Conv2d(8, 16, 3, padding=1, groups=4), (2, 8, 10, 10), 2 * 10 * 10 * 16 * 2 * 9),
        (nn.ConvTranspose2d(6, 4, 2, stride=2), (1, 6, 10, 10), 10 * 10 * 6 * 4 * 4),
        (nn.Linear(12, 7), (5, 12), 5 * 12 * 7),
        (nn.Linear(12, 7), (2, 9, 12), 2 * 9 * 12 * 7),
        (Attention(), (2, 3, 40, 16), 2 * 3 * 2 * 40 * 40 * 16),
        (Products(), (2, 40, 16), 2 * 2 * 40 * 40 * 16),
        (nn.Sequential(nn.BatchNorm2d(4), nn.GELU()), (1, 4, 8, 8), 0),
    ],
)
def test_count_is_the_closed_form(layer: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert multiply_adds(Named(layer.eval()), {"image": torch.randn(shape)}) == expected


def test_count_of_a_fused_attention_is_that_of_its_two_products() -> None:
    x = torch.randn(2, 3, 64, 16)
    fused, written_out = (multiply_adds(Named(layer), {"image": x}) for layer in (Attention(), Products()))
    assert fused == written_out > 0


def test_without_names_all_of_table_10_is_measured() -> None:
    assert [subject.label for subject in subjects((), ())][-1] == "QMANet paper"
    assert subjects(("QMANet",), ("b0", "q4")) == [Subject("QMANet", "b0"), Subject("QMANet", "q4")]
    assert subjects((), ("b0",)) == [Subject("QMANet", "b0")]


def test_every_network_that_can_be_trained_can_be_measured() -> None:
    names = ["paper", "b0-cp", "b0-light", "miniature-statistics"]
    assert [subject.variant for subject in subjects((), names)] == names


@pytest.mark.parametrize(("models", "variants"), [(("Mesorsh",), ()), ((), ("b9",))])
def test_unknown_name_is_refused(models: tuple[str, ...], variants: tuple[str, ...]) -> None:
    with pytest.raises(RequestError):
        subjects(models, variants)


def test_command_prints_one_json_list_with_the_agreed_fields(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["qmanet", "cost", "--variant", "miniature", "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    written = capfd.readouterr()
    assert not end.value.code, written.err
    (row,) = json.loads(written.out)
    assert {"model", "variant", "params_m", "macs_g", "image_size", "latency_s", "peak_mib"} <= set(row)
    assert (row["model"], row["variant"], row["image_size"]) == ("QMANet", "miniature", 512)
    from qmanet_benco import create_model

    network = create_model("miniature", backbone_weights="random")
    assert row["params_m"] == pytest.approx(sum(p.numel() for p in network.parameters()) / 1e6)
    assert row["macs_g"] > 0.1
    assert row["peak_mib"] > 10


def test_table_is_whole_in_a_pipe_and_written_as_csv_and_latex(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import csv

    from qmanet_benco.cli.cost import show
    from qmanet_benco.evaluation.report.costs import write_costs

    row = Cost("Model_with_a_long_name", "variant", 1.5, 123456.7, 512, 0.25, 1024.0, 2.0, 123456.8, "100 % of it")
    show([row])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Model_with_a_long_name variant" in line]
    assert "123456.7" in line
    assert "246913.4" in line
    table, tex = write_costs([row], tmp_path / "out")
    (found,) = csv.DictReader(table.open())
    assert (float(found["macs_g"]), float(found["flops_g"])) == (123456.7, 246913.4)
    text = tex.read_text()
    assert r"Model\_with\_a\_long\_name variant & 512 & 1.5 & 123456.7 & 0.2 & 1024.0 & 2.0 & 123456.8 \\" in text
    assert r"100 \% of it" in text
