"""Does the work of the page's buttons: analyses a photo, marks it at a threshold, explains it, forgets it."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from qmanet_benco.apps.predict import Prediction, predict, regions, resolved
from qmanet_benco.apps.web import views
from qmanet_benco.apps.web.limits import Limits, read_upload
from qmanet_benco.errors import RequestError
from qmanet_benco.model.network import QMANetwork

ORIGINAL, PREVIEW, PROBABILITY, SCORE = "original", "photo.jpg", "probability.npy", "score"
LONGEST_STEM = 80
EXAMPLE = Path(__file__).with_name("example.jpg")
"""Part of a flag removed from a portrait (US Navy, public domain; matplotlib ships it); `qmanet data demo` made it."""


@dataclass(frozen=True)
class Marking:
    """A photo's answer at one threshold."""

    words: str
    """Markdown."""
    overlay: Path
    mask: Path
    """PNG at the photo's own size, 0 or 255."""


@dataclass(frozen=True)
class Answer:
    """What the page shows of a photo."""

    folder: Path
    """Everything that is kept of it; the name cannot be guessed."""
    marking: Marking
    photo: Path
    noise: Path
    probability: Path
    """PNG at the photo's own size, 16 bits."""


class Analyst:
    """One model and the photos of all visitors, each visitor's in a folder whose name nobody else can know.

    Args:
        model: in eval mode.
        folder: Gradio's temporary one, from which it serves a file to whoever knows its name.
        limits: of uploads.
    """

    def __init__(self, model: QMANetwork, folder: Path, limits: Limits) -> None:
        self.model = model
        self.folder = folder
        self.limits = limits
        self._secret = secrets.token_bytes(32)

    def analyse(self, upload: Path, visitor: str, threshold: float) -> Answer:
        """Run the network on an uploaded file, which is moved away, and keep the pictures.

        The visitor's former photo is forgotten.

        Args:
            upload: below :attr:`folder`.
            visitor: how Gradio calls the open page.
            threshold: of the mask.

        Raises:
            RequestError: the upload is gone, or is no photo that this server takes.
        """
        self.forget(visitor)
        own = self._folder_of(visitor)
        folder = own / secrets.token_hex(8)
        try:
            folder.mkdir(parents=True, mode=0o700)
            _take(upload, folder / ORIGINAL)
            return self._analysed(folder, _stem(upload.name), threshold)
        except BaseException:
            self.forget(visitor)
            raise

    def analyse_example(self, visitor: str, threshold: float) -> Answer:
        """Do as :meth:`analyse` does, with the forgery that ships.

        Raises:
            RequestError: as there.
        """
        upload = self.folder / secrets.token_hex(16) / EXAMPLE.name
        upload.parent.mkdir(mode=0o700)
        shutil.copyfile(EXAMPLE, upload)
        return self.analyse(upload, visitor, threshold)

    def _analysed(self, folder: Path, stem: str, threshold: float) -> Answer:
        pixels = read_upload(folder / ORIGINAL, self.limits)
        prediction = predict(self.model, pixels)
        sixteen = (prediction.probability * views.FULL).round().astype(np.uint16)
        probability = folder / f"{stem}.probability.png"
        for path, content in (
            (folder / PREVIEW, views.encode(views.shrunk(pixels), ".jpg")),
            (folder / "noise.png", views.encode(views.noise_picture(self.model, pixels), ".png")),
            (probability, views.encode(sixteen, ".png")),
            (folder / SCORE, str(prediction.score).encode()),
        ):
            path.write_bytes(content)
        np.save(folder / PROBABILITY, sixteen)
        return Answer(folder, self.mark(folder, threshold), folder / PREVIEW, folder / "noise.png", probability)

    def mark(self, folder: Path, threshold: float) -> Marking:
        """Mark the answer at another threshold; the network is not asked again.

        Raises:
            OSError: the photo was forgotten.
        """
        sixteen = np.load(folder / PROBABILITY)
        score = float((folder / SCORE).read_text())
        calibration = resolved(self.model, None, 0, None).calibration
        own = calibration if calibration and threshold == calibration.threshold else None
        gated = own is not None and own.withholds_mask(score)
        mask = (sixteen > threshold * views.FULL) & (not gated)
        probability = (sixteen / np.float32(views.FULL)).astype(np.float32)
        prediction = Prediction(
            probability,
            mask,
            score,
            tuple(regions(mask, probability)),
            threshold,
            calibration,
            gated,
        )
        photo = views.decode((folder / PREVIEW).read_bytes())
        small = cv2.resize(sixteen, (photo.shape[1], photo.shape[0]), interpolation=cv2.INTER_AREA)
        stem = next(folder.glob("*.probability.png")).name.removesuffix(".probability.png")
        places = folder / f"overlay-{threshold:.2f}.jpg", folder / f"{threshold:.2f}"
        places[1].mkdir(exist_ok=True)
        marking = Marking(words(prediction), places[0], places[1] / f"{stem}.mask.png")
        marking.overlay.write_bytes(
            views.encode(views.overlay(photo, (small > threshold * views.FULL) & (not gated)), ".jpg")
        )
        marking.mask.write_bytes(views.encode(mask.astype(np.uint8) * 255, ".png"))
        return marking

    def explain(self, folder: Path) -> list[tuple[str, str]]:
        """Draw the panels of the explanation, each with its name.

        Raises:
            OSError: the photo was forgotten.
            ImportError: the extra is not installed.
            RequestError: the photo cannot be explained.
        """
        from qmanet_benco.apps.explain.explain import explain

        pixels = read_upload(folder / ORIGINAL, self.limits)
        shown = []
        for number, (name, panel) in enumerate(explain(self.model, pixels).panels.items()):
            path = folder / f"panel-{number}.jpg"
            path.write_bytes(views.panel_picture(pixels, panel))
            shown.append((str(path), name))
        return shown

    def forget(self, visitor: str) -> None:
        """Remove everything of a visitor; work that is still going on finds no folder to write into and fails."""
        own = self._folder_of(visitor)
        removed = own.with_name(secrets.token_hex(32))
        try:
            own.rename(removed)
        except FileNotFoundError:
            return
        shutil.rmtree(removed, ignore_errors=True)

    def _folder_of(self, visitor: str) -> Path:
        return self.folder / hashlib.sha256(self._secret + visitor.encode()).hexdigest()


def words(prediction: Prediction) -> str:
    """Tell the answer in words and numbers, as Markdown."""
    height, width = prediction.mask.shape
    verdict = f"**{prediction.verdict[0].upper()}{prediction.verdict[1:]}.**"
    marked = f"{prediction.tampered_fraction:.1%} of the photo has a probability above {prediction.threshold:.2f}."
    if prediction.gated:
        marked = "The score is too low for a mask at the model's own threshold; move the threshold to see one."
    score = f"Score {prediction.score:.2f}: {prediction.score_rule}. " if prediction.calibration else ""
    return f"{verdict} {marked}\n\n{score}{width} x {height} pixels."


def _take(upload: Path, place: Path) -> None:
    """Move an upload; Gradio's folder around it goes with it.

    Raises:
        RequestError: it is not there.
    """
    try:
        os.replace(upload, place)  # noqa: PTH105 - Path.replace of an empty path is the folder itself
        upload.parent.rmdir()
    except OSError as error:
        if not place.is_file():
            raise RequestError("The upload is gone", cure="send the photo again") from error


def _stem(name: str) -> str:
    return re.sub(r"[^\w .-]", "_", Path(name).stem)[:LONGEST_STEM] or "photo"
