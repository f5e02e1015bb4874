"""Headers on every answer: what a browser may do with it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import Message


def page_policy(scripts: str) -> str:
    """What a page may load and run: only from the studio itself. `scripts` names inline scripts that may run too."""
    return "; ".join(
        (
            "default-src 'self'",
            # NiceGUI evaluates handlers that arrive over its websocket
            f"script-src 'self' 'unsafe-eval' {scripts}".rstrip(),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


PAGE_POLICY = page_policy("")
DOCS = "/api/docs"
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
"""For answers that are no pages: even an HTML file among them could run nothing."""

_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def protect(message: Message, path: str) -> None:
    """Add the headers that the start of an answer from this path lacks, and take away what lets other sites read it."""
    # NiceGUI's socket lets every site read its answers; none has any business here
    kept = [(name, value) for name, value in message["headers"] if not name.lower().startswith(b"access-control-")]
    message["headers"] = kept
    headers = MutableHeaders(raw=kept)
    for name, value in _COMMON.items():
        headers.setdefault(name, value)
    is_file = path.startswith("/api/") and path != DOCS
    headers.setdefault("Content-Security-Policy", FILE_POLICY if is_file else PAGE_POLICY)
    if is_file:
        headers.setdefault("Cache-Control", "no-store")
