"""NoisePrint++ residuals of whole data sets, computed once and kept for every model that trains or tests on them.

A training without augmentation (``qmanet benco train --augment none``) and every test see the same pixels again and
again; with ``--noiseprint_cache FOLDER`` the residual is then read instead of computed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from qmanet_benco.benco import noise_transforms, scoring
from qmanet_benco.benco.seam.padding import warn_of_cropping
from qmanet_benco.errors import RequestError
from qmanet_benco.model.noise_view import Denormalise
from qmanet_benco.model.noiseprint import NoisePrintPP
from qmanet_benco.model.weights.encoders import read_noiseprint
from qmanet_benco.model.weights.pretrained import find_weights

logger = logging.getLogger(__name__)


def keep_residuals(
    data: Path,
    cache: Path,
    *,
    weights: str,
    image_size: int = 512,
    padding: bool = False,
    share: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Compute the residuals of a set that are not kept yet.

    Args:
        data: ManiDataset folder or JSON list.
        cache: folder of ``--noiseprint_cache``.
        weights: a file with NoisePrint++, or a name of ``qmanet weights list``.
        image_size: side in pixels of the network's input.
        padding: images are padded to it instead of resized.
        share: which part of how many, for several processes with one part each.
        progress: called with the finished and all images.

    Returns:
        How many were computed now.

    Raises:
        RequestError: the set or the weights cannot be read.
    """
    if image_size < 1:
        raise RequestError(f"image size {image_size}", "1 pixel or more")
    network = NoisePrintPP()
    network.load_published(read_noiseprint(find_weights(weights)))
    folder = noise_transforms.use_cache(cache, network.fingerprint())
    denormalise = Denormalise()
    computed = 0
    with scoring.as_the_test_script():
        pairs = scoring.pairs_of(data, "data")
        if padding:
            warn_of_cropping(pairs, image_size, "data", logger.warning)
        dataset = scoring.open_set(data, image_size, padding, None, None)
        indices = range(share[0], len(dataset), share[1])  # type: ignore[arg-type]
        for done, index in enumerate(indices, start=1):
            image = dataset[index]["image"]
            key = noise_transforms.pixel_key(image)
            if noise_transforms.read_residual(folder, key) is None:
                with torch.no_grad():
                    noise_transforms.store_residual(folder, key, network(denormalise(image[None]))[0])
                computed += 1
            if progress is not None:
                progress(done, len(indices))
    return computed
