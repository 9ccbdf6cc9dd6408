"""One reader of pixels: right values over the whole image for every mode, in every room and under the framework."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from qmanet_benco.images import UnusableFileError, open_image
from qmanet_benco.pixels import as_rgb, grey_levels, mask_colours, upright_rgb

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2).astype(np.uint8)


def _read(content: bytes) -> np.ndarray:
    return np.asarray(as_rgb(open_image("x", content))).astype(int)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2).astype(int)


SIXTEEN = RAMP * 257
GREYS = {
    "I;16 in PNG": (_saved(Image.fromarray(SIXTEEN), "PNG"), RAMP),
    "I;16 in TIFF": (_saved(Image.fromarray(SIXTEEN), "TIFF"), RAMP),
    "I;16B in TIFF": (_saved(Image.fromarray(SIXTEEN.astype(">u2")), "TIFF"), RAMP),
    "I;16 in JPEG 2000": (_saved(Image.fromarray(SIXTEEN), "JPEG2000"), RAMP),
    "I in TIFF": (_saved(Image.fromarray(SIXTEEN.astype(np.int32)), "TIFF"), RAMP),
    "I in PGM": (_saved(Image.fromarray(SIXTEEN.astype(np.int32)), "PPM"), RAMP),
    "F up to 1": (_saved(Image.fromarray((RAMP / 255).astype(np.float32)), "TIFF"), RAMP),
    "F up to 255": (_saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), RAMP),
    "F up to 65535": (_saved(Image.fromarray(SIXTEEN.astype(np.float32)), "TIFF"), RAMP),
    "12 bits in 16, PNG": (_saved(Image.fromarray((RAMP * 16).astype(np.uint16)), "PNG"), RAMP * (16 * 255 / 4095)),
    "12 bits in 16, big-endian": (_saved(Image.fromarray((RAMP * 16).astype(">u2")), "TIFF"), RAMP * (16 * 255 / 4095)),
    "8 bits in 16": (_saved(Image.fromarray(RAMP), "TIFF"), RAMP),
    "L": (_saved(Image.fromarray(RAMP.astype(np.uint8)), "PNG"), RAMP),
    "1": (_saved(Image.fromarray(RAMP > 99), "PNG"), (RAMP > 99) * 255),
}


@pytest.mark.parametrize("name", GREYS)
def test_grey_of_every_depth_keeps_its_values(name: str) -> None:
    content, expected = GREYS[name]
    assert np.abs(_read(content) - _grey(np.rint(expected))).max() <= 1


def test_a_tiff_whose_zero_is_white_is_inverted() -> None:
    tags = ImageFileDirectory_v2()
    tags[262] = 0
    assert np.abs(_read(_saved(Image.fromarray(SIXTEEN), "TIFF", tiffinfo=tags)) - _grey(255 - RAMP)).max() <= 1


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize(("factor", "white"), [(257, 65535), (16, 4095)])
def test_colours_of_12_and_16_bits_keep_their_values(ending: str, factor: int, white: int) -> None:
    sixteen = COLOURS.astype(np.uint16) * factor
    content = cv2.imencode(ending, sixteen[..., ::-1])[1].tobytes()
    assert np.abs(_read(content) - np.rint(sixteen * (255 / white))).max() <= 1


def test_values_that_are_no_numbers_or_below_zero_are_black() -> None:
    assert grey_levels(np.array([[np.nan, -3.0, np.inf, 0.5]], np.float32)).tolist() == [[0, 0, 0, 128]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparency_lies_over_white(mode: str) -> None:
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:8] = 0
    if mode == "RGBA":
        alpha[0] = 128
        image = Image.fromarray(np.dstack([COLOURS, alpha]))
        expected = COLOURS * (alpha[..., None] / 255) + 255 * (1 - alpha[..., None] / 255)
    elif mode == "P":
        image = Image.fromarray(np.where(alpha == 0, 0, 7).astype(np.uint8)).convert("L").convert("P")
        expected = np.where(alpha[..., None] == 0, 255, 7) + np.zeros(3)
        content = _saved(image, "PNG", transparency=0)
        assert np.abs(_read(content) - expected).max() <= 1
        return
    else:
        grey = Image.fromarray(np.dstack([RAMP.astype(np.uint8), alpha]), "LA")
        image, expected = grey, _grey(np.where(alpha == 0, 255, RAMP))
        if mode == "PA":
            image = grey.copy()
            image.putpalette([level for level in range(256) for _ in range(3)])
            assert np.abs(np.asarray(as_rgb(image)).astype(int) - expected).max() <= 1
            return
    assert np.abs(_read(_saved(image, "PNG")) - np.rint(expected)).max() <= 1


def test_a_picture_that_is_transparent_all_over_is_refused() -> None:
    with pytest.raises(UnusableFileError, match="every pixel is transparent"):
        _read(_saved(Image.new("RGBA", (4, 4), (9, 8, 7, 0)), "PNG"))


def test_cmyk_is_the_light_that_the_inks_leave() -> None:
    inks = np.dstack([RAMP, RAMP.T, RAMP[::-1], RAMP // 2]).astype(np.uint8)
    expected = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255
    assert np.abs(_read(_saved(Image.fromarray(inks, "CMYK"), "TIFF")) - expected).max() <= 1
    flat = np.broadcast_to(np.array([30, 90, 160, 40], np.uint8), (32, 32, 4))
    jpeg = _read(_saved(Image.fromarray(np.ascontiguousarray(flat), "CMYK"), "JPEG", quality=100))
    assert np.abs(jpeg - (255 - flat[..., :3].astype(float)) * (255 - 40) / 255).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_turned_as_exif_asks(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    plane = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    content = _saved(Image.fromarray(plane), kind, exif=exif)
    turned = {
        1: plane, 2: plane[:, ::-1], 3: plane[::-1, ::-1], 4: plane[::-1], 5: plane.T, 6: np.rot90(plane, -1),
        7: np.rot90(plane, 2).T, 8: np.rot90(plane, 1),
    }[orientation]  # fmt: skip
    found = np.asarray(upright_rgb(open_image("x", content)))[..., 0]
    assert found.shape == turned.shape
    assert np.abs(found - turned / 257).max() <= 1


TRUTH = np.zeros((16, 16), bool)
TRUTH[3:9, 5:14] = True


def _with_alpha(colour: int) -> Image.Image:
    return Image.fromarray(np.dstack([np.full((16, 16, 3), colour), TRUTH * 255]).astype(np.uint8))


MASKS = {
    "8 bits": Image.fromarray((TRUTH * 255).astype(np.uint8)),
    "16 bits of 0 and 255": Image.fromarray((TRUTH * 255).astype(np.uint16)),
    "16 bits of 0 and 65535": Image.fromarray((TRUTH * 65535).astype(np.uint16)),
    "white with the mask in the alpha channel": _with_alpha(255),
    "black with the mask in the alpha channel": _with_alpha(0),
    "grey and alpha": _with_alpha(255).convert("LA"),
    "opaque": _with_alpha(0).getchannel("A").convert("RGBA"),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_of_every_mode_says_the_same(name: str) -> None:
    found = mask_colours(open_image("x", _saved(MASKS[name], "PNG")))
    assert (found == TRUTH[..., None] * 255).all()


def test_colours_and_alpha_channel_that_disagree_are_refused() -> None:
    image = Image.fromarray(np.dstack([np.repeat(TRUTH[..., None] * 255, 3, axis=2), ~TRUTH * 255]).astype(np.uint8))
    with pytest.raises(UnusableFileError, match="different things"):
        mask_colours(open_image("x", _saved(image, "PNG")))


def test_the_frameworks_loader_reads_the_same_values(tmp_path: Path) -> None:
    from IMDLBenCo.datasets import ManiDataset

    from qmanet_benco.benco import scoring
    from qmanet_benco.images import normalised

    contents = {
        "a": (_saved(Image.fromarray(SIXTEEN), "PNG"), _grey(RAMP), _with_alpha(255)),
        "b": (_saved(Image.fromarray(SIXTEEN.astype(">u2")), "TIFF"), _grey(RAMP), MASKS["16 bits of 0 and 255"]),
        "c": (_saved(_with_alpha(9), "PNG"), np.where(TRUTH[..., None], 9, 255) + np.zeros(3), MASKS["8 bits"]),
    }
    for folder in ("Tp", "Gt"):
        (tmp_path / folder).mkdir()
    for name, (content, _, mask) in contents.items():
        (tmp_path / "Tp" / f"{name}.{'tif' if name == 'b' else 'png'}").write_bytes(content)
        mask.save(tmp_path / "Gt" / f"{name}.png")
    (tmp_path / "list.json").write_text(json.dumps([[str(tmp_path / "Tp" / "a.png"), "Negative"]]))
    with scoring.as_the_test_script():
        scoring.pairs_of(tmp_path, "set")
        samples = scoring.open_set(tmp_path, 16, False, None, None)
        assert isinstance(samples, ManiDataset)
        for sample, (_, expected, _) in zip((samples[i] for i in range(3)), contents.values(), strict=True):
            right = normalised(expected.astype(np.uint8)).transpose(2, 0, 1)
            assert np.abs(sample["image"].numpy() - right).max() < 0.02  # one grey level is 0.018
            assert (sample["mask"][0].numpy() == TRUTH).all()
            assert sample["label"] == 1
        authentic = scoring.open_set(tmp_path / "list.json", 16, False, None, None)[0]
        assert authentic["label"] == 0
        assert not authentic["mask"].any()
