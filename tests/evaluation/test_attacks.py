"""Attacks: the framework's where they are the framework's, seeded for each image, masks untouched."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.attacks import ATTACKS, NONE, Attack, transform

LEVELS = dict(jpeg=50, blur=7, noise_variance=11, noise_std=11, resize=50, recompression=3, social=64)


def photo(seed: int = 0, height: int = 90, width: int = 120) -> np.ndarray:
    generator = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, width)[None, :, None] * np.ones((height, 1, 3))
    return (ramp + generator.normal(0, 6, ramp.shape)).clip(0, 255).astype(np.uint8)


def attacked(name: str, level: float, image: np.ndarray, seed: int = 0) -> np.ndarray:
    mask = np.zeros((*image.shape[:2], 3), np.uint8)
    changed = transform(Attack(name, level), seed)(image=image, mask=mask)
    assert changed["mask"] is mask
    return changed["image"]


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_changes_the_image_and_neither_its_size_nor_the_original(name: str) -> None:
    image = photo()
    before = image.copy()
    changed = attacked(name, LEVELS[name], image)
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert (image == before).all()
    assert (changed != image).mean() > 0.2


@pytest.mark.parametrize("name", ATTACKS)
def test_result_depends_on_image_level_and_seed_alone(name: str) -> None:
    level = LEVELS[name]
    first = attacked(name, level, photo())
    random.seed(5)
    np.random.seed(5)
    attacked(name, level, photo(1))
    assert (attacked(name, level, photo()) == first).all()


@pytest.mark.parametrize("name", ["noise_variance", "noise_std"])
def test_two_images_and_two_seeds_get_two_noises(name: str) -> None:
    image = photo()
    noise = attacked(name, 11, image).astype(int) - image
    other = photo(1)
    assert (attacked(name, 11, image, seed=1).astype(int) - image != noise).mean() > 0.3
    assert (attacked(name, 11, other).astype(int) - other != noise).mean() > 0.3


@pytest.mark.parametrize("name", ATTACKS)
def test_global_generators_are_left_as_they_were(name: str) -> None:
    random.seed(1)
    np.random.seed(1)
    expected = (random.random(), np.random.random())
    random.seed(1)
    np.random.seed(1)
    attacked(name, LEVELS[name], photo())
    assert (random.random(), np.random.random()) == expected


def test_noise_has_the_deviation_that_its_unit_says() -> None:
    image = np.full((400, 400, 3), 128, np.uint8)
    for name, level, sigma in (("noise_std", 11, 11.0), ("noise_variance", 11, 11**0.5), ("noise_std", 3, 3.0)):
        noise = attacked(name, level, image).astype(float) - 128
        assert noise.std() == pytest.approx((sigma**2 + 1 / 12) ** 0.5, rel=0.05), name


def test_blur_is_the_framework_s() -> None:
    from IMDLBenCo.transforms.robustness_wrapper import GaussianBlurWrapper

    ((_, stock),) = list(GaussianBlurWrapper([7]))
    assert (attacked("blur", 7, photo()) == stock(image=photo())["image"]).all()


def test_jpeg_is_the_framework_s_at_one_of_its_two_qualities() -> None:
    import albumentations as albu

    made = attacked("jpeg", 50, photo())
    stock = [albu.JpegCompression(quality, quality, always_apply=True)(image=photo())["image"] for quality in (49, 50)]
    assert any((made == image).all() for image in stock)


def test_none_is_no_transform() -> None:
    assert transform(NONE, 0) is None


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("jpeg", 1),
        ("jpeg", 101),
        ("jpeg", 50.5),
        ("blur", 4),
        ("blur", 1),
        ("noise_variance", 0),
        ("noise_std", -3),
        ("noise_std", float("nan")),
        ("resize", 0),
        ("recompression", 0),
        ("social", 10),
        ("crop", 3),
    ],
)
def test_level_that_makes_no_sense_is_refused(name: str, level: float) -> None:
    with pytest.raises(RequestError, match=name):
        transform(Attack(name, level), 0)


@settings(max_examples=30)
@given(st.sampled_from(sorted(ATTACKS)), st.integers(16, 200), st.integers(16, 200), st.integers(0, 99))
def test_every_size_keeps_its_size(name: str, height: int, width: int, seed: int) -> None:
    assert attacked(name, LEVELS[name], photo(seed, height, width)).shape == (height, width, 3)


def test_paper_s_levels_are_accepted() -> None:
    of_paper = {name: kind for name, kind in ATTACKS.items() if kind.paper_levels}
    assert {"jpeg", "blur", "noise_variance", "noise_std"} <= set(of_paper)
    for kind in of_paper.values():
        assert [level for level in kind.paper_levels if not kind.accepts(level)] == []
