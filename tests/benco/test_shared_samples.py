"""Samples that models share are those that each would load by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from forgeries import make_set
from torch.utils.data import default_collate

from qmanet_benco.benco import scoring
from qmanet_benco.benco.shared_samples import Preparation, SharedSamples
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.errors import RequestError

BATCHES = [(0, 2), (1, 3), (4,)]
MODELS = ("Mesorch", "IML_ViT", "QMANet", "Cat_Net_RealDCT")
"""Nothing beyond the image; an edge mask; a residual; the coefficients of a JPEG."""


class Darker:
    """An attack that counts the photos that it is called for."""

    def __init__(self) -> None:
        self.called = 0

    def __call__(self, image: Any, mask: Any) -> dict[str, Any]:
        self.called += 1
        return {"image": image // 2, "mask": mask}


def same(ours: dict[str, Any], stock: dict[str, Any]) -> bool:
    def equal(one: Any, other: Any) -> bool:
        return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)

    return list(ours) == list(stock) and all(equal(ours[name], stock[name]) for name in stock)


@pytest.mark.parametrize("workers", [None, 0, 1])
@pytest.mark.parametrize("padding", [False, True])
def test_each_model_gets_the_samples_that_it_would_load_itself(
    padding: bool, workers: int | None, tmp_path: Path
) -> None:
    data, attack = make_set(tmp_path / "data", 5), Darker()
    preparations = [Preparation(zoo.row_of(name).edge_width, zoo.post_function(name)) for name in MODELS]
    with scoring.as_the_test_script():
        shared = SharedSamples(data, 96, padding, attack, preparations)
        loaded = list(shared.batches(BATCHES, workers))
        assert attack.called == (0 if workers else 5), "a worker counts in its own memory"
        for place, wanted in enumerate(preparations):
            alone = scoring.open_set(data, 96, padding, Darker(), wanted.post_function, wanted.edge_width)
            for indices, batch in zip(BATCHES, loaded, strict=True):
                assert same(batch[place], default_collate([alone[index] for index in indices])), MODELS[place]


def test_a_post_function_changes_nothing_for_the_other_models(tmp_path: Path) -> None:
    def spoil(sample: dict[str, Any]) -> None:
        sample["image"].zero_()

    data = make_set(tmp_path / "data", 2)
    with scoring.as_the_test_script():
        own, others = SharedSamples(data, 64, False, None, [Preparation(None, spoil), Preparation()])[1]
    assert not own["image"].any()
    assert others["image"].any()


@pytest.mark.parametrize("workers", [None, 0, 1])
def test_what_fails_fails_for_its_own_model_and_batch(workers: int | None, tmp_path: Path) -> None:
    def refuse(sample: dict[str, Any]) -> None:
        if sample["name"] == "photo01.png":
            raise RequestError("this one", "another")

    data = make_set(tmp_path / "data", 5)
    with scoring.as_the_test_script():
        names = [sample["name"] for sample in map(scoring.open_set(data, 64, False, None, None).__getitem__, range(5))]
        bad = [any(names[index] == "photo01.png" for index in indices) for indices in BATCHES]
        assert bad.count(True) == 1
        shared = SharedSamples(data, 64, False, None, [Preparation(), Preparation(None, refuse)])
        loaded = list(shared.batches(BATCHES, workers))
    assert [isinstance(batch[1], RequestError) for batch in loaded] == bad
    assert {str(batch[1]) for batch in loaded if isinstance(batch[1], Exception)} == {"this one; expected another"}
    assert not any(isinstance(batch[0], Exception) for batch in loaded)


def test_unreadable_photo_is_named_for_every_model(tmp_path: Path) -> None:
    data = make_set(tmp_path / "data", 3)
    photo = sorted((data / "Tp").iterdir())[1]
    photo.write_bytes(photo.read_bytes()[:40])
    with scoring.as_the_test_script():
        shared = SharedSamples(data, 64, False, None, [Preparation(), Preparation(edge_width=7)])
        first, second, third = shared.batches([(0,), (1,), (2,)])
    assert all(photo.name in str(error) for error in second)
    assert not any(isinstance(batch, Exception) for batch in (*first, *third))
