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
