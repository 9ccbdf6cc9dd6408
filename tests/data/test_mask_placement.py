"""Masks of another size than their image: laid on it where the authentic photo proves how, left out otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import archives
import numpy as np
import pytest
from PIL import Image
from prepared import left_out, manifest, pairs_of, snapshot

from qmanet_benco.data.prepare import mask_placement
from qmanet_benco.data.prepare.mask_placement import proven_fit, side_of_host
from qmanet_benco.data.prepare.prepare import prepare

SIZE = (48, 32)
NAME = "Tp_D_NRN_M_N_nat00001_art00002_11003"


def forgery(truth: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """The photo with its marked region made brighter."""
    return np.where(truth[..., None], photo + 100, photo).astype(np.uint8)


def smooth(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A photo that looks alike at other sizes: 8 x 8 random tones, enlarged; none above 127."""
    tones = np.random.default_rng(seed).integers(0, 128, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(tones).resize(size, Image.Resampling.BICUBIC)) // 2


def casiav2(raw: Path, image: np.ndarray, mask: np.ndarray, photo: np.ndarray | None) -> None:
    archives.save(raw / "Tp" / f"{NAME}.tif", image)
    archives.save(raw / "gt" / f"{NAME}_gt.png", mask)
    archives.save(raw / "Au" / "Au_art_00002.tif", smooth(99))
    if photo is not None:
        archives.save(raw / "Au" / "Au_nat_00001.tif", photo)


def box(size: tuple[int, int], left: int, top: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), bool)
    mask[top : top + height, left : left + width] = True
    return mask


TRUTH = box(SIZE, 8, 6, 18, 12)
DEFORMATIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "cut": (lambda mask: mask[2:, 3:], "mask of 45 x 30 pixels placed 3 to the right, 2 down"),
    "extended": (lambda mask: np.pad(mask, ((0, 4), (5, 0))), "mask of 53 x 36 pixels placed -5 to the right, 0 down"),
    "doubled": (lambda mask: mask.repeat(2, 0).repeat(2, 1), "mask scaled from 96 x 64 pixels"),
    "turned": (lambda mask: np.rot90(mask, 1), "mask turned 90 degrees clockwise"),
    "turned back": (lambda mask: np.rot90(mask, 3), "mask turned 90 degrees counter-clockwise"),
}


@pytest.mark.parametrize("name", DEFORMATIONS)
def test_the_photo_of_the_images_size_proves_how_the_mask_lies(name: str, tmp_path: Path) -> None:
    deform, note = DEFORMATIONS[name]
    photo = smooth(1)
    casiav2(tmp_path / "raw", forgery(TRUTH, photo), deform(TRUTH), photo)
    made = prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (1, 0)
    assert np.array_equal(pairs_of(tmp_path / "out")[NAME][1], TRUTH)
    assert manifest(tmp_path / "out")[0]["note"] == f"{note}, as the authentic photo proves"


@pytest.mark.parametrize("name", ["turned", "turned back", "extended"])
def test_a_photo_of_the_masks_size_is_laid_like_the_mask(name: str, tmp_path: Path) -> None:
    """The mask was made from that photo; the forgery was turned or cut afterwards."""
    deform = DEFORMATIONS[name][0]
    photo = smooth(1)
    host = np.stack([deform(photo[..., channel]) for channel in range(3)], axis=2)
    casiav2(tmp_path / "raw", forgery(TRUTH, photo), deform(TRUTH), host)
    prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(pairs_of(tmp_path / "out")[NAME][1], TRUTH)


@pytest.mark.parametrize("name", DEFORMATIONS)
@pytest.mark.parametrize("photo", ["absent", "another", "unchanged", "broken"])
def test_without_proof_it_is_left_out_with_the_reason(name: str, photo: str, tmp_path: Path) -> None:
    mask, host = DEFORMATIONS[name][0](TRUTH), smooth(1)
    photos = {"absent": None, "another": smooth(5) + 60, "unchanged": forgery(TRUTH, host), "broken": host}
    casiav2(tmp_path / "raw", forgery(TRUTH, host), mask, photos[photo])
    if photo == "broken":
        (tmp_path / "raw" / "Au" / "Au_nat_00001.tif").write_bytes(b"II*\0broken")
    made = prepare("casiav2", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (0, 1)
    reason = left_out(tmp_path / "out")[f"Tp/{NAME}.tif"]
    assert f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels, the image 48 x 32 pixels" in reason
    assert "no authentic photo proves how it lies on it" in reason


def test_two_places_that_fit_alike_prove_nothing(tmp_path: Path) -> None:
    """The same box is tampered with twice, and the mask shows one of them: it could be either."""
    photo = smooth(1)
    both = box(SIZE, 0, 0, 20, 30) | box(SIZE, 26, 0, 20, 30)
    paths = [
        archives.save(tmp_path / f"{name}.png", image) for name, image in (("f", forgery(both, photo)), ("p", photo))
    ]
    one = np.ones((30, 22), bool)
    one[:, 20:] = False
    assert proven_fit(paths[0], one, [paths[1]]) is None


def test_a_part_of_a_mask_is_not_a_proof(tmp_path: Path) -> None:
    photo = smooth(1)
    image = archives.save(tmp_path / "f.png", forgery(box(SIZE, 2, 2, 40, 28), photo))
    host = archives.save(tmp_path / "p.png", photo)
    assert proven_fit(image, box((46, 30), 20, 10, 8, 8), [host]) is None


def test_large_images_are_tried_at_few_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_placement, "MOST_PIXELS", 48 * 32 * 9)
    assert len(mask_placement._offsets((20, 20), (32, 48))) == 9
    monkeypatch.undo()
    assert len(mask_placement._offsets((20, 40), (32, 48))) == 13 * 9
    assert len(mask_placement._offsets((2000, 3000), (3744, 5616))) == 9


