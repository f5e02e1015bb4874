"""Whether a request comes from the studio's own pages: the Host header (DNS rebinding) and the Origin header (CSRF)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def host_name(header: str) -> str | None:
    """The name in a Host header without its port, in small letters; None where it is none."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    if parts.hostname is None or parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return parts.hostname.rstrip(".")


def wrong_host(header: str, names: frozenset[str] | None) -> bool:
    """Whether a request asks for another name than the studio's; `names` None: any name will do."""
    name = host_name(header)
    return name is None or (names is not None and name not in names)


def foreign_origin(method: str, headers: Mapping[str, str], *, websocket: bool = False) -> bool:
    """Whether another site's page sent this request, and it could change something.

    Browsers send Sec-Fetch-Site with every request and Origin with every one that changes something or opens a
    websocket; programs send neither, and carry no cookie that a site could misuse.
    """
    if method in SAFE_METHODS and not websocket:
        return False
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and not _same(origin, headers.get("host", ""))


def _same(origin: str, host: str) -> bool:
    """Whether an origin is at the address asked for; the scheme may differ, behind a proxy that ends TLS."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _PORTS.get(parts.scheme)
        asked = urlsplit(f"//{host}")
        asked_port = asked.port or _PORTS.get(parts.scheme)
    except ValueError:
        return False
    return parts.hostname is not None and (parts.hostname, port) == (asked.hostname, asked_port)
