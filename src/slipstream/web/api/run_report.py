"""The report of a run: a page of its own, whose scripts reach nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse, HTMLResponse

from slipstream.web.problems import missing
from slipstream.web.services.runs import find_run
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/runs", tags=["runs"])

REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "sandbox allow-scripts; frame-ancestors 'none'"
)
"""It holds its pictures and its script within itself; sandboxed, it is no page of the studio's origin."""


@router.get("/{name}/report", response_class=HTMLResponse)
def report(
    name: Annotated[str, Path(max_length=120, description="The run's name, which is its folder's.")],
    studio: StudioOfRequest,
) -> Response:
    """The run's report, a page that can be kept."""
    run = find_run(studio.settings.runs_dir, name)
    if run.report.is_symlink() or not run.report.is_file():
        raise missing("report yet", where=name, fix="it is written when a run ends or stops.")
    return FileResponse(run.report, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})
