"""Block statistics: scipy's DCT, Pillow's tables, what a JPEG leaves behind, and their place in the network."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.data import astronaut
from tiny_networks import forgery
from torch import Tensor

from qmanet_benco.errors import RequestError
from qmanet_benco.images import normalised
from qmanet_benco.model.config import QMANetConfig, variant_config
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.statistics.blocks import BANDS, BLOCK, GHOST_QUALITIES, SMALLEST_ENERGY, BlockStatistics
from qmanet_benco.model.statistics.encoder import RelativeBlock, StatisticsEncoder
from qmanet_benco.model.statistics.measured import ImageStatistics, mirrored, transposed

PHOTO = astronaut()[0:192, 100:356]
ENERGIES = BlockStatistics.PHASES.start


def tensor(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(normalised(rgb)).permute(2, 0, 1)[None]


def jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    stored = io.BytesIO()
    Image.fromarray(rgb).save(stored, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(stored))


def luminance_of(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ [0.299, 0.587, 0.114]


def ghosts(rgb: np.ndarray) -> np.ndarray:
    """Median over the blocks of the lowest band's energy of each ghost."""
    logarithm = BlockStatistics()(tensor(rgb))[0, :ENERGIES]
    of_ghosts = logarithm[len(BANDS) : len(BANDS) * (1 + len(GHOST_QUALITIES))]
    return of_ghosts.unflatten(0, (-1, len(BANDS)))[:, 0].flatten(1).median(1).values.numpy()


def test_energies_of_the_bands_are_those_of_scipys_dct() -> None:
    luminance = luminance_of(PHOTO) - 128
    rows, columns = (side // BLOCK for side in luminance.shape)
    blocks = luminance.reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3)
    squares = scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho") ** 2
    frequency = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
    expected = [squares[..., (frequency >= low) & (frequency <= high)].mean(-1) for low, high in BANDS]
    single = BlockStatistics()(tensor(PHOTO))[0, 59 : 59 + len(BANDS)]  # after 38 energies, 16 phases and 5 shares
    assert np.allclose(np.exp(single.numpy()) - SMALLEST_ENERGY, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("quality", GHOST_QUALITIES)
def test_tables_of_the_ghosts_are_those_that_pillow_writes(quality: int) -> None:
    stored = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stored, "JPEG", quality=quality)
    written = Image.open(stored).quantization[0]  # type: ignore[attr-defined]
    own = BlockStatistics().tables[GHOST_QUALITIES.index(quality)].flatten().int().tolist()
    assert own == list(written)


@pytest.mark.parametrize("quality", GHOST_QUALITIES[:4])
def test_quantising_as_the_photo_was_quantised_changes_it_least(quality: int) -> None:
    """Farid 2009: the ghost is faintest at the quality of the past, as far as tables are coarse enough to show it."""
    energies = ghosts(jpeg(PHOTO, quality))
    index = GHOST_QUALITIES.index(quality)
    assert energies[index] < energies[index + 1]
    assert np.all(energies[index] < energies[:index])


