"""The bench takes turns, takes ratios round by round, and counts what backward keeps."""

from __future__ import annotations

import json
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from loading import STAGES, seconds_of_stages, seconds_per_image, training_set
from model_process import ModelProcess, started
from qmanet_benco.errors import RequestError
from speed import bench, main, saved_bytes
from timing import interleaved, ratio

CPU = torch.device("cpu")


def test_works_take_turns_and_the_first_turn_is_not_counted() -> None:
    order: list[str] = []
    works = {name: (lambda name=name: order.append(name)) for name in ("one", "other")}
    seconds = interleaved(works, 3, CPU)
    assert order == ["one", "other"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"one": 3, "other": 3}


def test_slower_work_takes_longer() -> None:
    seconds = interleaved({"slow": lambda: time.sleep(0.05), "quick": lambda: None}, 2, CPU)
    assert min(seconds["slow"]) >= 0.05 > max(seconds["quick"])


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=9), st.floats(0.1, 10))
def test_a_factor_that_hits_both_in_a_round_changes_no_ratio(seconds: list[float], factor: float) -> None:
    noisy = [second * (1 + index) for index, second in enumerate(seconds)]
    row = ratio("part", "name", [factor * value for value in noisy], noisy)
    assert row.low == pytest.approx(factor)
    assert row.median == pytest.approx(factor)
    assert row.high == pytest.approx(factor)


class Toy(nn.Module):
    """A network whose middle can be recomputed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.enabled = False

    @property
    def network(self) -> Toy:
        return self

    def set_checkpointing(self, enabled: bool) -> None:
        self.enabled = enabled

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        from torch.utils.checkpoint import checkpoint

        def middle(x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(x).sigmoid()).sigmoid()

        return checkpoint(middle, image, use_reentrant=False) if self.enabled else middle(image)


def test_kept_activations_are_counted_once_and_without_parameters() -> None:
    batch = {"image": torch.randn(4, 8, requires_grad=True)}
    map_bytes = 4 * 8 * 4
    # the input, the first sigmoid's output (for itself and the second layer) and the last one's
    assert saved_bytes(Toy(), False, batch) == 3 * map_bytes
    assert saved_bytes(Toy(), True, batch) <= map_bytes


@pytest.mark.slow
def test_processes_compute_when_they_are_told_to_and_tell_their_peak() -> None:
    with started([ModelProcess("inference", "QMANet", 64, keeps_memory=True)]) as (process,):
        seconds = interleaved({"there": process}, 2, CPU)["there"]
        assert min(seconds) > 0
        assert process.peak_mib() > 500  # PyTorch and 113 M parameters
    assert process.process.returncode is not None


@pytest.mark.slow
def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="NoSuchModel"), started([ModelProcess("inference", "NoSuchModel", 64)]):
        pass


def test_loading_tells_where_the_time_of_an_image_goes() -> None:
    with training_set(64) as dataset:
        former = {name: getattr(dataset, name) for name in STAGES}
        start = time.perf_counter()
        stages = seconds_of_stages(dataset)
        whole = time.perf_counter() - start
        assert {*stages} == {*STAGES.values(), "the rest"}
        assert all(seconds > 0 for seconds in stages.values())
        assert sum(stages.values()) * len(dataset) <= whole
        assert {name: getattr(dataset, name) for name in STAGES} == former
        assert seconds_per_image(dataset, 1) > 0


def test_wrong_requests_are_told() -> None:
    with pytest.raises(RequestError, match="inference"):
        bench(["speed"])
    with pytest.raises(RequestError, match="rounds"):
        bench(["import"], rounds=0)
    if not torch.cuda.is_available():
        with pytest.raises(RequestError, match="CUDA"):
            bench(["import"], device="cuda")


def test_command_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--parts", "cache,growth", "--rounds", "1", "--image-size", "64", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["part"] for row in document["ratios"]] == ["cache", "growth", "growth"]
    assert document["ratios"][0]["median"] > 0
    assert document["machine"]["torch"] == torch.__version__
