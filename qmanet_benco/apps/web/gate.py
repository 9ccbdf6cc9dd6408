"""The door of the web page: what passes on to Gradio, what is answered here, and what is refused.

Gradio's server does much that this page needs not: it serves files by their path on the server, fetches URLs, describes
its functions to programs, and answers uploads with a path. The gate lets through a list of routes and nothing else. It
takes uploads itself and answers with a random name; it serves results itself, each only to the browser that sent the
photo (a cookie that the page's scripts cannot read).
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from qmanet_benco.apps.web.limits import Limits
from qmanet_benco.apps.web.store import UPLOAD, Slot, Store
from qmanet_benco.apps.web.views import mask_at

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

COOKIE = "qmanet"
API = "/gradio_api"
OPEN = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static)/.+|{API}/startup-events"
    rf"|{API}/queue/(join|data)|{API}/heartbeat/[\w-]+|{API}/(cancel|reset)/?"
)
"""Paths that Gradio answers."""
PAGED = re.compile(rf"{API}/(queue/|heartbeat/|cancel|reset)")
"""Of these the ones that belong to one open page."""
SMALL_BODY = 64 * 1024
"""Bytes of a request that is no upload."""
ENVELOPE = 64 * 1024
"""Bytes that a form adds to the file in it."""
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""The browser refuses whatever would come from another host. Gradio needs inline scripts and ``new Function``."""
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
}
FOREIGN = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>|https://github\.com/gradio-app/[^"\s]*')
"""Gradio's tags for social media and its example file: addresses of other hosts, of no use here."""


class TooLargeError(Exception):
    """A request's body is larger than what its route takes."""


class RefusedError(Exception):
    """A request that this browser may not make; the text is for its reader."""


class Gate:
    """An ASGI application around Gradio's.

    Args:
        inner: Gradio's application.
        store: uploads and results.
        limits: of uploads.
        hosts: names in the ``Host`` header that are answered; None: any. A page of another site whose name was made
            to point to 127.0.0.1 gets nothing.
    """

    def __init__(self, inner: ASGIApp, store: Store, limits: Limits, hosts: frozenset[str] | None) -> None:
        self.inner = inner
        self.store = store
        self.limits = limits
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await self.inner(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        from starlette.requests import Request

        request = Request(scope, receive)
        owner = request.cookies.get(COOKIE) or secrets.token_urlsafe(24)
        outgoing = _with_headers(send, owner, new=COOKIE not in request.cookies)
        try:
            answer = self._refusal(request) or await self._own(request, owner)
            if answer is None:
                body = await self._checked_body(request, owner)
                await self._pass_on(request, body, outgoing)
                return
        except TooLargeError:
            answer = _line(413, str(self.limits.too_large()))
            answer.headers["Connection"] = "close"  # the rest of the body is not listened to
        except RefusedError as error:
            answer = _line(403, str(error))
        except Exception:
            logger.exception("a request failed")
            answer = _line(500, "The server has a problem with this request.")
        await answer(scope, receive, outgoing)

    def _refusal(self, request: Request) -> Response | None:
        """Wrong host, a form of another site, or a path that is not on the list."""
        host = request.headers.get("host", "")
        if self.hosts is not None and _name_in(f"//{host}") not in self.hosts:
            return _line(421, "This server does not answer to that name.")
        origin = request.headers.get("origin")
        if origin and not _is_from(origin, host):
            return _line(403, "Requests from other sites are refused.")
        path = request.url.path
        own = path.startswith("/result/") or path in (f"{API}/upload", f"{API}/upload_progress")
        if ".." in request.scope["path"] or not (own or OPEN.fullmatch(path)):
            return _line(404, "There is nothing here.")
        return None

    async def _own(self, request: Request, owner: str) -> Response | None:
        """The answer to uploads and to requests for results."""
        from starlette.responses import Response

        path = request.url.path
        if path == f"{API}/upload":
            return await self._upload(request, owner)
        if path == f"{API}/upload_progress":
            return Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")
        if path.startswith("/result/"):
            return await self._result(request, owner)
        return None

    async def _upload(self, request: Request, owner: str) -> Response:
        """Keep one file; the answer is the name under which its sender, and nobody else, can have it analysed."""
        from starlette.concurrency import run_in_threadpool
        from starlette.datastructures import UploadFile
        from starlette.requests import Request
        from starlette.responses import JSONResponse

        if request.method != "POST":
            return _line(405, "Send a photo with POST.")
        bounded = Request(request.scope, _bounded(request, self.limits.bytes + ENVELOPE))
        try:
            form = await bounded.form(max_files=1, max_fields=8)
        except TooLargeError:
            raise
        except Exception:  # whatever a broken form provokes
            return _line(400, "The upload is damaged; send one file.")
        try:
            sent = form.get("files")
            if not isinstance(sent, UploadFile):
                return _line(400, "The upload holds no file.")
            if (sent.size or 0) > self.limits.bytes:
                raise TooLargeError
            slot = await run_in_threadpool(self._keep, sent.file, owner, sent.filename or "")
        finally:
            await form.close()
        return JSONResponse([f"{slot.token}/{UPLOAD}"])

    def _keep(self, stream: Any, owner: str, name: str) -> Slot:
        import shutil

        slot = self.store.new(owner, name)
        try:
            with slot.upload.open("wb") as target:
                shutil.copyfileobj(stream, target)
        except BaseException:
            self.store.forget(slot)
            raise
        slot.busy = False
        return slot

    async def _result(self, request: Request, owner: str) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import Response

        _, _, token, name = [*request.url.path.split("/", 3), "", "", ""][:4]
        slot = self.store.get(token, owner)
        try:
            if slot and name == "mask.png" and "probability.png" in slot.files:
                threshold = _threshold(request.url.query)
                content = await run_in_threadpool(_mask, slot, threshold)
            elif slot and name in slot.files:
                content = await run_in_threadpool((slot.folder / name).read_bytes)
            else:
                return _line(404, "There is nothing here.")
        except FileNotFoundError:  # removed in between
            return _line(404, "There is nothing here.")
        media_type = slot.files.get(name, "image/png")
        return Response(content, media_type=media_type, headers={"Cache-Control": "private, no-store"})

    async def _checked_body(self, request: Request, owner: str) -> bytes | None:
        """The body for Gradio: bounded, of the browser's own page, random names in it turned into paths."""
        page = parse_qs(request.url.query).get("session_hash", [""])[0]
        if request.url.path.startswith(f"{API}/heartbeat/"):
            page = request.url.path.rsplit("/", 1)[1]
        body = None
        if request.method not in ("GET", "HEAD"):
            receive = _bounded(request, SMALL_BODY)
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            try:
                data = json.loads(body or b"{}")
            except (ValueError, RecursionError):
                raise RefusedError("The request is damaged.") from None
            if isinstance(data, dict):
                page = str(data.get("session_hash") or "")
            body = json.dumps(self._with_paths(data, owner)).encode()
        if PAGED.match(request.url.path) and not (page and self.store.claim_page(page, owner)):
            raise RefusedError("This page belongs to somebody else.")
        return body

    def _with_paths(self, data: Any, owner: str) -> Any:
        """The same data with the path of the uploaded file in place of its name; any other path is refused."""
        if isinstance(data, list):
            return [self._with_paths(each, owner) for each in data]
        if not isinstance(data, dict):
            return data
        inner = {key: self._with_paths(value, owner) for key, value in data.items()}
        if "path" in inner:
            token, _, name = str(inner["path"]).partition("/")
            slot = self.store.get(token, owner) if name == UPLOAD else None
            if slot is None:
                raise RefusedError("The upload is gone; send the photo again.")
            inner = {**inner, "path": str(slot.upload), "url": None}
        return inner

    async def _pass_on(self, request: Request, body: bytes | None, send: Send) -> None:
        scope = request.scope
        if request.url.path == "/":  # plain, so that it can be edited
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]}
            send = _without_foreign(send)
        if body is None:
            await self.inner(scope, request.receive, send)
            return
        headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
        scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        await self.inner(scope, _replayed(body, request.receive), send)


