"""The pages that a run's folder holds, its report and its ranking: their scripts reach nothing. And the ranking."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse, HTMLResponse

from slipstream.web.problems import missing
from slipstream.web.services.ranking_jobs import RankingLook, look_at_ranking, start_ranking
from slipstream.web.services.runs import find_run
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/runs", tags=["runs"])

REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "sandbox allow-scripts; frame-ancestors 'none'"
)
"""It holds its pictures and its script within itself; sandboxed, it is no page of the studio's origin."""


Name = Annotated[str, Path(max_length=120, description="The run's name, which is its folder's.")]


@router.get("/{name}/report", response_class=HTMLResponse)
def report(name: Name, studio: StudioOfRequest) -> Response:
    """The run's report, a page that can be kept."""
    run = find_run(studio.settings.runs_dir, name)
    if run.report.is_symlink() or not run.report.is_file():
        raise missing("report yet", where=name, fix="it is written when a run ends or stops.")
    return FileResponse(run.report, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/{name}/ranking")
def ranking(name: Name, studio: StudioOfRequest) -> RankingLook:
    """Which checkpoint to take, as far as that was measured, and the job that measures it."""
    return look_at_ranking(studio.settings, find_run(studio.settings.runs_dir, name))


@router.post("/{name}/ranking", status_code=202)
def rank(name: Name, studio: StudioOfRequest) -> RankingLook:
    """Put a ranking of the run's checkpoints into the queue."""
    return start_ranking(studio.settings, find_run(studio.settings.runs_dir, name))


@router.get("/{name}/ranking/page", response_class=HTMLResponse)
def ranking_page(name: Name, studio: StudioOfRequest) -> Response:
    """The ranking with its pictures, a page that can be kept."""
    run = find_run(studio.settings.runs_dir, name)
    if run.ranking_page.is_symlink() or not run.ranking_page.is_file():
        raise missing("ranking yet", where=name, fix="rank the run's checkpoints first.")
    return FileResponse(run.ranking_page, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})
