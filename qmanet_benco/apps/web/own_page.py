"""Lets only the page itself talk to its server, and lets the page load nothing from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""The browser refuses whatever would come from another host. Gradio needs inline scripts and ``new Function``."""


class OwnPageOnly:
    """Refuse requests that other sites make a browser send to this server, above all uploads, which fill the disk.

    Browsers say where a request comes from (``Origin``; ``Sec-Fetch-Site`` of Fetch Metadata, W3C). The first page may
    be opened by a link. Every answer carries :data:`POLICY`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request of the own page on to the application."""

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["content-security-policy"] = POLICY
            await send(message)

        if scope["type"] == "http":
            asked = HTTPConnection(scope)
            origin = asked.headers.get("origin", "")
            foreign = origin and origin != f"http://{asked.headers.get('host', '')}"
            crossing = asked.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
            if foreign or (crossing and asked.url.path != "/"):
                await PlainTextResponse("Requests from other sites are refused.", 403)(scope, receive, send)
                return
        await self.app(scope, receive, with_policy)
