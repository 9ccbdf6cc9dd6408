"""What a prediction leaves on the disk: mask, heat map, probability, record."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qmanet_benco import __version__
from qmanet_benco.apps.engines import EngineModel
from qmanet_benco.apps.photo import RESULTS, Pixels, read_photo
from qmanet_benco.apps.predict import THRESHOLD, Prediction, checked_request, fingerprint, predict
from qmanet_benco.errors import RequestError
from qmanet_benco.model.files import write_bytes_atomically
from qmanet_benco.model.network import QMANetwork

VEIL = 0.55
"""How much of a pixel the heat covers where the probability is 1."""
BAND = 256
"""Rows of a photo that are coloured at a time."""
LONGEST_STEM = 200
"""Bytes."""


def predict_all(
    model: QMANetwork | EngineModel,
    photos: Iterable[Path],
    out: Path,
    *,
    weights: str,
    native: bool = False,
    image_size: int = 0,
    threshold: float = THRESHOLD,
) -> Iterator[dict[str, Any]]:
    """Predict photos one after the other and write ``out/<stem>.*`` for each; one that fails does not stop the others.

    A photo's results replace its former ones. Where another photo of the same stem has results in ``out``, the next
    free number is appended (``stem-2``); a file of such a name that is no result at all stays, and the photo fails.

    Args:
        model: a network in eval mode, or one in another engine.
        photos: files.
        out: folder, made if need be.
        weights: where the model came from, for the records.
        native: see :func:`~qmanet_benco.apps.predict.predict`.
        image_size: see there.
        threshold: see there.

    Yields:
        The record of each photo, or ``{"file", "error"}``.

    Raises:
        RequestError: an argument makes no sense, or ``out`` cannot be written into; nothing is done then.
    """
    side = checked_request(model, image_size, threshold)
    _check_folder(out)
    settings = {
        "resolution": "native" if native else f"{side}",
        "threshold": threshold,
        "model": {
            "weights": weights,
            "fingerprint": fingerprint(model),
            "engine": model.name if isinstance(model, EngineModel) else "torch",
        },
        "version": __version__,
    }
    taken: set[str] = set()
    for path in photos:
        source = str(path.resolve())
        try:
            stem = _free(out, shortened(path.stem), source, taken)
            pixels = read_photo(path)
            found = predict(model, pixels, native=native, image_size=image_size, threshold=threshold)
            record = {
                "file": str(path),
                "source": source,
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "score": found.score,
                "tampered_fraction": found.tampered_fraction,
                "regions": [asdict(region) for region in found.regions],
                **settings,
                "outputs": [f"{stem}{ending}" for ending in RESULTS],
            }
            write_prediction(out, stem, pixels, found, record)
            yield record
        except RequestError as error:
            yield {"file": str(path), "error": str(error)}
        except (OSError, RuntimeError, MemoryError, ValueError) as error:
            yield {"file": str(path), "error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def write_prediction(out: Path, stem: str, pixels: Pixels, found: Prediction, record: dict[str, Any]) -> None:
    """Write mask (0 or 255), heat map, probability (16 bits: 65535 is 1) and record.

    The record is there first, with ``"complete": false``, so that a killed run's files are known as this photo's.

    Raises:
        RequestError: the folder cannot be written.
    """
    sixteen = (found.probability * 65535).round().astype(np.uint16)
    images: tuple[np.ndarray, ...] = (found.mask.astype(np.uint8) * 255, heat_map(pixels, found), sixteen)
    contents = [(f"{stem}.json", _json(record | {"complete": False}))]
    contents += [(f"{stem}{ending}", _png(image)) for ending, image in zip(RESULTS, images, strict=True)]
    try:
        for name, content in (*contents, (f"{stem}.json", _json(record))):
            write_bytes_atomically(out / name, content)
    except OSError as error:
        raise RequestError(f"{out} cannot be written ({error.strerror})", "a folder with room") from error


def heat_map(pixels: Pixels, found: Prediction) -> Pixels:
    """The photo in grey under a heat of the probability, H x W x 3."""
    heated = np.empty_like(pixels)
    for top in range(0, len(pixels), BAND):  # a photo of 24 megapixels has 0.3 GB as float32
        rows = np.s_[top : top + BAND]
        grey = pixels[rows].mean(axis=2, keepdims=True, dtype=np.float32)
        probability = found.probability[rows]
        veil = VEIL * probability[..., None]
        # from orange, which dark grey and light grey both set off, to red; also told apart by lightness
        heat = np.stack([np.full_like(probability, 255), 170 * (1 - probability), np.zeros_like(probability)], axis=2)
        heated[rows] = (grey * (1 - veil) + heat * veil).clip(0, 255)
    return heated


def shortened(stem: str) -> str:
    """A stem that leaves room for endings in a file system's 255 bytes."""
    return os.fsdecode(os.fsencode(stem)[:LONGEST_STEM]) if len(os.fsencode(stem)) > LONGEST_STEM else stem


def _check_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--out {out} ({error.strerror})", "a folder that can be made or written into") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise RequestError(f"--out {out} may not be written into", "a folder of yours", "name another one")


def _free(out: Path, stem: str, source: str, taken: set[str]) -> str:
    """The stem, or the first numbered one, that neither a photo of this call nor results of another photo have.

    Letter case does not tell names apart.

    Raises:
        RequestError: a file of that name is no result of a photo.
    """
    name, number = stem, 1
    while name.casefold() in taken or _owner(out, name) not in (source, None):
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name


def _owner(out: Path, stem: str) -> str | None:
    """Whose results have this stem: the photo's absolute path; None where nothing has.

    Raises:
        RequestError: something has that is no result of a photo.
    """
    present = [name for name in (*(f"{stem}{ending}" for ending in RESULTS), f"{stem}.json") if (out / name).exists()]
    if not present:
        return None
    try:
        known = json.loads((out / f"{stem}.json").read_text(encoding="utf-8"))
        if set(present) <= {*known["outputs"], f"{stem}.json"}:
            return str(known["source"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise RequestError(f"{out / present[0]} exists and is no result of a photo", "a free name", "name another --out")


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, indent=2, allow_nan=False).encode()


def _png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()
