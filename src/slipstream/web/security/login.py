"""Logging in and out: a plain form that needs nothing else of the studio, and a cookie."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from slipstream.web.language.words import preferred, say_in
from slipstream.web.security.gate import LOGIN, Guard, client_of, too_often
from slipstream.web.security.sessions import LIFETIME_SECONDS

_SCRIPT = """
const field = document.querySelector('input[name=token]');
const given = new URLSearchParams(location.hash.slice(1)).get('token');
if (given) { history.replaceState(null, '', location.pathname + location.search); field.value = given;
  document.querySelector('form').requestSubmit(); } else { field.focus(); }
"""
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { min-height: 100vh; margin: 0; display: grid; place-items: center; background: light-dark(#f4f5f7, #14161a); }
main { width: min(22rem, calc(100vw - 3rem)); padding: 2rem; border-radius: 14px;
  background: light-dark(#fff, #1d2026); box-shadow: 0 1px 3px #0002, 0 8px 24px #0001; }
h1 { margin: 0 0 .25rem; font-size: 1.35rem; } p { margin: 0 0 1.25rem; color: light-dark(#5b6370, #a2a9b5); }
label { display: block; font-size: .85rem; margin-bottom: .35rem; }
input { box-sizing: border-box; width: 100%; font: inherit; padding: .6rem .75rem; border-radius: 8px;
  border: 1px solid light-dark(#c9ced6, #3a404a); background: transparent; color: inherit; }
button { width: 100%; margin-top: 1rem; font: inherit; font-weight: 600; padding: .65rem; border: 0;
  border-radius: 8px; background: #3457d5; color: #fff; cursor: pointer; }
.wrong { color: light-dark(#b3261e, #ffb4ab); }
"""
_PAGE = """<!doctype html><html lang="{language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>{style}</style></head>
<body><main><h1>{title}</h1><p{mark}>{text}</p>
<form method="post" action="{action}"><input type="hidden" name="next" value="{target}">
<label for="token">{label}</label>
<input id="token" name="token" type="password" autocomplete="current-password" required>
<button>{button}</button></form></main><script>{script}</script></body></html>"""


def login_router(guard: Guard) -> APIRouter:
    """The log-in page, logging in and logging out."""
    router = APIRouter(include_in_schema=False)

    @router.get(LOGIN, response_class=HTMLResponse)
    def login_page(request: Request, next: str = "/") -> Response:
        return _page(request, next)

    @router.post(LOGIN)
    def log_in(request: Request, token: Annotated[str, Form()], next: Annotated[str, Form()] = "/") -> Response:
        return _log_in(guard, request, token, next)

    @router.post("/logout")
    def log_out(request: Request) -> Response:
        if guard.sessions is not None:
            guard.sessions.close(request.cookies.get(guard.cookie, ""))
        answer = RedirectResponse(LOGIN, 303)
        answer.delete_cookie(guard.cookie, httponly=True, samesite="strict")
        return answer

    return router


def _log_in(guard: Guard, request: Request, token: str, target: str) -> Response:
    client = client_of(request.scope)
    if wait := guard.throttle.seconds_to_wait(client):
        return too_often(wait)
    if guard.sessions is None:
        return RedirectResponse(local_target(target), 303)
    if not guard.is_token(token.strip()):
        guard.throttle.failed(client)
        return _page(request, target, wrong=True)
    answer = RedirectResponse(local_target(target), 303)
    is_secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    answer.set_cookie(
        guard.cookie, guard.sessions.open(), max_age=LIFETIME_SECONDS, httponly=True, samesite="strict",
        secure=is_secure,
    )  # fmt: skip
    return answer


def local_target(target: str) -> str:
    """Where to go after logging in: a page of the studio, never another site."""
    return target if target.startswith("/") and target[1:2] not in ("/", "\\") and target.isprintable() else "/"


def _page(request: Request, target: str, *, wrong: bool = False) -> HTMLResponse:
    language = preferred(request.headers.get("accept-language", ""))

    def say(key: str) -> str:
        return escape(say_in(language, key))

    html = _PAGE.format(
        language=language, title=say("login.title"), text=say("login.wrong" if wrong else "login.text"),
        mark=' class="wrong" role="alert"' if wrong else "", label=say("login.token"), button=say("login.button"),
        action=LOGIN, target=escape(local_target(target)), style=_STYLE, script=_SCRIPT,
    )  # fmt: skip
    policy = (
        f"default-src 'none'; style-src {_source(_STYLE)}; script-src {_source(_SCRIPT)}; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(html, 401 if wrong else 200, headers)


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
