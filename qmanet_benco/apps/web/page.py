"""The web page: what is on it, and what happens when a photo is dropped."""

# No `from __future__ import annotations` here: Gradio reads the annotations of inner functions, whose names are local.
import base64
import html
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio

from qmanet_benco.apps.predict import resolved
from qmanet_benco.apps.web.analyst import EXAMPLE, Analyst, Answer, Marking
from qmanet_benco.apps.web.limits import Limits
from qmanet_benco.errors import RequestError
from qmanet_benco.model.network import QMANetwork

logger = logging.getLogger(__name__)

HEAD = """# QMA-Net: was this photo changed?
Drop a photo, or try the example. The network marks the parts that look as if they come from another picture or were
changed."""
DEMO_NOTE = (
    '<div class="qmanet-demo" role="note"><b>This is a demonstration model.</b> It is small and was trained on '
    "generated forgeries; it misses many real ones, and sometimes marks a photo that nobody changed. Its answer is no "
    "proof.</div>"
)
NOISE = "What the noise branch of the network gets: {sources}, fused, {side} x {side} pixels, colours stretched."
SOURCES = {"srm": "SRM", "bayar": "BayarConv", "noiseprint": "NoisePrint++"}
NO_EXPLANATION = (
    "An explanation (Grad-CAM) is shown here where the extra is installed: `pip install qmanet-benco[explain]`"
)
GONE = "The photo is gone; send it again."
CLEANING_SECONDS = 60
LOWEST, HIGHEST = 0.01, 0.99
"""Ends of the slider."""


def build_page(model: QMANetwork, folder: Path, limits: Limits, demo: bool) -> Any:
    """Build the page as ``gradio.Blocks``, with its queue.

    Args:
        model: in eval mode.
        folder: Gradio's temporary one.
        limits: of uploads and of what is kept.
        demo: say that this is the demonstration model.
    """
    analyst = Analyst(model, folder, limits)
    missing = "" if importlib.util.find_spec("pytorch_grad_cam") else NO_EXPLANATION
    picture: dict[str, Any] = dict(type="filepath", show_label=False, interactive=False, buttons=["fullscreen"])
    cleaning = (CLEANING_SECONDS, int(limits.seconds))
    with gradio.Blocks(title="QMA-Net", analytics_enabled=False, delete_cache=cleaning) as page:
        gradio.Markdown(HEAD)
        if demo:
            gradio.HTML(DEMO_NOTE)
        photo = gradio.File(label="A photo", show_label=False, height=150, elem_id="photo")
        with gradio.Row(elem_id="try"):
            gradio.HTML(f'<img src="{_as_address(EXAMPLE)}" alt="A portrait before a flag" width="72" height="72">')
            example = gradio.Button("Try this example: part of the flag was removed", size="md", elem_id="example")
        message = gradio.HTML(visible="hidden", elem_id="message")
        with gradio.Column(visible=False, elem_id="answer") as answer:
            words = gradio.Markdown(elem_id="words")
            own = resolved(model, None, 0, None).threshold
            threshold = gradio.Slider(
                LOWEST,
                HIGHEST,
                value=own,
                step=0.01,
                label="Threshold: mark what is more probable than this",
                elem_id="slider",
            )
            gradio.HTML(_mark_of(own), elem_id="own")
            with gradio.Tab("Overlay"):
                overlay = gradio.Image(**picture, alt_text="The photo with the marked parts in red", elem_id="overlay")
                gradio.Markdown("Red, on the photo in pale colours: the probability is above the threshold.")
            with gradio.Tab("Mask"):
                mask = gradio.Image(**picture, alt_text="The mask: white where the photo is marked", elem_id="mask")
                gradio.Markdown("White: the probability is above the threshold.")
            with gradio.Tab("Photo"):
                preview = gradio.Image(**picture, alt_text="The photo as it was sent", elem_id="preview")
                gradio.Markdown("The photo as it was sent, upright.")
            with gradio.Tab("Noise view"):
                noise = gradio.Image(**picture, alt_text="The noise view", elem_id="noise")
                gradio.Markdown(_noise_caption(model))
            with gradio.Row():
                saving: dict[str, Any] = dict(size="md", min_width=260)
                mask_file = gradio.DownloadButton("Save the mask (PNG)", elem_id="mask_file", **saving)
                probability_file = gradio.DownloadButton(
                    "Save the probability (16-bit PNG)", elem_id="probability_file", **saving
                )
            with gradio.Accordion("Explanation: what the network looked at", open=False, elem_id="explanation"):
                button = gradio.Button("Explain this photo", visible=not missing, elem_id="explain")
                note = gradio.Markdown(missing)
                panels = gradio.Gallery(
                    show_label=False, columns=4, height="auto", buttons=["fullscreen"], elem_id="panels"
                )
        gradio.Markdown(_foot(model, limits))
        place = gradio.State("")

        marked = [words, overlay, mask, mask_file]

        def answered(work: Callable[[], Answer]) -> dict[Any, Any]:
            cleared = {photo: None, panels: None, note: missing}
            try:
                analysis = work()
            except Exception as error:
                return {**cleared, message: _refusal(error), answer: gradio.update(visible=False), place: ""}
            return {
                **cleared,
                **_shown(marked, analysis.marking),
                message: gradio.update(value="", visible="hidden"),
                answer: gradio.update(visible=True),
                preview: analysis.photo,
                noise: analysis.noise,
                probability_file: analysis.probability,
                place: str(analysis.folder),
            }

        def analyse(upload: dict[str, Any] | None, limit: float, request: gradio.Request) -> dict[Any, Any]:
            sent = Path(str((upload or {}).get("path", "")))
            return answered(lambda: analyst.analyse(sent, str(request.session_hash), limit))

        def analyse_example(limit: float, request: gradio.Request) -> dict[Any, Any]:
            return answered(lambda: analyst.analyse_example(str(request.session_hash), limit))

        def mark(known: str, limit: float) -> Any:
            try:
                return _shown(marked, analyst.mark(Path(known), limit)) if known else {}
            except OSError:
                return {message: _refusal(RequestError(GONE))}

        def explain(known: str) -> Any:
            try:
                return {panels: analyst.explain(Path(known)), note: ""}
            except ImportError:
                return {note: NO_EXPLANATION}
            except OSError:
                return {message: _refusal(RequestError(GONE))}
            except Exception as error:
                return {message: _refusal(error)}

        def leave(request: gradio.Request) -> None:
            analyst.forget(str(request.session_hash))

        hidden: dict[str, Any] = dict(api_visibility="undocumented")
        network: dict[str, Any] = dict(concurrency_limit=1, concurrency_id="network", **hidden)
        outputs = [photo, message, answer, *marked, preview, noise, probability_file, panels, note, place]
        # Gradio's preparation of a file would leave an empty temporary file for each
        photo.upload(analyse, [photo, threshold], outputs, preprocess=False, api_name="analyse", **network)
        threshold.change(
            mark,
            [place, threshold],
            [*marked, message],
            api_name="mark",
            concurrency_limit=4,
            trigger_mode="always_last",
            show_progress="hidden",
            **hidden,
        )
        button.click(explain, place, [panels, note, message], api_name="explain", **network)
        example.click(analyse_example, threshold, outputs, api_name="example", **network)
        page.unload(leave)
    return page.queue(max_size=limits.queue, default_concurrency_limit=1, api_open=False)


