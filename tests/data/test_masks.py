"""The rules that make 0 and 255 of every archive's ground truth."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from qmanet_benco.data.masks import UnusableFileError, binarise, encode_mask, read_mask, resize_mask, turn_clockwise


def test_bright_is_the_frameworks_threshold():
    assert binarise(np.array([[0, 127, 128, 255]], np.uint8), "bright").tolist() == [[False, False, True, True]]


def test_dark_is_its_opposite():
    assert binarise(np.array([[0, 127, 128, 255]], np.uint8), "dark").tolist() == [[True, True, False, False]]


def test_zero_and_one_count_as_zero_and_255():
    assert binarise(np.array([[0, 1]], np.uint8), "bright").tolist() == [[False, True]]


TRUTH = np.zeros((5, 7), bool)
TRUTH[1:3, 2:6] = True


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("value", [1, 2, 100, 127, 128, 255])
def test_black_and_one_other_value_is_a_mask_of_any_depth(value, kind, tmp_path):
    Image.fromarray((TRUTH * value).astype(kind)).save(tmp_path / "mask.tif")
    assert np.array_equal(read_mask(tmp_path / "mask.tif", "bright"), TRUTH)
    assert np.array_equal(read_mask(tmp_path / "mask.tif", "dark"), ~TRUTH)


@pytest.mark.parametrize("shown", [(2, 2, 2), (100, 100, 100), (127, 127, 127), (0, 128, 0), (255, 0, 0), (0, 0, 0)])
@pytest.mark.parametrize("index", [1, 2, 100])
def test_a_palette_of_black_and_one_other_colour_is_a_mask(shown, index, tmp_path):
    image = Image.frombytes("P", (7, 5), (TRUTH * index).astype(np.uint8).tobytes())
    palette = [0] * 768
    palette[3 * index : 3 * index + 3] = shown
    image.putpalette(palette)
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", "bright"), TRUTH)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0, 2, 100), "nothing in the mask is brighter than 100, and it has the values 0, 2, 100"),
        ((3, 90), "nothing in the mask is brighter than 90, and it has the values 3, 90"),
        ((200, 255), "nothing in the mask is darker than 200"),
    ],
)
def test_shades_that_could_mean_anything_are_refused_with_their_values(values, said, tmp_path):
    Image.fromarray(np.array([values], np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(UnusableFileError, match=said):
        read_mask(tmp_path / "mask.png", "bright", strict=True)


def test_a_mask_in_the_alpha_channel_is_read(tmp_path):
    Image.fromarray(np.dstack([np.full((5, 7, 3), 255), TRUTH * 255]).astype(np.uint8)).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", "bright"), TRUTH)


def test_class_ids_however_dark_are_tampered():
    assert binarise(np.array([[0, 1, 7]], np.uint8), "nonzero").tolist() == [[False, True, True]]


def test_green_against_red_in_both_shades():
    colours = np.array([[[0, 200, 0], [0, 255, 0], [200, 0, 0], [255, 0, 0]]], np.uint8)
    assert binarise(colours, "green").tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_modes_of_images(mode, tmp_path):
    truth = np.zeros((5, 7), bool)
    truth[1:3, 2:6] = True
    if mode == "I;16":
        Image.fromarray(truth.astype(np.uint16) * 65535).save(tmp_path / "mask.png")
    else:
        Image.fromarray(truth.astype(np.uint8) * 255).convert(mode).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", "bright"), truth)


def test_a_file_with_several_planes_is_refused(tmp_path):
    np.savez(tmp_path / "mask.npz", a=np.eye(4), b=np.eye(4))
    with pytest.raises(UnusableFileError, match="2 planes"):
        read_mask(tmp_path / "mask.npz", "nonzero")


def test_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "mask.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnusableFileError, match="unreadable array"):
        read_mask(tmp_path / "mask.npy", "nonzero")


@pytest.mark.parametrize("name", ["mask.png", "mask.mat", "mask.npz"])
def test_garbage_is_refused_with_a_reason(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x89PNG not really" * 20)
    with pytest.raises(UnusableFileError):
        read_mask(tmp_path / name, "nonzero")


def test_turning_clockwise():
    assert turn_clockwise(np.array([[True, False], [False, False]]), 1).tolist() == [[False, True], [False, False]]


def test_the_same_mask_gives_the_same_bytes():
    mask = np.random.default_rng(0).random((40, 30)) > 0.5
    assert encode_mask(mask) == encode_mask(mask.copy(order="F"))


def test_scaling_keeps_what_is_half_tampered():
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    assert resize_mask(mask, (2, 2)).tolist() == [[True, False], [False, False]]
