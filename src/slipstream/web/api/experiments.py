"""Experiments: arms by seeds, how their runs stand, and what their comparison says."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse, HTMLResponse

from slipstream.web.api.run_report import REPORT_POLICY
from slipstream.web.services.experiments import (
    ExperimentDetail,
    ExperimentSummary,
    describe,
    find_experiment,
    fresh_report,
    list_summaries,
)
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/experiments", tags=["experiments"])

Name = Annotated[str, Path(max_length=120, description="The experiment's name, which is its folder's.")]


@router.get("")
def experiments(studio: StudioOfRequest) -> list[ExperimentSummary]:
    """All experiments, the newest first."""
    return list_summaries(studio.settings)


@router.get("/{name}")
def experiment(name: Name, studio: StudioOfRequest) -> ExperimentDetail:
    """An experiment's runs, and what their comparison says so far."""
    return describe(studio.settings, find_experiment(studio.settings, name))


@router.get("/{name}/report", response_class=HTMLResponse)
def report(name: Name, studio: StudioOfRequest) -> Response:
    """The experiment's report, a page that can be kept; written anew where a run went on since."""
    path = fresh_report(studio.settings, find_experiment(studio.settings, name))
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})
