"""The post function: residuals attached in the loader's workers, and a cache that never mistakes an image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forgeries import make_set
from hypothesis import given, settings
from hypothesis import strategies as st
from IMDLBenCo.datasets import ManiDataset
from IMDLBenCo.registry import POSTFUNCS
from torch import Tensor
from torch.utils.data import DataLoader

from qmanet_benco.benco import noise_transforms
from qmanet_benco.benco.noise_transforms import (
    CACHE_VARIABLE,
    cache_in_use,
    pixel_key,
    qmanet_post_func,
    read_residual,
    store_residual,
    use_cache,
)

KEY_BYTES = 32


@pytest.fixture(autouse=True)
def _no_cache_left(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setenv(CACHE_VARIABLE, "")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("photos"), 3)


def dataset(folder: Path, **changes: Any) -> ManiDataset:
    sizes = dict(is_resizing=True, output_size=(64, 64)) | changes
    return ManiDataset(str(folder), post_funcs=qmanet_post_func, **sizes)


def test_registered_under_the_name_that_the_stock_scripts_look_up() -> None:
    assert POSTFUNCS.get_lower("qmanet_post_func") is noise_transforms.qmanet_post_func


def test_without_a_cache_the_sample_stays_as_the_dataset_made_it(photos: Path) -> None:
    plain = ManiDataset(str(photos), is_resizing=True, output_size=(64, 64))[0]
    sample = dataset(photos)[0]
    assert sample.keys() == plain.keys()
    assert torch.equal(sample["image"], plain["image"])


def test_without_a_cache_nothing_is_known_of_noiseprint() -> None:
    sample = {"image": torch.randn(3, 64, 64)}
    qmanet_post_func(sample)
    assert sample.keys() == {"image"}
    assert cache_in_use() is None


def test_unknown_residual_comes_as_nan_with_the_key_to_store_it(tmp_path: Path) -> None:
    use_cache(tmp_path, "weights")
    image = torch.randn(3, 64, 64)
    sample = {"image": image}
    qmanet_post_func(sample)
    assert sample["noiseprint_residual"].shape == (1, 64, 64)
    assert sample["noiseprint_residual"].isnan().all()
    assert bytes(sample["noiseprint_key"].tolist()) == pixel_key(image)


def test_known_residual_is_attached(tmp_path: Path) -> None:
    folder = use_cache(tmp_path, "weights")
    image, residual = torch.randn(3, 64, 64), torch.randn(1, 64, 64)
    store_residual(folder, pixel_key(image), residual)
    sample = {"image": image}
    qmanet_post_func(sample)
    assert torch.equal(sample["noiseprint_residual"], residual)


def test_workers_of_a_loader_find_the_cache(photos: Path, tmp_path: Path) -> None:
    folder = use_cache(tmp_path, "weights")
    residuals = []
    for sample in dataset(photos):
        residuals.append(torch.randn(1, 64, 64))
        store_residual(folder, pixel_key(sample["image"]), residuals[-1])
    loader = DataLoader(dataset(photos), batch_size=3, num_workers=2)
    (batch,) = loader
    assert torch.equal(batch["noiseprint_residual"], torch.stack(residuals))
    assert batch["noiseprint_key"].shape == (3, KEY_BYTES)


def test_cache_of_other_weights_is_another_folder(tmp_path: Path) -> None:
    first = use_cache(tmp_path, "first")
    image = torch.randn(3, 64, 64)
    store_residual(first, pixel_key(image), torch.zeros(1, 64, 64))
    second = use_cache(tmp_path, "second")
    assert first != second == cache_in_use()
    assert os.environ[CACHE_VARIABLE] == str(second)  # spawned workers know the environment only
    sample = {"image": image}
    qmanet_post_func(sample)
    assert sample["noiseprint_residual"].isnan().all()


@settings(max_examples=30)
@given(st.integers(0, 2), st.integers(0, 15), st.integers(0, 19), st.sampled_from([-1, 1]))
def test_one_grey_level_in_one_pixel_is_another_image(channel: int, row: int, column: int, step: int) -> None:
    image = torch.rand(3, 16, 20)
    changed = image.clone()
    changed[channel, row, column] += step / 255 / 0.229
    assert pixel_key(image) == pixel_key(image.clone())
    assert pixel_key(changed) != pixel_key(image)


def test_the_same_numbers_in_another_shape_are_another_image() -> None:
    image = torch.rand(3, 16, 20)
    assert pixel_key(image.reshape(3, 20, 16)) != pixel_key(image)


def test_key_depends_on_pixels_and_not_on_their_order_in_memory() -> None:
    image = torch.rand(3, 16, 20)
    channels_last = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert not channels_last.is_contiguous()
    assert pixel_key(channels_last) == pixel_key(image)
    assert len(pixel_key(image)) == KEY_BYTES


def stored(folder: Path) -> tuple[bytes, Tensor, Path]:
    key, residual = bytes(range(KEY_BYTES)), torch.randn(1, 8, 8)
    store_residual(folder, key, residual)
    (path,) = folder.rglob("*.npy")
    return key, residual, path


def test_stored_residual_comes_back_exactly(tmp_path: Path) -> None:
    key, residual, _ = stored(tmp_path)
    assert torch.equal(read_residual(tmp_path, key), residual)
    assert read_residual(tmp_path, bytes(KEY_BYTES)) is None


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_residual_is_unknown_and_said(kept: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key, _, path = stored(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert read_residual(tmp_path, key) is None
    assert f"{path} is damaged" in caplog.text


def test_residual_file_runs_no_code(tmp_path: Path) -> None:
    key, _, path = stored(tmp_path)
    np.save(path, np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    assert read_residual(tmp_path, key) is None


def test_residual_of_another_size_is_not_attached(tmp_path: Path) -> None:
    folder = use_cache(tmp_path, "weights")
    image = torch.randn(3, 64, 64)
    store_residual(folder, pixel_key(image), torch.zeros(1, 32, 32))
    sample = {"image": image}
    qmanet_post_func(sample)
    assert sample["noiseprint_residual"].isnan().all()


def test_full_disk_costs_nothing_but_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, write: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(noise_transforms, "write_atomically", full)
    store_residual(tmp_path, bytes(KEY_BYTES), torch.zeros(1, 8, 8))
    assert "cannot be stored" in caplog.text
    assert "No space left" in caplog.text
