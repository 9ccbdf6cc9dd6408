"""``qmanet app``: Gradio serves the page to this computer, and to nobody else."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qmanet_benco.apps.engines.engines import chosen_device
from qmanet_benco.apps.web.limits import Limits
from qmanet_benco.errors import RequestError, require
from qmanet_benco.model.weights.builder import load_model
from qmanet_benco.model.weights.sources import DEMO
from qmanet_benco.precision import usable

if TYPE_CHECKING:
    from qmanet_benco.model.network import QMANetwork

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""Host names under which a browser on this computer may ask for the page."""
SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ALLOWED_PATHS": "",
    "GRADIO_NUM_WORKERS": "0",
}
"""Gradio's environment variables. It reads some when it is imported, the others when it serves."""


@dataclass
class Server:
    """A running page."""

    url: str
    folder: Path
    """Everything temporary; removed at the end."""


@contextlib.contextmanager
def serving(model: QMANetwork, port: int = 0, limits: Limits | None = None, *, demo: bool = False) -> Iterator[Server]:
    """Serve the page until the block ends; then every temporary file is gone.

    Args:
        model: in eval mode.
        port: 0: the first free one from 7860 on.
        limits: of uploads and of what is kept.
        demo: say that this is the demonstration model.

    Raises:
        RequestError: Gradio is missing, or the port cannot be used.
    """
    if not 0 <= port <= 65535:
        raise RequestError(f"--port {port}", "0 to 65535")
    limits = limits or Limits()
    with _temporary_folder() as folder, _environment(_settings(folder)):
        gradio = require("app", "gradio")
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        from qmanet_benco.apps.web.own_page import OwnPageOnly
        from qmanet_benco.apps.web.page import build_page

        page = build_page(model, folder, limits, demo)
        guards = [Middleware(TrustedHostMiddleware, allowed_hosts=NAMES), Middleware(OwnPageOnly)]
        try:
            _, url, _ = page.launch(
                server_name=HOST,
                server_port=port or None,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                footer_links=[],
                run_history=False,
                blocked_paths=[str(Path.cwd() / ".gradio")],
                max_file_size=limits.bytes,
                enable_monitoring=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                app_kwargs={"middleware": guards},
                # the system's fonts: Gradio's own themes load theirs from another host
                theme=gradio.themes.Base(
                    font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"), text_size="lg"
                ),
                css_paths=Path(__file__).with_name("page.css"),
                js=Path(__file__).with_name("page.js").read_text(encoding="utf-8").strip(),
            )
        except OSError as error:
            raise RequestError(f"{HOST}:{port} cannot be used", "a free port", "--port 0 takes any") from error
        try:
            yield Server(url, folder)
        finally:
            page.close(verbose=False)


def run_page(
    weights: str,
    port: int,
    limits: Limits,
    device: str,
    precision: str,
    allow_pickle: bool,
    say: Callable[[str], None],
) -> None:
    """Load a model and serve the page until Ctrl-C or SIGTERM; ``say`` gets the address once it answers.

    Raises:
        RequestError: Gradio or the weights are missing, or the port cannot be used.
    """
    with _environment(SETTINGS):
        require("app", "gradio")  # before the weights are read
    where = chosen_device(device)
    precision = usable(precision, where)
    model = load_model(weights, where, allow_pickle)
    model.precision = precision
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as after Ctrl-C: the folder is removed
    try:
        with serving(model, port, limits, demo=weights == DEMO) as server, contextlib.suppress(KeyboardInterrupt):
            say(f"{server.url}  (Ctrl-C ends it)")
            threading.Event().wait()
    finally:
        signal.signal(signal.SIGTERM, former)


def _settings(folder: Path) -> dict[str, str]:
    """Gradio's environment: its files in one folder, no analytics, and its own address not through a proxy."""
    direct = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), HOST)))
    folders = {"GRADIO_TEMP_DIR": str(folder), "GRADIO_EXAMPLES_CACHE": str(folder)}
    return {**SETTINGS, **folders, "no_proxy": direct, "NO_PROXY": direct}


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Make a folder that only this user can read; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="qmanet-app-", ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    former = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in former.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