def _shown(parts: list[Any], marking: Marking) -> dict[Any, Any]:
    return dict(zip(parts, (marking.words, marking.overlay, marking.mask, marking.mask), strict=True))


def _refusal(error: Exception) -> Any:
    """Tell a refusal as it is, of anything else the kind alone, since the text may name paths. The log has the rest."""
    if isinstance(error, RequestError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "The photo is too large for this machine's memory."
    else:
        logger.error("a photo failed", exc_info=error)
        text = f"The photo could not be analysed ({type(error).__name__})."
    return gradio.update(value=f'<div class="qmanet-error" role="alert">{html.escape(text)}</div>', visible=True)


def _as_address(picture: Path) -> str:
    """A small picture as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _mark_of(threshold: float) -> str:
    """A mark below the slider at the model's own threshold."""
    part = (threshold - LOWEST) / (HIGHEST - LOWEST)
    return f'<div class="qmanet-own" style="--part: {part:.3f}"><span>the model\'s own: {threshold:.2f}</span></div>'


def _noise_caption(model: QMANetwork) -> str:
    sources = ", ".join(SOURCES.get(each, each) for each in model.config.noise_sources) or "the photo itself"
    return NOISE.format(sources=sources, side=model.image_size)


def _foot(model: QMANetwork, limits: Limits) -> str:
    kept = "A photo stays on the computer that runs this page, and is removed when the page is closed."
    bounds = f"At most {limits.megapixels:g} megapixels and {limits.megabytes:g} MB."
    weights = f"Weights: {model.fingerprint[:12]} ({model.image_size} x {model.image_size})."
    return f"{kept} {bounds} {weights}"