def columbia_with_photos(raw: Path, *, host_on_green: bool, donor_too: bool = False) -> None:
    """One splice of 320 x 240 pixels whose sides are two photos; which of them lie in 4cam_auth is chosen."""
    size = (320, 240)
    inserted = box(size, 40, 60, 150, 120)
    host, donor = (archives.picture(seed, size) for seed in (1, 2))
    green = ~inserted if host_on_green else inserted
    archives.save(raw / "4cam_splc" / "canong3_kodakdcs330_sub_01.tif", np.where(inserted[..., None], donor, host))
    colours = np.where(green[..., None], (0, 200, 0), (200, 0, 0)).astype(np.uint8)
    edges = raw / "4cam_splc" / "edgemask" / "canong3_kodakdcs330_sub_01_edgemask.jpg"
    edges.parent.mkdir(parents=True)
    Image.fromarray(colours).save(edges, quality=95, subsampling=0)
    archives.save(raw / "4cam_auth" / "canong3_02_sub_01.tif", host)
    archives.save(raw / "4cam_auth" / "canong3_02_sub_02.tif", archives.picture(7, size))
    archives.save(raw / "4cam_auth" / "canong3_02_sub_03.tif", archives.picture(8, (100, 100)))
    if donor_too:
        archives.save(raw / "4cam_auth" / "kodakdcs330_01_sub_01.tif", donor)


@pytest.mark.parametrize("donor_too", [False, True])
def test_columbias_green_side_is_not_the_photo(donor_too: bool, tmp_path: Path) -> None:
    columbia_with_photos(tmp_path / "raw", host_on_green=False, donor_too=donor_too)
    prepare("columbia", tmp_path / "raw", tmp_path / "out")
    _, mask = pairs_of(tmp_path / "out")["canong3_kodakdcs330_sub_01"]
    assert (mask != box((320, 240), 40, 60, 150, 120)).mean() < 0.01


def test_a_columbia_mask_with_its_sides_swapped_is_left_out(tmp_path: Path) -> None:
    columbia_with_photos(tmp_path / "raw", host_on_green=True)
    made = prepare("columbia", tmp_path / "raw", tmp_path / "out")
    assert (made.tampered, made.failed) == (0, 1)
    reason = left_out(tmp_path / "out")["4cam_splc/canong3_kodakdcs330_sub_01.tif"]
    assert reason == "its green side is unchanged in the authentic photo canong3_02_sub_01.tif, its red side is not"


def test_sides_are_told_by_the_photos_alone(tmp_path: Path) -> None:
    columbia_with_photos(tmp_path, host_on_green=False, donor_too=True)
    image = tmp_path / "4cam_splc" / "canong3_kodakdcs330_sub_01.tif"
    host, donor = tmp_path / "4cam_auth" / "canong3_02_sub_01.tif", tmp_path / "4cam_auth" / "kodakdcs330_01_sub_01.tif"
    stranger = tmp_path / "4cam_auth" / "canong3_02_sub_02.tif"
    mask = box((320, 240), 40, 60, 150, 120)
    assert side_of_host(image, mask, [stranger, host]) == (False, host.name)
    assert side_of_host(image, ~mask, [host, stranger]) == (True, host.name)
    assert side_of_host(image, mask, [stranger]) is None
    assert side_of_host(image, mask, [host, donor]) is None, "each photo agrees with its own side"
    assert side_of_host(image, mask[:100], [host]) is None


@pytest.mark.parametrize("workers", [2, 3])
def test_proofs_are_the_same_in_every_process(workers: int, tmp_path: Path) -> None:
    photo = smooth(1)
    for name, (deform, _) in DEFORMATIONS.items():
        stem = f"Tp_D_NRN_M_N_nat00001_art00002_{11000 + len(name)}"
        archives.save(tmp_path / "raw" / "Tp" / f"{stem}.tif", forgery(TRUTH, photo))
        archives.save(tmp_path / "raw" / "gt" / f"{stem}_gt.png", deform(TRUTH))
    archives.save(tmp_path / "raw" / "Au" / "Au_nat_00001.tif", photo)
    prepare("casiav2", tmp_path / "raw", tmp_path / "one")
    prepare("casiav2", tmp_path / "raw", tmp_path / "many", workers=workers)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "many")
    assert len(manifest(tmp_path / "one")) == len({len(name) for name in DEFORMATIONS})
