"""Errors as problem JSON: `{status, message, where, fix}` with the type `application/problem+json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from slipstream.config.errors import SettingsError
from slipstream.core.errors import DiskFullError, JobError, SlipstreamError, UnknownJobError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong, where, and what to do about it."""

    status: int
    """The HTTP status."""

    message: str
    """What was got and what was expected."""

    where: str | None = None
    """The file, setting or parameter concerned."""

    fix: str | None = None
    """What to do about it."""


class RefusedError(SlipstreamError):
    """A request that is not done, with its HTTP status."""

    def __init__(self, status: int, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(message, where=where, fix=fix)
        self.status = status


def missing(what: str, *, where: str | None = None, fix: str = "look at the list.") -> RefusedError:
    """There is no such thing (404)."""
    return RefusedError(404, f"there is no {what}", where=where, fix=fix)


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer that tells a problem."""
    return JSONResponse(problem.model_dump(), problem.status, headers, media_type=MEDIA_TYPE)


PROBLEM_ANSWERS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong, where, and what to do about it.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""
    app.add_exception_handler(SlipstreamError, _on_slipstream_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_fault)


def status_of(error: SlipstreamError) -> int:
    """The HTTP status of an error: 404 nothing of this name, 409 not in this state, 507 a full disk, else 422."""
    if isinstance(error, RefusedError):
        return error.status
    statuses = {UnknownJobError: 404, DiskFullError: 507, JobError: 409}
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), 422)


async def _on_slipstream_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SlipstreamError)
    fix = error.fix
    if fix is None and isinstance(error, SettingsError):
        fix = f"see what {error.problems[0].path} takes: GET /api/config/schema."
    return problem_response(Problem(status=status_of(error), message=error.message, where=error.where, fix=fix))


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0] if error.errors() else {}
    message = _sentence(first)
    more = len(error.errors()) - 1
    if more > 0:
        message += f" (and {more} more)"
    fix = "see /api/docs for what this address takes."
    return problem_response(Problem(status=422, message=message, where=_place(first.get("loc", ())), fix=fix))


def _sentence(finding: Any) -> str:
    return str(finding.get("msg", "the request cannot be read"))


def _place(location: Sequence[Any]) -> str | None:
    return ".".join(str(part) for part in location) or None


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    fixes = {404: "see /api/docs for the addresses there are.", 405: "see /docs for what may be done at this address."}
    problem = Problem(
        status=error.status_code, message=str(error.detail), where=request.url.path, fix=fixes.get(error.status_code)
    )
    return problem_response(problem, dict(error.headers or {}))


async def _on_fault(request: Request, error: Exception) -> JSONResponse:
    """A database that is away for a moment, or a mistake of ours; the server's log has the traceback, the answer has
    nothing of it."""
    from slipstream.jobs.database import is_passing  # where nothing fails nothing waits for it

    if is_passing(error):
        fix = "try again in a moment; if it stays so, see whether another program holds the queue's database."
        message = "the queue's database does not answer at the moment"
        problem = Problem(status=503, message=message, where=request.url.path, fix=fix)
        return problem_response(problem, {"Retry-After": "5"})
    fix = "this is a fault of slipstream; what the server printed in its terminal says more."
    message = f"the studio failed here ({type(error).__name__})"
    return problem_response(Problem(status=500, message=message, where=request.url.path, fix=fix))
