"""Corrected baselines see the image's own pixels; stock ones are left as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut
from torchvision.transforms.functional import normalize

from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.benco.zoo.corrected import luma_coefficients, rgb_of
from qmanet_benco.images import IMAGENET_MEAN, IMAGENET_STD

SIZE = 128


def photo() -> np.ndarray:
    return np.ascontiguousarray(astronaut()[:SIZE, 100 : 100 + SIZE])


def test_coefficients_are_those_that_libjpeg_writes_at_quality_100(tmp_path: Path) -> None:
    jpeglib = pytest.importorskip("jpeglib")
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo()).save(path, quality=100, subsampling=0)
    file = jpeglib.read_dct(str(path))
    assert (file.qt == 1).all()
    written = file.Y.transpose(0, 2, 1, 3).reshape(SIZE, SIZE)
    difference = luma_coefficients(photo().transpose(2, 0, 1).astype(np.float32)) - written
    # libjpeg transforms in whole numbers: a coefficient near a half is rounded to the other side (6 % here)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.1


def test_denormalising_takes_the_frameworks_normalisation_back() -> None:
    rgb = torch.rand(2, 3, 8, 8)
    assert torch.allclose(rgb_of(normalize(rgb, IMAGENET_MEAN, IMAGENET_STD)), rgb, atol=1e-6)


def test_stock_catnet_sees_five_values_and_the_corrected_one_the_photo() -> None:
    rgb = torch.from_numpy(photo()).permute(2, 0, 1).float() / 255
    stock: dict[str, object] = {"image": normalize(rgb, IMAGENET_MEAN, IMAGENET_STD)}
    corrected = dict(stock)
    assert set(normalize(rgb, IMAGENET_MEAN, IMAGENET_STD).numpy().astype("uint8").ravel()) <= {0, 1, 2, 254, 255}
    for name, sample in (("Cat_Net", stock), ("Cat_Net_RealDCT", corrected)):
        post = zoo.post_function(name)
        assert post is not None
        post(sample)
    expected = luma_coefficients(photo().transpose(2, 0, 1).astype(np.float32))
    np.testing.assert_array_equal(corrected["DCT_coef"], expected)
    assert np.corrcoef(np.ravel(stock["DCT_coef"]), expected.ravel())[0, 1] < 0.5


def test_corrected_trufor_feeds_rgb_over_256_and_normalises_once() -> None:
    model = zoo.build_model("Trufor_RGB", {}).eval()
    seen: dict[str, torch.Tensor] = {}
    model.model.dncnn[0].register_forward_pre_hook(lambda _, inputs: seen.update(noise=inputs[0]))
    model.model.backbone.register_forward_pre_hook(lambda _, inputs: seen.update(image=inputs[0]))
    rgb = torch.from_numpy(photo()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        model(normalize(rgb, IMAGENET_MEAN, IMAGENET_STD), torch.zeros(1, 1, SIZE, SIZE), torch.zeros(1))
    assert torch.allclose(seen["noise"], rgb * 255 / 256, atol=1e-5)
    assert torch.allclose(seen["image"], normalize(rgb, IMAGENET_MEAN, IMAGENET_STD), atol=1e-5)


def test_corrected_trufor_never_moves_its_noiseprint() -> None:
    model = zoo.build_model("Trufor_RGB", {}).train()
    assert model.model.backbone.training
    assert not any(module.training for module in model.model.dncnn.modules())
