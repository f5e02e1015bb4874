"""The app: routes, pages, and the gate in front of both."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

import slipstream
from slipstream.web.api import ROUTERS
from slipstream.web.problems import PROBLEM_ANSWERS, Problem, add_problem_handlers
from slipstream.web.security.gate import Gate, guard_of
from slipstream.web.security.login import login_router
from slipstream.web.security.secrets import make_private
from slipstream.web.settings import StudioSettings
from slipstream.web.studio import make_studio

STATIC = Path(__file__).parent / "static"
_ABOUT = """Everything that the studio's pages do. Errors are problems: `{status, message, where, fix}`.

Where a token is set, send `Authorization: Bearer TOKEN`."""


def make_app(settings: StudioSettings, *, pages: bool = True) -> FastAPI:
    """A studio's app. NiceGUI has one app per process, so a process makes one with pages; without, any number.

    Raises:
        RunError: a folder cannot be made.
    """
    make_private(settings.home)
    app = FastAPI(
        title="Slipstream studio", version=slipstream.__version__, description=_ABOUT,
        openapi_url="/api/openapi.json", docs_url=None, redoc_url=None, responses=PROBLEM_ANSWERS,
    )  # fmt: skip
    app.state.studio = make_studio(settings)
    guard = guard_of(settings)
    app.add_middleware(Gate, guard=guard)
    add_problem_handlers(app)
    app.include_router(login_router(guard))
    for router in ROUTERS:
        app.include_router(router)
    _describe_problems(app)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    if pages:
        from slipstream.web.mount import mount_pages

        mount_pages(app, app.state.studio)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Put the shape of a problem into the OpenAPI document, where every route refers to it."""
    make = app.openapi

    def described() -> dict:
        document = make()
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document.setdefault("components", {}).setdefault("schemas", {}).setdefault("Problem", schema)
        return document

    app.openapi = described  # type: ignore[method-assign]
