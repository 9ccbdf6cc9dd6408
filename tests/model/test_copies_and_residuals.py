"""What is seen twice, and how residuals are ordered: planted copies, counts by hand, mirrored photos, exact sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.data import astronaut
from torch import Tensor

from qmanet_benco.images import normalised
from qmanet_benco.model.statistics import copies
from qmanet_benco.model.statistics.blocks import BLOCK
from qmanet_benco.model.statistics.copies import SMALLEST_OFFSET, STEP, CopyMoveField
from qmanet_benco.model.statistics.measured import ImageStatistics, mirrored, transposed
from qmanet_benco.model.statistics.residuals import LEVEL, ResidualStatistics

PHOTO: NDArray[np.uint8] = astronaut()[0:256, 100:356]
RESIDUALS = slice(97, 97 + ResidualStatistics.CHANNELS)


def tensor(rgb: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(normalised(np.ascontiguousarray(rgb))).permute(2, 0, 1)[None]


def with_copy(down: int = 130, across: int = 36) -> NDArray[np.uint8]:
    """The photo with 64 x 64 pixels of the face once more elsewhere."""
    forged = PHOTO.copy()
    forged[down : down + 64, across : across + 64] = PHOTO[60:124, 100:164]
    return forged


def inside(down: int, across: int) -> tuple[slice, slice]:
    """The blocks well inside of the copy."""
    first = [(start + 15) // BLOCK for start in (down, across)]
    return slice(first[0], first[0] + 5), slice(first[1], first[1] + 5)


def share_pointing_home(down: int, across: int, flipped: tuple[int, ...], within: int) -> float:
    """Of the places well inside of a copy that is flipped along axes: those that point to where they are from."""
    forged = PHOTO.copy()
    forged[down : down + 64, across : across + 64] = np.flip(PHOTO[60:124, 100:164], flipped)
    planes = copies._planes(torch.from_numpy(forged).permute(2, 0, 1)[None].float())
    offsets, _ = copies._field(CopyMoveField()._descriptors(planes))
    rows, columns = (torch.arange((start + 16) // STEP, (start + 48) // STEP) for start in (down, across))
    (row, column), (to_row, to_column) = (rows, columns), offsets[0][:, rows][:, :, columns]
    row, column = row[:, None] * STEP + STEP // 2, column * STEP + STEP // 2
    from_row = 60 + (63 - (row - down) if 0 in flipped else row - down)
    from_column = 100 + (63 - (column - across) if 1 in flipped else column - across)
    right = ((row + to_row - from_row).abs() <= within) & ((column + to_column - from_column).abs() <= within)
    return float(right.float().mean())


@settings(max_examples=25)
@given(st.integers(128, 190), st.integers(0, 190))
@example(184, 0)
@example(136, 0)
def test_a_copy_points_to_where_it_is_from(down: int, across: int) -> None:
    assert share_pointing_home(down, across, (), within=0) > 0.9


@pytest.mark.parametrize("flipped", [(1,), (0,), (0, 1)], ids=["mirrored", "upside down", "turned by half"])
@pytest.mark.parametrize(("down", "across"), [(130, 36), (150, 101), (184, 0)])
def test_a_flipped_copy_points_to_where_it_is_from(down: int, across: int, flipped: tuple[int, ...]) -> None:
    assert share_pointing_home(down, across, flipped, within=2) > 0.9


def test_copies_agree_where_the_rest_does_not() -> None:
    statistics = CopyMoveField()(tensor(with_copy()))[0]
    rows, columns = inside(130, 36)
    error = statistics[5]  # of an affine fit to 5 x 5 offsets
    assert error[rows, columns].median() < error.median() - 1
    authentic = CopyMoveField()(tensor(PHOTO))[0, 5]
    assert error[rows, columns].median() < authentic[rows, columns].median() - 1


def test_a_descriptor_is_that_of_the_turned_and_mirrored_photo() -> None:
    describe = CopyMoveField()._descriptors
    planes = copies._planes(torch.from_numpy(PHOTO.copy()).permute(2, 0, 1)[None].float())
    own, half_turn, mirror = describe(planes), describe(planes.flip(2, 3)).flip(2, 3), describe(planes.flip(3)).flip(3)
    for other, shift in ((half_turn, (-1, -1)), (mirror, (0, -1))):  # a disc of 16 pixels has its middle between two
        moved = torch.roll(other, shift, (2, 3))
        assert (own - moved)[..., 20:-20, 20:-20].abs().max() <= 1


def test_nothing_is_its_own_like() -> None:
    for rgb in (PHOTO, np.full_like(PHOTO, 90), with_copy()):
        planes = copies._planes(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float())
        offsets, _ = copies._field(CopyMoveField()._descriptors(planes))
        assert (offsets.abs().amax(1) >= SMALLEST_OFFSET).all()


def test_the_field_is_exact_in_any_order() -> None:
    torch.manual_seed(0)
    planes = copies._planes(torch.randint(0, 2, (2, 3, 64, 96)).float() * 255)
    descriptors = CopyMoveField()._descriptors(planes)
    assert torch.equal(descriptors.double(), CopyMoveField().double()._descriptors(planes.double()))
    white = CopyMoveField()._descriptors(copies._planes(torch.full((1, 3, 64, 64), 255.0))) * copies._DESCRIPTOR
    assert white.abs().max() ** 2 * white.shape[1] * 3 < 2**24
    alone = [copies._field(of_image[None]) for of_image in descriptors]
    for index, together in enumerate(copies._field(descriptors)):
        assert torch.equal(together, torch.cat([result[index] for result in alone]))
        assert torch.equal(together, copies._field(descriptors.flip(1))[index])
        assert torch.equal(together.double(), copies._field(descriptors.double())[index])


def test_parts_of_the_first_field_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    image = tensor(PHOTO)
    whole = CopyMoveField()(image)
    monkeypatch.setattr(copies, "_PART", 1)
    assert torch.equal(CopyMoveField()(image), whole)


def test_residuals_of_a_grey_photo_do_not_hang_on_rounding() -> None:
    grey = np.repeat(PHOTO[..., :1], 3, axis=2)
    statistics = ResidualStatistics()
    whole = torch.from_numpy(normalised(grey)).permute(2, 0, 1)[None]
    disturbed = whole + 1e-6
    assert torch.equal(statistics(whole)[:, :50], statistics(disturbed)[:, :50])


def test_cooccurrences_are_those_counted_by_hand() -> None:
    found = ResidualStatistics()(tensor(PHOTO))[0, :25]
    luminance = PHOTO.astype(np.float64) @ [0.299, 0.587, 0.114]
    padded = np.pad(luminance, ((0, 0), (1, 2)), mode="edge")
    residual = padded[:, :-3] - 3 * padded[:, 1:-2] + 3 * padded[:, 2:-1] - padded[:, 3:]
    levels = np.pad(np.clip(np.rint(residual / LEVEL), -1, 1), ((0, 0), (1, 2)), mode="edge").astype(int)
    names: dict[tuple[int, ...], int] = {}
    for four in itertools.product((-1, 0, 1), repeat=4):
        names.setdefault(min(four, four[::-1], tuple(-v for v in four), tuple(-v for v in four[::-1])), len(names))
    counts = np.zeros(25)
    row, column = 10, 12  # a block, seen with its eight neighbours
    for y in range((row - 1) * BLOCK, (row + 2) * BLOCK):
        for x in range((column - 1) * BLOCK, (column + 2) * BLOCK):
            four = tuple(levels[y, x : x + 4])
            counts[names[min(four, four[::-1], tuple(-v for v in four), tuple(-v for v in four[::-1]))]] += 1
    assert np.allclose(found[:, row, column].numpy(), 2 * np.sqrt(counts / counts.sum()), atol=0.01)


def test_a_flat_image_has_one_class_and_finite_statistics() -> None:
    statistics = ImageStatistics()(tensor(np.full((64, 72, 3), 90, np.uint8)))
    assert statistics.shape == (1, ImageStatistics.CHANNELS, 8, 9)
    assert torch.isfinite(statistics).all()
    across = statistics[0, RESIDUALS][:25]
    assert (across.amax(0) == 2).all()
    assert (across.sum(0) == 2).all()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 200), (70, 41)])
def test_small_and_uneven_images_have_finite_statistics(height: int, width: int) -> None:
    statistics = ImageStatistics()(torch.randn(2, 3, height, width))
    assert statistics.shape == (2, ImageStatistics.CHANNELS, -(-height // BLOCK), -(-width // BLOCK))
    assert torch.isfinite(statistics).all()


@pytest.mark.parametrize(
    ("turned", "turn", "channels", "limit"),
    [
        (mirrored, lambda rgb: rgb[:, ::-1], [*range(38, 54), *range(97, 147)], 0.01),
        (transposed, lambda rgb: rgb.transpose(1, 0, 2), [*range(38, 54), *range(97, 155)], 1e-5),
    ],
)
def test_statistics_turn_with_their_image(turned, turn, channels, limit) -> None:  # type: ignore[no-untyped-def]
    statistics = ImageStatistics()
    own, other = statistics(tensor(turn(PHOTO))), turned(statistics(tensor(PHOTO)))
    inner = (slice(None), channels, slice(2, -2), slice(2, -2))
    assert (own[inner] - other[inner]).abs().mean() < limit
