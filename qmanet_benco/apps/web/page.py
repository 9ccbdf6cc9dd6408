"""The web page: what is on it, and what happens when a photo is dropped."""

# No `from __future__ import annotations` here: Gradio reads the annotations of inner functions, whose names are local.
import html
import importlib.util
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from qmanet_benco.apps.predict import predict
from qmanet_benco.apps.web.limits import Limits, read_upload
from qmanet_benco.apps.web.store import Slot, Store
from qmanet_benco.apps.web.views import Views, make_views, panel_picture
from qmanet_benco.errors import RequestError
from qmanet_benco.model.network import QMANetwork

logger = logging.getLogger(__name__)

TITLE = "QMA-Net: was this photo changed?"
ABOUT = "Drop a photo. The network marks the parts that look as if they come from another picture or were changed."
DEMO_NOTE = (
    "<b>This is a demonstration model.</b> It is small and was trained on generated forgeries; on real ones it is "
    "hardly better than marking every pixel. Its answer is no evidence of anything."
)
CAPTIONS = {
    "overlay": "Red, on the photo in pale colours: where the probability of tampering is above the threshold.",
    "mask": "White: where the probability of tampering is above the threshold.",
    "photo": "The photo as it was sent, upright.",
    "noise": "What the noise branch of the network gets: {sources}, fused, {side} x {side} pixels, colours stretched.",
}
VIEWS = {"overlay": "Overlay", "mask": "Mask", "photo": "Photo", "noise": "Noise view"}
SOURCES = {"srm": "SRM", "bayar": "BayarConv", "noiseprint": "NoisePrint++"}
NO_EXPLANATION = (
    "An explanation (Grad-CAM) is shown here where the extra is installed: pip install qmanet-benco[explain]"
)
EXPLAINERS = ("qmanet_benco.apps.explain.explain", "pytorch_grad_cam")
NETWORK = "network"
"""Everything that runs the network shares one place in the queue."""


@dataclass(frozen=True)
class Analyst:
    """What the page's buttons do.

    Args:
        model: in eval mode.
        store: uploads and results.
        limits: of uploads.
    """

    model: QMANetwork
    store: Store
    limits: Limits

    def analyse(self, slot: Slot, page: str) -> str:
        """Run the network on a slot's upload and keep the pictures; what the page shows, as HTML.

        Raises:
            RequestError: the upload is no photo that this server takes.
        """
        pixels = read_upload(slot.upload, self.limits)
        found = predict(self.model, pixels)
        views = make_views(self.model, pixels, found)
        slot.page = page
        for file, media_type, content in (
            ("photo.jpg", "image/jpeg", views.photo),
            ("preview.png", "image/png", views.probability),
            ("noise.png", "image/png", views.noise),
            ("probability.png", "image/png", views.sixteen),
        ):
            slot.add(file, media_type, content)
        height, width = pixels.shape[:2]
        return self._result(slot, views, found.score, f"{width} x {height}")

    def explain(self, slot: Slot) -> str:
        """The panels of the explanation, as HTML.

        Raises:
            RequestError: the extra is missing, or the photo cannot be explained.
        """
        from qmanet_benco.apps.explain.explain import explain

        pixels = read_upload(slot.upload, self.limits)
        figures = []
        for number, (name, panel) in enumerate(explain(self.model, pixels).panels.items()):
            file = f"panel-{number}.jpg"
            slot.add(file, "image/jpeg", panel_picture(pixels, panel))
            label = html.escape(name)
            source = f"result/{slot.token}/{file}"
            figures.append(f'<figure><img src="{source}" alt="{label}"><figcaption>{label}</figcaption></figure>')
        return f'<div class="qmanet-panels">{"".join(figures)}</div>'

    def _result(self, slot: Slot, views: Views, score: float, size: str) -> str:
        side = self.model.image_size
        stem = html.escape(PurePath(slot.name).stem or "photo", quote=True)
        sources = ", ".join(SOURCES.get(each, each) for each in self.model.config.noise_sources) or "the photo itself"
        captions = {view: html.escape(text.format(sources=sources, side=side)) for view, text in CAPTIONS.items()}
        tabs = "".join(
            f'<button type="button" data-view="{view}" data-caption="{captions[view]}">{label}</button>'
            for view, label in VIEWS.items()
        )
        fractions = json.dumps([round(each, 5) for each in views.fractions])
        base = f"result/{slot.token}"
        return (
            f'<div class="qmanet-result" data-token="{slot.token}" data-fractions="{fractions}">'
            f'<div class="qmanet-facts"><span>Score<b>{score:.2f}</b></span>'
            f'<span>Marked as tampered<b class="qmanet-fraction">&nbsp;</b></span>'
            f'<span>Photo<b>{size}</b></span></div><div class="qmanet-tabs">{tabs}</div>'
            f'<canvas width="{views.size[0]}" height="{views.size[1]}" role="img" aria-label="result"></canvas>'
            f'<p class="qmanet-caption"></p>'
            '<div class="qmanet-files">'
            f'<a class="qmanet-mask" href="{base}/mask.png" download="{stem}.mask.png">Mask (PNG)</a>'
            f'<a href="{base}/probability.png" download="{stem}.probability.png">Probability (16-bit PNG)</a>'
            "</div></div>"
        )


