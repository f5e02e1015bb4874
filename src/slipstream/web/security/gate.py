"""The gate in front of everything: pages, API, files, and NiceGUI's websocket pass it or are refused."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipstream.web.problems import Problem, problem_response
from slipstream.web.security.headers import protect
from slipstream.web.security.origins import OWN_NAMES, foreign_origin, wrong_host
from slipstream.web.security.sessions import Sessions
from slipstream.web.security.throttle import Throttle
from slipstream.web.settings import StudioSettings, is_loopback

LOGIN = "/login"
SOCKET = "/_nicegui_ws/"
"""Where pages speak with the server."""
_POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class Guard:
    """What the gate knows: the token, who is logged in, and how often somebody was wrong."""

    settings: StudioSettings
    sessions: Sessions | None
    throttle: Throttle = field(default_factory=Throttle)

    @property
    def cookie(self) -> str:
        """The session cookie's name; cookies are shared by all ports of a host, so it names the port."""
        return f"slipstream_session_{self.settings.port}"

    def host_names(self) -> frozenset[str] | None:
        """Names under which the studio may be asked for; None: any, where a token protects it."""
        settings = self.settings
        if settings.allowed_hosts or is_loopback(settings.host):
            return frozenset({*OWN_NAMES, settings.host, *(name.lower() for name in settings.allowed_hosts)})
        return None

    def is_token(self, given: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return self.settings.token is not None and hmac.compare_digest(given.encode(), self.settings.token.encode())


def guard_of(settings: StudioSettings) -> Guard:
    """A guard with the sessions that an earlier server left."""
    sessions = None if settings.token is None else Sessions(settings.home / "sessions.json", settings.token)
    return Guard(settings, sessions)


class Gate:
    """ASGI middleware; the outermost, so that nothing is reached around it."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app = app
        self.guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = _refusal(self.guard, scope)
        if scope["type"] == "websocket":
            if refusal is not None:
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
                return
            await self.app(scope, receive, send)
            return
        guarded = _with_headers(send, scope["path"])
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await _limited(self.app, scope, receive, guarded, _most_bytes(self.guard, scope["path"]))


def _with_headers(send: Send, path: str) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            protect(message, path)
        await send(message)

    return send_with_headers


def _refusal(guard: Guard, scope: Scope) -> Response | None:
    """Why a request is refused, as an answer; None where it may pass."""
    headers = Headers(scope=scope)
    is_socket = scope["type"] == "websocket"
    hosts = headers.getlist("host")
    if len(hosts) != 1 or wrong_host(hosts[0], guard.host_names()):
        return _refused(
            403, "this address is not one of the studio's", "Host",
            "open it as http://localhost, or start it with --allow-host NAME behind a proxy.",
        )  # fmt: skip
    speaks = is_socket or scope["path"].startswith(SOCKET)  # where there is no websocket, polling takes its place
    if foreign_origin(scope.get("method", "GET"), headers, websocket=speaks):
        return _refused(403, "another site's page sent this request", "Origin", "do it in the studio itself.")
    if guard.settings.token is None or (scope["path"] == LOGIN and not is_socket):
        return None
    return _stranger(guard, scope, headers)


def _stranger(guard: Guard, scope: Scope, headers: Headers) -> Response | None:
    """None for somebody who is logged in or brings the token, else the answer that asks for it."""
    assert guard.sessions is not None
    name = _cookie(headers, guard.cookie)
    if name is not None and guard.sessions.is_open(name):
        return None
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return _with_token(guard, given.strip(), client_of(scope))
    wants_page = scope.get("method") == "GET" and "text/html" in headers.get("accept", "")
    if wants_page and scope["type"] == "http":
        target = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
        return RedirectResponse(f"{LOGIN}?next={quote(target, safe='')}", 303)
    return _refused(
        401, "nobody is logged in", "Authorization", "send `Authorization: Bearer TOKEN`, or log in at /login.",
        {"WWW-Authenticate": "Bearer"},
    )  # fmt: skip


def _with_token(guard: Guard, given: str, client: str) -> Response | None:
    wait = guard.throttle.seconds_to_wait(client)
    if wait:
        return too_often(wait)
    if guard.is_token(given):
        return None
    guard.throttle.failed(client)
    return _refused(401, "this is not the studio's token", "Authorization", "see the file `token` in its --home.")


def too_often(seconds: int) -> Response:
    """Somebody was wrong too often."""
    fix = f"wait {seconds} s."
    return _refused(429, "too many wrong tokens", "token", fix, {"Retry-After": str(seconds)})


def _refused(
    status: int, message: str, where: str, fix: str, headers: dict[str, str] | None = None
) -> Response:  # fmt: skip
    return problem_response(Problem(status=status, message=message, where=where, fix=fix), headers)


def client_of(scope: Scope) -> str:
    """Who asks: the address at the other end."""
    client = scope.get("client")
    return str(client[0]) if client else "?"


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if found is None else found.value


def _most_bytes(guard: Guard, path: str) -> int:
    """How large the body of a request may be."""
    limits = guard.settings.limits
    is_upload = path.startswith("/api/datasets/") and path.endswith("/files")
    return limits.upload_bytes if is_upload or path.startswith("/_nicegui/client/") else limits.body_bytes


class _TooLargeError(Exception):
    """More came than may come."""


async def _limited(app: ASGIApp, scope: Scope, receive: Receive, send: Send, most: int) -> None:
    """Run the app and stop reading when the body gets larger than `most` bytes, whatever its header says."""
    answer = _refused(
        413, f"the request is larger than {most // 1024**2} MiB", "body", "send fewer files at a time."
    )  # fmt: skip
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdigit() or int(length) > most:
        await answer(scope, receive, send)
        return
    seen, answered = 0, False

    async def receive_some() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b"")) if message["type"] == "http.request" else 0
        if seen > most:
            raise _TooLargeError
        return message

    async def send_unless_too_large(message: Message) -> None:
        # the app may have turned the exception into an answer of its own: too large is what the sender should know
        nonlocal answered
        if seen <= most:
            answered = True
            await send(message)
        elif not answered:
            answered = True
            await answer(scope, receive, send)

    try:
        await app(scope, receive_some, send_unless_too_large)
    except _TooLargeError:
        if not answered:
            await answer(scope, receive, send)
