"""An address without a page: said in the studio's own frame, with the way on."""

from __future__ import annotations

from fastapi.exception_handlers import http_exception_handler
from nicegui import Client, ui
from nicegui import app as nicegui_app
from nicegui.page import page
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from slipstream.web.parts.cards import empty_state
from slipstream.web.parts.frame import frame
from slipstream.web.parts.say import say
from slipstream.web.studio import Studio


def register_missing(studio: Studio) -> None:
    """Answer addresses that nobody has with a page; files and what pages ask for get a plain 404."""

    @nicegui_app.exception_handler(404)
    async def no_such_page(request: Request, error: Exception) -> Response:
        endpoint = request.scope.get("endpoint")
        if endpoint not in (None, nicegui_app) and isinstance(error, HTTPException):
            return await http_exception_handler(request, error)
        with Client(page(""), request=request) as client:
            show_missing(studio)
        return client.build_response(request, 404)


def show_missing(studio: Studio) -> None:
    """What stands on the page."""
    with frame(studio, "missing"), empty_state("search_off", say("nav.missing_title"), say("nav.missing_text")):
        ui.button(say("nav.dashboard"), on_click=lambda: ui.navigate.to("/")).props("unelevated no-caps")