def _bounded(request: Request, most: int) -> Receive:
    """The request's body, until it is larger than ``most`` bytes."""
    taken = 0
    announced = request.headers.get("content-length", "0")

    async def receive() -> Message:
        nonlocal taken
        if not announced.isdecimal() or int(announced) > most:
            raise TooLargeError
        message = await request.receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise TooLargeError
        return message

    return receive


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send, owner: str, new: bool) -> Send:
    """Our headers on every answer; the cookie on the first."""

    async def outgoing(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in (*HEADERS, b"server")]
            cookie = (b"set-cookie", f"{COOKIE}={owner}; Path=/; HttpOnly; SameSite=Strict".encode())
            message = {**message, "headers": [*kept, *HEADERS.items(), *([cookie] if new else [])]}
        await send(message)

    return outgoing


def _without_foreign(send: Send) -> Send:
    """The first page without :data:`FOREIGN`."""
    start: Message = {}
    parts: list[bytes] = []

    async def outgoing(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        parts.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = FOREIGN.sub(b"", b"".join(parts))
        headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    return outgoing


def _name_in(address: str) -> str:
    """The host's name; empty where the address is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_from(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False


def _threshold(query: str) -> float:
    try:
        return min(1.0, max(0.0, float(parse_qs(query).get("threshold", ["0.5"])[0])))
    except ValueError:
        return 0.5


def _mask(slot: Slot, threshold: float) -> bytes:
    return mask_at((slot.folder / "probability.png").read_bytes(), threshold)


def _line(status: int, text: str) -> Response:
    """One line; as JSON with ``detail``, which is what Gradio's own page shows."""
    from starlette.responses import JSONResponse

    return JSONResponse({"detail": text}, status_code=status)


__all__ = ["Gate"]
