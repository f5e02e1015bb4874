"""Scripts of pages: only those that the server wrote into the page run, each marked with a number used once."""

from __future__ import annotations

import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipstream.web.security.headers import page_policy

_SCRIPT = b"<script"


class Nonces:
    """ASGI middleware around NiceGUI's pages. What people wrote is escaped in them, so that no `<script` is theirs;
    one that gets into a page in a browser lacks the number and does not run."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Mark the scripts of a page; everything else passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def send_marked(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_page(send, start, bytes(body))

        await self.app(scope, receive, send_marked)


def _is_page(message: Message) -> bool:
    headers = MutableHeaders(raw=message["headers"])
    return headers.get("x-nicegui-content") == "page" and headers.get("content-type", "").startswith("text/html")


async def _send_page(send: Send, start: Message, html: bytes) -> None:
    nonce = secrets.token_urlsafe(16)
    marked = html.replace(_SCRIPT, f'<script nonce="{nonce}"'.encode())
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["Content-Length"] = str(len(marked))
    headers["Content-Security-Policy"] = page_policy(f"'nonce-{nonce}'")
    await send({**start, "headers": headers.raw})
    await send({"type": "http.response.body", "body": marked})
