"""The Hugging Face hub: a model as a folder of weights, configuration and a card that says what it is.

``save_pretrained`` and ``push_to_hub`` are those of huggingface_hub's ``ModelHubMixin``. It is not inherited: its
import takes as long as analysing a photo.
``from_pretrained`` reads the same files as :func:`~qmanet_benco.load_model`. The weights carry the configuration;
``config.json`` repeats it for readers.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from qmanet_benco.errors import RequestError
from qmanet_benco.files import write_text_atomically
from qmanet_benco.model.calibration import Calibration
from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.weights.files import write_safetensors
from qmanet_benco.model.weights.sources import HUB_FILE, as_name, locate
from qmanet_benco.model.weights.trained import filled, trained_state

if TYPE_CHECKING:
    from huggingface_hub import ModelCard
    from typing_extensions import Self

logger = logging.getLogger(__name__)

NOISEPRINT_TERMS = (
    "The file contains the weights of NoisePrint++ (GRIP-UNINA, Guillaro et al. 2023, TruFor), whose licence allows "
    "non-profit research only. It therefore binds whoever uses or passes on this file: "
    "https://github.com/grip-unina/TruFor"
)
PAPER = (
    "A Novel Query-Driven Multi-Stage Alternating Feature Extraction and Interaction Network for Image Manipulation "
    "Localization"
)


@dataclass(frozen=True)
class Measured:
    """A result that the caller measured; the card never states another.

    Raises:
        RequestError: a score is not in [0, 1], or there are no images.
    """

    images: str
    """Which images, e.g. "CASIA v1, 920 forgeries, 512 x 512"."""
    f1: float
    """Mean pixel-F1 over the images at threshold 0.5."""
    all_tampered_f1: float
    """Mean pixel-F1 of a mask that calls every pixel tampered, on the same images; a model should be above it."""
    auc: float | None = None

    def __post_init__(self) -> None:
        if not self.images.strip():
            raise RequestError("a result without images", "the name of the set that was measured")
        for name in ("f1", "all_tampered_f1", "auc"):
            score = getattr(self, name)
            if score is not None and not (math.isfinite(score) and 0 <= score <= 1):
                raise RequestError(f"{name} {score} on {self.images}", "a number from 0 to 1")


class HubModel(nn.Module):
    """What a network needs for ``from_pretrained``, ``save_pretrained`` and ``push_to_hub``.

    The card's facts are given as ``model_card_kwargs`` of either: ``data`` (what it was trained on), ``results``
    (a list of :class:`Measured`) and ``licence`` (of the weights). What is not given is said to be not stated.
    """

    config: QMANetConfig
    image_size: int
    calibration: Calibration | None
    _hub_mixin_config = None  # read by huggingface_hub: config.json is written here

    def save_pretrained(
        self, save_directory: str | Path, *, model_card_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> str | None:
        """Write ``model.safetensors``, ``config.json`` and ``README.md``.

        Args:
            save_directory: made if need be. A card that is there already stays unless ``model_card_kwargs`` are given.
            model_card_kwargs: see the class.
            options: of huggingface_hub's method of this name.

        Returns:
            The commit's URL with ``push_to_hub=True``, else None.

        Raises:
            RequestError: a fact for the card makes no sense, or the folder cannot be written.
        """
        unknown = (model_card_kwargs or {}).keys() - {"data", "results", "licence"}
        if unknown:
            raise RequestError(f"model_card_kwargs with {min(unknown)}", "data, results or licence")
        self.generate_model_card(**(model_card_kwargs or {}))  # refuse before anything is written
        if model_card_kwargs:
            (Path(save_directory) / "README.md").unlink(missing_ok=True)
        try:
            save: Any = _library().ModelHubMixin.save_pretrained
            commit: str | None = save(self, save_directory, model_card_kwargs=model_card_kwargs, **options)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise RequestError(f"{save_directory} cannot be written ({error.strerror})", "a folder") from error
        return commit

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload what :meth:`save_pretrained` writes.

        Args:
            repo_id: ``owner/name``.
            options: of huggingface_hub's method of this name.

        Returns:
            The commit's URL.

        Raises:
            RequestError: a fact for the card makes no sense.
        """
        push: Any = _library().ModelHubMixin.push_to_hub
        return str(push(self, repo_id, **options))

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, map_location: str = "cpu", **options: Any
    ) -> Self:
        """Load what ``save_pretrained`` or ``push_to_hub`` wrote; in eval mode.

        Args:
            pretrained_model_name_or_path: a folder, a file, or ``owner/name`` on the hub.
            map_location: the device.
            options: ``revision``, ``cache_dir``, ``token``, ``force_download`` and ``local_files_only`` of
                ``huggingface_hub.hf_hub_download``.

        Raises:
            RequestError: there is no such file, or it holds no QMA-Net.
        """
        path = locate(as_name(pretrained_model_name_or_path), **options)
        return filled(cls, trained_state(str(path.absolute()))).eval().to(map_location)

    def _save_pretrained(self, save_directory: Path) -> None:
        if "noiseprint" in self.config.noise_sources:
            logger.warning("%s: %s", save_directory, NOISEPRINT_TERMS)
        write_safetensors(save_directory / HUB_FILE, self.state_dict(), self.image_size, self.calibration)
        content = json.dumps({"image_size": self.image_size, **asdict(self.config)}, indent=2, sort_keys=True)
        write_text_atomically(save_directory / "config.json", content)

    def generate_model_card(self, data: str = "", results: Sequence[Measured] = (), licence: str = "") -> ModelCard:
        """The card, from the configuration and from what the caller states.

        Args:
            data: what the network was trained on.
            results: what the caller measured.
            licence: of the weights, an identifier of the hub such as ``mit``.

        Raises:
            RequestError: a result is no :class:`Measured`, or a licence is given that NoisePrint++'s does not allow.
        """
        restricted = "noiseprint" in self.config.noise_sources
        if restricted and licence not in ("", "other"):
            raise RequestError(
                f"licence {licence!r} for weights with NoisePrint++", "'other' or none: non-profit research only"
            )
        for each in results:
            if not isinstance(each, Measured):
                raise RequestError(f"a result {each!r:.80}", "qmanet_benco.model.weights.hub.Measured(images, f1, ...)")
        about = _library().ModelCardData(
            license="other" if restricted else (licence or None),
            license_name="noiseprint-non-profit-research-only" if restricted else None,
            library_name="qmanet-benco",
            pipeline_tag="image-segmentation",
            tags=["image-manipulation-localization", "qma-net"],
        )
        card: ModelCard = _library().ModelCard(
            f"---\n{about.to_yaml()}\n---\n\n{self._card_text(data, results, licence)}"
        )
        return card

    def _card_text(self, data: str, results: Sequence[Measured], licence: str) -> str:
        config = self.config
        terms = NOISEPRINT_TERMS if "noiseprint" in config.noise_sources else (licence or "Not stated.")
        parameters = sum(parameter.numel() for parameter in self.parameters())
        return f"""# QMA-Net, variant `{config.variant}`

Image manipulation localization: a photo in, the probability of tampering of each pixel out. An implementation of
"{PAPER}" by qmanet-benco, not by the paper's authors. {parameters / 1e6:.1f} M parameters; noise sources
{", ".join(config.noise_sources) or "none"}; made for {self.image_size} x {self.image_size} pixels.

```python
from qmanet_benco import load_model, predict

result = predict(load_model("OWNER/NAME"), "photo.jpg")  # the name of this repository, or a folder
```

## Data

{data or "Not stated."}

## Licence of the weights

{terms}

## Measured results

{_table(results)}

An answer of this network is no proof: it can be wrong on any photo.
"""


def _library() -> Any:
    """Import huggingface_hub, which analysing a photo does without."""
    import huggingface_hub

    return huggingface_hub


def _table(results: Sequence[Measured]) -> str:
    if not results:
        return "None stated. Compare any result with that of a mask that calls every pixel tampered."
    lines = ["| images | pixel-F1 | pixel-F1 of an all-tampered mask | AUC |", "| --- | --- | --- | --- |"]
    for each in results:
        auc = "-" if each.auc is None else f"{each.auc:.3f}"
        name = " ".join(each.images.replace("|", "/").split())
        lines.append(f"| {name} | {each.f1:.3f} | {each.all_tampered_f1:.3f} | {auc} |")
    return "\n".join(lines)
