"""``qmanet app``: a web page on this computer, for one photo at a time. Gradio draws it, the gate guards it.

Sources: Gradio 6 (https://www.gradio.app/docs), mounted in a server of our own: its ``launch`` prints, asks its own
address over HTTP, and can open tunnels.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qmanet_benco.apps.web.limits import Limits
from qmanet_benco.apps.web.store import Store
from qmanet_benco.errors import RequestError

if TYPE_CHECKING:
    from qmanet_benco.model.network import QMANetwork

logger = logging.getLogger(__name__)

ASSETS = Path(__file__).parent
START_SECONDS, STOP_SECONDS = 60.0, 5
MOST_CONNECTIONS = 512
TIDY_SECONDS = 60.0
SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_MCP_SERVER": "False",
}
"""Read by Gradio when it is imported or asked."""


@dataclass(frozen=True)
class Address:
    """Where the page is served.

    Args:
        host: a name or an address of this machine.
        port: 0: any free one.
        public: let other machines in.

    Raises:
        RequestError: other machines could reach it and ``public`` was not asked for, or the port makes no sense.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    public: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise RequestError(f"--port {self.port}", "0 to 65535")
        if not self.is_local and not self.public:
            raise RequestError(
                f"--host {self.host} lets other machines in", "127.0.0.1", "add --public if that is what you want"
            )

    @property
    def is_local(self) -> bool:
        """Only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def names(self) -> frozenset[str] | None:
        """Names that a browser may use for this server; None: any."""
        return frozenset({"127.0.0.1", "localhost", "::1", self.host}) if self.is_local else None


@dataclass
class Server:
    """A running page."""

    url: str
    folder: Path
    """Everything temporary; removed at the end."""
    store: Store
    _stopped: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Until the server ends."""
        self._stopped.wait()


@contextlib.contextmanager
def serving(
    model: QMANetwork, address: Address | None = None, limits: Limits | None = None, *, demo: bool = False
) -> Iterator[Server]:
    """Serve the page in a thread until the block ends; then every temporary file is gone.

    Args:
        model: in eval mode.
        address: by default 127.0.0.1.
        limits: of uploads and of what is kept.
        demo: say that this is the demonstration model.

    Raises:
        RequestError: Gradio is missing, or the address is taken.
    """
    address, limits = address or Address(port=0), limits or Limits()
    with _folder() as folder, _environment({**SETTINGS, "GRADIO_TEMP_DIR": str(folder)}):
        _require_gradio()
        store = Store(folder, limits)
        with _bound(address) as listener:
            app = _application(model, store, limits, address, demo)
            port = listener.getsockname()[1]
            host = f"[{address.host}]" if ":" in address.host else address.host
            server = Server(f"http://{host}:{port}/", folder, store)
            with _running(app, listener, server), _tidied(store):
                yield server


@contextlib.contextmanager
def _tidied(store: Store, seconds: float = TIDY_SECONDS) -> Iterator[None]:
    """Remove what is too old also while nobody asks for anything."""
    over = threading.Event()

    def tidy() -> None:
        while not over.wait(seconds):
            store.tidy()

    thread = threading.Thread(target=tidy, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _application(model: QMANetwork, store: Store, limits: Limits, address: Address, demo: bool) -> Any:
    """Gradio's application behind the gate."""
    import gradio
    from fastapi import FastAPI

    from qmanet_benco.apps.web.gate import Gate
    from qmanet_benco.apps.web.page import build_page

    page = build_page(model, store, limits, demo)
    page.state_session_capacity = 256
    system = ("system-ui", "sans-serif")
    theme = gradio.themes.Base(font=system, font_mono=("ui-monospace", "monospace"), text_size="lg")
    app = gradio.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        allowed_paths=[],
        max_file_size=limits.bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme,
        css=(ASSETS / "page.css").read_text("utf-8"),
        head=f"<script>{(ASSETS / 'page.js').read_text('utf-8')}</script>",
    )
    return Gate(app, store, limits, address.names())


@contextlib.contextmanager
def _running(app: Any, listener: socket.socket, server: Server) -> Iterator[None]:
    """Uvicorn in a thread."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    running = uvicorn.Server(config)

    def run() -> None:
        try:
            running.run([listener])
        finally:
            server._stopped.set()

    thread = threading.Thread(target=run, name="qmanet-app", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not running.started:
            if server._stopped.is_set() or time.monotonic() > deadline:
                raise RequestError("the page's server did not start", cure="run it again with --debug")
            time.sleep(0.02)
        yield
    finally:
        running.should_exit = True
        thread.join(STOP_SECONDS + 10)


@contextlib.contextmanager
def _bound(address: Address) -> Iterator[socket.socket]:
    """A listening socket: the port is known, and taken, before anything is loaded."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address.host, address.port))
        except OSError as error:
            raise RequestError(
                f"{address.host}:{address.port} cannot be used ({error.strerror or error})",
                "a free port of this machine",
                "--port 0 takes any",
            ) from error
        listener.listen(128)
        yield listener


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that only this user can read; gone at the end."""
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


def _require_gradio() -> None:
    try:
        import gradio
    except ImportError as error:
        raise RequestError(
            f"the web page needs Gradio ({error})", "the extra [app]", 'pip install "qmanet-benco[app]"'
        ) from error
    logger.debug("Gradio %s", gradio.__version__)


def run_page(
    weights: str, address: Address, limits: Limits, device: str, allow_pickle: bool, say: Callable[[str], None]
) -> None:
    """Load a model and serve the page until Ctrl-C or SIGTERM; ``say`` gets the address once it answers.

    Raises:
        RequestError: Gradio or the weights are missing, or the address cannot be used.
    """
    _require_gradio()
    from qmanet_benco.apps.engines.engines import chosen_device
    from qmanet_benco.model.weights.builder import load_model
    from qmanet_benco.model.weights.sources import DEMO

    model = load_model(weights, chosen_device(device), allow_pickle)
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with serving(model, address, limits, demo=weights == DEMO) as server, contextlib.suppress(KeyboardInterrupt):
            say(f"{server.url}  (Ctrl-C ends it)")
            server.wait()
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(*_: object) -> None:
    """Kill politely asked for: end as after Ctrl-C, so that the temporary folder is removed."""
    raise KeyboardInterrupt
