"""What a prediction leaves on the disk: mask, heat map, probability, record."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qmanet_benco.apps.engines import EngineModel
from qmanet_benco.apps.photo import Pixels, read_photo
from qmanet_benco.apps.predict import Prediction, fingerprint, predict
from qmanet_benco.errors import RequestError
from qmanet_benco.model.network import QMANetwork

VEIL = 0.55
"""How much of a pixel the heat covers where the probability is 1."""


def predict_all(
    model: QMANetwork | EngineModel,
    photos: Iterable[Path],
    out: Path,
    *,
    weights: str,
    native: bool = False,
    image_size: int = 0,
) -> Iterator[dict[str, Any]]:
    """Predict photos one after the other and write ``out/<stem>.*`` for each; one that fails does not stop the others.

    Args:
        model: a network in eval mode, or one in another engine.
        photos: files; two of the same stem get two names.
        out: folder, made if need be.
        weights: where the model came from, for the records.
        native: see :func:`~qmanet_benco.apps.predict.predict`.
        image_size: see there.

    Yields:
        The record of each photo, or ``{"file", "error"}``.
    """
    identity = {"weights": weights, "fingerprint": fingerprint(model)}
    taken: set[str] = set()
    for path in photos:
        try:
            pixels = read_photo(path)
            found = predict(model, pixels, native=native, image_size=image_size)
            stem = _free(path.stem, taken)
            record = {
                "file": str(path),
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "score": found.score,
                "tampered_fraction": found.tampered_fraction,
                "regions": [asdict(region) for region in found.regions],
                "resolution": "native" if native else f"{image_size or model.image_size}",
                "model": identity,
                "outputs": [f"{stem}{ending}" for ending in (".mask.png", ".heatmap.png", ".probability.png")],
            }
            write_prediction(out, stem, pixels, found, record)
            yield record
        except RequestError as error:
            yield {"file": str(path), "error": str(error)}
        except (RuntimeError, MemoryError, ValueError) as error:
            yield {"file": str(path), "error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def write_prediction(out: Path, stem: str, pixels: Pixels, found: Prediction, record: dict[str, Any]) -> None:
    """Write mask (0 or 255), heat map, probability (16 bits: 65535 is 1) and record; the record is the last.

    Raises:
        RequestError: the folder cannot be written, or has files of these names that are not of this photo.
    """
    _refuse_foreign(out, stem, record)
    sixteen = (found.probability * 65535).round().astype(np.uint16)
    contents = {
        f"{stem}.mask.png": _png(found.mask.astype(np.uint8) * 255),
        f"{stem}.heatmap.png": _png(heat_map(pixels, found)),
        f"{stem}.probability.png": _png(sixteen),
        f"{stem}.json": json.dumps(record, indent=2).encode(),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            temporary = out / f".{name}.part"
            try:
                temporary.write_bytes(content)
                temporary.replace(out / name)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RequestError(f"{out} cannot be written ({error.strerror})", "a folder with room") from error


def _refuse_foreign(out: Path, stem: str, record: dict[str, Any]) -> None:
    """Results of the same photo are replaced; whatever else has such a name stays."""
    names = [name for name in (*record["outputs"], f"{stem}.json") if (out / name).exists()]
    if not names:
        return
    try:
        known = json.loads((out / f"{stem}.json").read_text(encoding="utf-8"))
        own = Path(known["file"]).absolute() == Path(record["file"]).absolute() and set(names) <= {
            *known["outputs"],
            f"{stem}.json",
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        own = False
    if not own:
        raise RequestError(
            f"{out / names[0]} exists and is no result of this photo", "a free name", "name another folder (--out)"
        )


def heat_map(pixels: Pixels, found: Prediction) -> Pixels:
    """The photo in grey under a heat of the probability, H x W x 3."""
    grey = pixels.mean(axis=2, keepdims=True)
    veil = VEIL * found.probability[..., None]
    # from orange, which dark grey and light grey both set off, to red; also told apart by lightness
    ones = np.ones_like(found.probability)
    heat = np.stack([255 * ones, 170 * (1 - found.probability), 0 * ones], axis=2)
    mixed = grey * (1 - veil) + heat * veil
    return np.asarray(mixed.clip(0, 255), np.uint8)


def _free(stem: str, taken: set[str]) -> str:
    """The stem, or the first numbered one that no photo of this call has; letter case does not tell names apart."""
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name


def _png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()