def can_explain() -> bool:
    """Whether the extra for explanations is installed."""
    return all(importlib.util.find_spec(name) is not None for name in EXPLAINERS)


def build_page(model: QMANetwork, store: Store, limits: Limits, demo: bool) -> Any:
    """The page as ``gradio.Blocks``, with its queue."""
    import gradio

    analyst = Analyst(model, store, limits)
    with gradio.Blocks(title="QMA-Net", analytics_enabled=False, delete_cache=(60, int(limits.seconds))) as page:
        gradio.HTML(_head(demo), elem_classes="qmanet-head")
        photo = gradio.File(label="Photo", file_count="single", height=150, show_label=False, elem_id="photo")
        message = gradio.HTML(visible="hidden", elem_id="message")
        with gradio.Column(visible=False, elem_id="answer") as answer:
            result = gradio.HTML(elem_id="result")
            threshold = gradio.Slider(
                0.01,
                0.99,
                value=0.5,
                step=0.01,
                label="Threshold: mark what is more probable than this",
                elem_id="slider",
            )
            with gradio.Accordion("Explanation: what the network looked at", open=False):
                button = gradio.Button("Explain this photo", visible=can_explain(), elem_id="explain")
                panels = gradio.HTML("" if can_explain() else _note(NO_EXPLANATION), elem_id="panels")
        gradio.HTML(_foot(model, limits))
        token = gradio.State("")

        def analyse(upload: Any, request: gradio.Request) -> tuple[Any, ...]:
            text, shown, slot = analysed(analyst, _path_of(upload), str(request.session_hash or ""))
            cleared = _note(NO_EXPLANATION) if not can_explain() else ""
            return (
                None,
                gradio.update(value=text, visible=True if text else "hidden"),
                gradio.update(visible=bool(shown)),
                shown,
                cleared,
                slot,
            )

        def explain(known: str, request: gradio.Request) -> str:
            return explained(analyst, known, request.cookies.get("qmanet", ""))

        once: dict[str, Any] = dict(concurrency_limit=1, concurrency_id=NETWORK, api_visibility="private")
        hidden: dict[str, Any] = dict(api_visibility="private", queue=False, show_progress="hidden")
        # Gradio's preparation of a file would leave an empty temporary file for each
        photo.upload(analyse, photo, [photo, message, answer, result, panels, token], preprocess=False, **once)
        threshold.change(None, threshold, js="(value) => { window.qmanet.threshold(value); }", **hidden)
        button.click(explain, token, panels, **once)
        page.unload(_leaving(store))
    return page.queue(max_size=limits.queue, default_concurrency_limit=1, api_open=False)


def _path_of(upload: Any) -> str:
    """The path in what Gradio hands on for a file, which comes from outside."""
    return str(upload.get("path") or "") if isinstance(upload, dict) else ""


def analysed(analyst: Analyst, path: str, page: str) -> tuple[str, str, str]:
    """Message, result and token; one of message and result is empty."""
    slot = analyst.store.of_upload(path)
    if slot is None:
        return _error("The upload is gone; send the photo again."), "", ""
    slot.page = page  # before the work, so that a page that is closed meanwhile is known
    try:
        with analyst.store.at_work(slot):
            shown = analyst.analyse(slot, page)
    except Exception as error:
        analyst.store.forget(slot)
        analyst.store.forget_page(page)
        return _error(_one_line(error)), "", ""
    analyst.store.forget_page(page, but=slot)
    analyst.store.tidy()
    return "", shown, slot.token


def explained(analyst: Analyst, token: str, owner: str) -> str:
    """The explanation of a result of this browser, or why there is none, as HTML."""
    slot = analyst.store.get(token, owner) if token else None
    if slot is None:
        return _error("The photo is gone; send it again.")
    try:
        with analyst.store.at_work(slot):
            return analyst.explain(slot)
    except ImportError:
        return _note(NO_EXPLANATION)
    except Exception as error:
        return _error(_one_line(error))


def _one_line(error: Exception) -> str:
    """A refusal as it is; of anything else the kind alone, since the text may name paths. The log has the rest."""
    if isinstance(error, RequestError):
        return str(error)
    logger.error("a photo failed", exc_info=error)
    if isinstance(error, MemoryError):
        return "The photo is too large for this machine's memory."
    return f"The photo could not be analysed ({type(error).__name__})."


def _leaving(store: Store) -> Callable[..., None]:
    """When a page is closed its results go."""
    import gradio

    def leave(request: gradio.Request) -> None:
        store.forget_page(str(request.session_hash or ""))

    return leave


def _head(demo: bool) -> str:
    note = f'<div class="qmanet-demo" role="note">{DEMO_NOTE}</div>' if demo else ""
    return f"<h1>{TITLE}</h1><p>{ABOUT}</p>{note}"


def _foot(model: QMANetwork, limits: Limits) -> str:
    kept = "A photo stays on the computer that runs this page, and is removed when the page is closed."
    bounds = f"At most {limits.megapixels:g} megapixels and {limits.megabytes:g} MB."
    weights = f"Weights: {model.fingerprint[:12]} ({model.image_size} x {model.image_size})."
    return _note(f"{kept} {bounds} {weights}")


def _error(text: str) -> str:
    return f'<div class="qmanet-error" role="alert">{html.escape(text)}</div>'


def _note(text: str) -> str:
    return f'<p class="qmanet-note">{html.escape(text)}</p>'
