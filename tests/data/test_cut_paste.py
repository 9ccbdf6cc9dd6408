"""What is pasted is the donor's, what is not stays the host's, and the mask says which."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmanet_benco.data.forge.cut_paste import LEAST_PIXELS, NoRegionError, PasteKnobs, paste, paste_crops
from qmanet_benco.data.forge.forgery import ForgeryKnobs, random_region
from qmanet_benco.errors import RequestError

UNCHANGED = PasteKnobs(unscaled=1.0, hard=1.0)
sizes = st.tuples(st.integers(64, 130), st.integers(64, 130))


def photo(size: tuple[int, int], seed: int) -> np.ndarray:
    """Noise: no two of its parts are alike."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@settings(max_examples=40)
@given(sizes, sizes, st.integers(0, 2**32 - 1))
def test_only_the_mask_changes_where_the_outline_is_hard(host_size, donor_size, seed) -> None:
    rng = np.random.default_rng(seed)
    host = photo(host_size, 1)
    made = paste(host, photo(donor_size, 2), random_region(64, 0.2, rng), rng, PasteKnobs(hard=1.0))
    assert made.image.shape == host.shape
    assert made.mask.shape == host_size
    assert made.mask.sum() >= LEAST_PIXELS
    assert np.array_equal(made.image[~made.mask], host[~made.mask])
    assert (made.image[made.mask] != host[made.mask]).any(axis=-1).mean() > 0.9


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_an_unscaled_region_is_the_donor_s_pixels_at_one_shift(seed: int, moved: bool) -> None:
    rng = np.random.default_rng(seed)
    host = photo((96, 80), 1)
    donor = host if moved else photo((90, 100), 2)
    made = paste(host, donor, random_region(64, 0.2, rng), rng, UNCHANGED)
    assert made.kind == ("copy-move" if moved else "splice")
    rows, columns = np.nonzero(made.mask)
    first = made.image[rows[0], columns[0]]
    places = np.argwhere((donor == first).all(axis=-1))
    shifts = [(row - rows[0], column - columns[0]) for row, column in places]
    inside = [
        (row, column)
        for row, column in shifts
        if 0 <= rows.min() + row <= rows.max() + row < donor.shape[0]
        and 0 <= columns.min() + column <= columns.max() + column < donor.shape[1]
    ]
    assert any(np.array_equal(donor[rows + row, columns + column], made.image[made.mask]) for row, column in inside)
    assert not moved or all(shift != (0, 0) for shift in inside)


def test_what_gives_no_forgery_is_said() -> None:
    rng, outline = np.random.default_rng(0), random_region(64, 0.2, np.random.default_rng(0))
    flat = np.full((80, 80, 3), 255, np.uint8)
    with pytest.raises(NoRegionError, match="without a pixel"):
        paste(photo((80, 80), 1), photo((80, 80), 2), np.zeros((9, 9), bool), rng, PasteKnobs())
    with pytest.raises(NoRegionError, match="64 pixels"):
        paste(flat, flat, outline, rng, PasteKnobs())
    with pytest.raises(RequestError, match="show nothing"):
        paste_crops(flat, flat, 64, rng, ForgeryKnobs(history_quality=(100, 100)))


def test_a_soft_outline_changes_little_beside_the_mask() -> None:
    rng = np.random.default_rng(0)
    for seed in range(10):
        host = photo((96, 96), seed)
        made = paste(host, photo((96, 96), 99), random_region(64, 0.2, rng), rng, PasteKnobs(hard=0.0))
        changed = np.abs(made.image.astype(int) - host).max(axis=-1) > 60
        grown = cv2.dilate(made.mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        assert not changed[~grown].any()
        assert changed[made.mask].mean() > 0.5


@pytest.mark.parametrize("knobs", [PasteKnobs(), PasteKnobs(unscaled=0.0), UNCHANGED])
def test_the_same_seed_makes_the_same_forgery(knobs: PasteKnobs) -> None:
    outline = random_region(64, 0.2, np.random.default_rng(0))
    one, other = (paste(photo((80, 96), 1), photo((70, 70), 2), outline, np.random.default_rng(3), knobs) for _ in "ab")
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.mask, other.mask)
