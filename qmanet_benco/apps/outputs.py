"""Writes the files of a prediction: mask, heat map, probability, record."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from qmanet_benco import __version__
from qmanet_benco.apps.engines.engines import EngineModel
from qmanet_benco.apps.photo import RESULTS, Pixels, read_photo
from qmanet_benco.apps.predict import Prediction, predict, resolved
from qmanet_benco.errors import RequestError, told
from qmanet_benco.files import write_bytes_atomically, writing
from qmanet_benco.images import encoded
from qmanet_benco.model.network import QMANetwork

VEIL = 0.55
"""Opacity of the heat over a pixel whose probability is 1."""
BAND = 256
"""Rows of a photo that are coloured at a time."""
MOST_SQUEEZED = 3.0
"""Factor by which resizing may change the aspect without a warning; training saw at most about 2 : 1 (CHOICE)."""
LONGEST_STEM = 200
"""Bytes."""


def predict_all(
    model: QMANetwork | EngineModel,
    photos: Iterable[Path],
    out: Path,
    *,
    weights: str,
    native: bool | None = None,
    image_size: int = 0,
    threshold: float | None = None,
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
    way = resolved(model, native, image_size, threshold)
    _check_folder(out)
    settings = {
        "resolution": "native" if way.native else f"{way.side}",
        "threshold": way.threshold,
        "model": {
            "weights": weights,
            "fingerprint": model.fingerprint,
            "engine": model.name if isinstance(model, EngineModel) else "torch",
            "precision": model.precision,
        },
        "version": __version__,
    }
    held = _results_in(out)
    for path in photos:
        stem, is_new, failure = "", False, ""
        try:
            source = os.path.realpath(path)
            stem, is_new = _claimed(out, shortened(path.stem), source, held)
            pixels = read_photo(path)
            prediction = predict(model, pixels, native=native, image_size=image_size, threshold=threshold)
            record = {
                "file": str(path),
                "source": source,
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "verdict": prediction.verdict,
                "score": prediction.score if prediction.calibration else None,
                "score_rule": prediction.score_rule,
                "tampered_fraction": prediction.tampered_fraction,
                "regions": [asdict(region) for region in prediction.regions],
                **_aspect(pixels.shape[1], pixels.shape[0], way.native),
                **settings,
                "outputs": [f"{stem}{ending}" for ending in RESULTS],
            }
            write_prediction(out, stem, pixels, prediction, record)
            yield record
        except RequestError as error:
            failure = str(error)
        except (OSError, RuntimeError, MemoryError, ValueError) as error:
            failure = f"{path} failed ({told(error)})"
        if failure:
            if is_new:
                held.pop(stem.casefold())
                (out / f"{stem}.json").unlink(missing_ok=True)
            yield {"file": str(path), "error": failure}


def _aspect(width: int, height: int, native: bool) -> dict[str, Any]:
    """Say how far the network's square is from the photo's shape; beyond :data:`MOST_SQUEEZED` with advice."""
    change = 1.0 if native else max(width, height) / min(width, height)
    told: dict[str, Any] = {"aspect_change": round(change, 3)}
    if change > MOST_SQUEEZED:
        told["advice"] = (
            f"{width} x {height} pixels became a square, as in the paper: the aspect changed by a factor of "
            f"{change:.1f}; --native keeps it"
        )
    return told


def write_prediction(out: Path, stem: str, pixels: Pixels, prediction: Prediction, record: dict[str, Any]) -> None:
    """Write mask (0 or 255), heat map, probability (16 bits: 65535 is 1) and record.

    The record says ``"complete": false`` until the others are there.

    Raises:
        RequestError: the folder cannot be written.
    """
    sixteen = (prediction.probability * 65535).round().astype(np.uint16)
    images: tuple[np.ndarray, ...] = (prediction.mask.astype(np.uint8) * 255, heat_map(pixels, prediction), sixteen)
    contents = [(f"{stem}.json", _json(record | {"complete": False}))]
    contents += [(f"{stem}{ending}", encoded(image, "PNG")) for ending, image in zip(RESULTS, images, strict=True)]
    with writing(out):
        for name, content in (*contents, (f"{stem}.json", _json(record))):
            write_bytes_atomically(out / name, content)


def heat_map(pixels: Pixels, prediction: Prediction) -> Pixels:
    """Draw the photo in grey under a heat of the probability, H x W x 3."""
    heated = np.empty_like(pixels)
    for top in range(0, len(pixels), BAND):  # a photo of 24 megapixels has 0.3 GB as float32
        rows = np.s_[top : top + BAND]
        grey = pixels[rows].mean(axis=2, keepdims=True, dtype=np.float32)
        probability = prediction.probability[rows]
        veil = VEIL * probability[..., None]
        # from orange, which dark grey and light grey both set off, to red; also told apart by lightness
        heat = np.stack([np.full_like(probability, 255), 170 * (1 - probability), np.zeros_like(probability)], axis=2)
        heated[rows] = (grey * (1 - veil) + heat * veil).clip(0, 255)
    return heated


def shortened(stem: str) -> str:
    """Cut a stem so that it leaves room for endings in a file system's 255 bytes."""
    name = os.fsencode(stem)
    return name[:LONGEST_STEM].decode("utf-8", "ignore") if len(name) > LONGEST_STEM else stem


def _check_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--out {out} ({error.strerror})", "a folder that can be made or written into") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise RequestError(f"--out {out} may not be written into", "a folder of yours", "name another one")


def _results_in(out: Path) -> dict[str, tuple[str, str]]:
    """Casefolded stem of each photo's results in a folder -> stem, and the photo's absolute path."""
    stems = {}
    for path in out.glob("*.json"):
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(known["outputs"], list):
                stems[path.stem.casefold()] = (path.stem, str(known["source"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return stems


def _claimed(out: Path, stem: str, source: str, held: dict[str, tuple[str, str]]) -> tuple[str, bool]:
    """Claim the stem of a photo's results, and tell whether it is new: it has some, or gets the first free one.

    Letter case does not tell names apart. A claim is a record that is not complete, made so that of several processes
    one gets it.

    Raises:
        RequestError: a file of that name is no result of a photo.
    """
    own = re.compile(rf"{re.escape(stem)}(-\d+)?")
    for name, owner in held.values():
        if owner == source and own.fullmatch(name):
            return name, False
    number = 0
    while True:
        number += 1
        name = stem if number == 1 else f"{stem}-{number}"
        if name.casefold() in held:
            continue
        files = [f"{name}{ending}" for ending in RESULTS]
        foreign = next((file for file in (*files, f"{name}.json") if (out / file).exists()), None)
        if foreign:
            raise RequestError(
                f"{out / foreign} exists and is no result of a photo", "a free name", "name another --out"
            )
        claim = out / f"{name}.json"
        try:
            with claim.open("xb") as stream:
                stream.write(_json({"source": source, "outputs": files, "complete": False}))
        except FileExistsError:  # another process took the name
            continue
        except OSError:  # a file that was cut short is no result, so that no later run would replace it
            claim.unlink(missing_ok=True)
            raise
        held[name.casefold()] = (name, source)
        return name, True


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, indent=2, allow_nan=False).encode()