@pytest.mark.parametrize("offset", [(0, 0), (3, 0), (0, 5), (6, 2)])
def test_edges_of_a_jpeg_are_strongest_at_the_phases_of_its_grid(offset: tuple[int, int]) -> None:
    down, across = offset
    cropped = np.ascontiguousarray(jpeg(PHOTO, 30)[down:, across:])
    phases = BlockStatistics()(tensor(cropped))[0, BlockStatistics.PHASES].flatten(1).mean(1).unflatten(0, (2, BLOCK))
    for strength, moved in zip(phases, (across, down), strict=True):
        expected = {(-moved) % BLOCK, (-moved - 1) % BLOCK}  # the pixels on both sides of a boundary
        assert set(strength.topk(2).indices.tolist()) == expected


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 71), (100, 300), (513, 66)])
def test_one_token_for_each_block_that_was_begun(height: int, width: int) -> None:
    image = torch.randn(2, 3, height, width)
    features = StatisticsEncoder(8, 16)(image)
    assert features.shape == (2, 8, -(-height // BLOCK), -(-width // BLOCK))


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    images = torch.cat([tensor(PHOTO), tensor(jpeg(PHOTO, 50)[::-1].copy())])
    encoder = StatisticsEncoder(8, 16).eval()
    torch.nn.init.normal_(encoder.fine[0].projection.weight)
    together = encoder(images)
    assert torch.allclose(together, torch.cat([encoder(image[None]) for image in images]), atol=1e-4)


def test_a_new_block_is_the_identity() -> None:
    features = torch.randn(1, 4, 6, 6)
    assert torch.equal(RelativeBlock(4)(features), features)


def test_statistics_are_those_of_float32_under_autocast() -> None:
    image = tensor(PHOTO)
    with torch.autocast("cpu", torch.bfloat16):
        low = BlockStatistics()(image)
    assert torch.equal(low, BlockStatistics()(image))


def small(**changes: object) -> QMANetConfig:
    return variant_config("miniature-statistics", embed_dim=8, statistics_width=8, **changes)


def test_the_network_adds_what_the_statistics_say() -> None:
    torch.manual_seed(0)
    network = QMANetwork(small()).eval()
    assert network.statistics is not None
    plain = QMANetwork(variant_config("miniature", embed_dim=8)).eval()
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("statistics.")}
    plain.load_state_dict({**own, "_extra_state": plain.get_extra_state()})
    image = tensor(PHOTO)
    with torch.no_grad():
        measured = network.statistics.measured(image)
        added = network.statistics.logits(measured, network.statistics.encode(measured))
        together, alone = network.localize(image).mask_logits, plain.localize(image).mask_logits
    size = [side // 4 for side in PHOTO.shape[:2]]
    enlarged = F.interpolate(added, size, mode="bilinear")
    expected = alone + F.interpolate(enlarged, PHOTO.shape[:2], mode="bilinear")
    assert torch.allclose(together, expected, atol=1e-4)


def test_an_answer_turns_with_its_picture() -> None:
    """Outside of training it is the mean over all eight orientations; in training that of one."""
    torch.manual_seed(0)
    encoder = StatisticsEncoder(8, 16).eval()
    for layer in encoder.modules():  # blocks begin as the identity
        if isinstance(layer, RelativeBlock):
            torch.nn.init.normal_(layer.projection.weight, std=0.1)
    statistics = torch.randn(2, ImageStatistics.CHANNELS, 12, 16)
    with torch.no_grad():
        own = encoder.logits(statistics, encoder.encode(statistics))
        for turned, turn in ((mirrored, lambda x: x.flip(3)), (transposed, lambda x: x.transpose(2, 3))):
            other = turned(statistics)
            assert torch.allclose(encoder.logits(other, encoder.encode(other)), turn(own), atol=1e-5)
        features = encoder.encode(statistics)
        single = encoder.head(features)
        assert (single - own).abs().max() > 1e-3
        assert torch.equal(encoder.train().logits(statistics, features), single)


def test_every_weight_of_the_encoder_learns() -> None:
    torch.manual_seed(0)
    network = QMANetwork(small()).train()
    image, mask = forgery(1, 128)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):  # zeroes at the start hide what stands before them
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(network(image).mask_logits, mask).backward()
        optimiser.step()
    assert network.statistics is not None
    silent = [name for name, weight in network.statistics.named_parameters() if not weight.grad.abs().max() > 0]  # type: ignore[union-attr]
    assert silent == []


def test_checkpointing_changes_nothing() -> None:
    torch.manual_seed(0)
    network = QMANetwork(small()).train()
    image = tensor(PHOTO)
    plain = network(image).mask_logits
    network.set_checkpointing(True)
    assert torch.equal(network(image).mask_logits, plain)


def test_weights_travel_with_their_variant(tmp_path: Path) -> None:
    from qmanet_benco import load_model
    from qmanet_benco.model.weights.files import write_safetensors

    network = QMANetwork(small()).eval()
    write_safetensors(tmp_path / "w.safetensors", network.state_dict(), 256)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "w.safetensors")(tensor(PHOTO)), network(tensor(PHOTO)))


@pytest.mark.parametrize("width", [-1, 1025])
def test_an_impossible_width_is_refused(width: int) -> None:
    with pytest.raises(RequestError, match=f"statistics_width {width}"):
        variant_config("miniature-statistics", statistics_width=width)
