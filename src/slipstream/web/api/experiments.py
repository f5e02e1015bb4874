"""Experiments: arms by seeds, how their runs stand, and what their comparison says."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from slipstream.web.api.run_report import REPORT_POLICY
from slipstream.web.services.experiments import (
    ExperimentDetail,
    ExperimentSummary,
    begin,
    describe,
    find_experiment,
    fresh_report,
    go_on,
    list_summaries,
    plan,
)
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/experiments", tags=["experiments"])

Name = Annotated[str, Path(max_length=120, description="The experiment's name, which is its folder's.")]


MOST_SEEDS = 12


class NewExperiment(BaseModel):
    """Values of settings to compare, all else as in a run."""

    model_config = ConfigDict(extra="forbid")

    run: Annotated[str, Field(max_length=120)]
    settings: Annotated[list[Annotated[str, Field(max_length=400)]], Field(min_length=1, max_length=12)]
    """`panel.setting=v1,v2`; several make a grid, and one value alone holds for all."""
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = 3
    name: Annotated[str, Field(max_length=100)] | None = None
    """Made from what is compared where it is left out."""


class GoneOn(BaseModel):
    """How many runs were put into the queue."""

    added: int


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


@router.post("", status_code=201)
def new_experiment(new: NewExperiment, studio: StudioOfRequest) -> ExperimentDetail:
    """Put an experiment into the queue; one of that name goes on, with the seeds that are new."""
    planned = plan(studio.settings, new.run, new.settings, new.seeds, new.name)
    return describe(studio.settings, begin(studio.settings, planned))


@router.post("/{name}/go_on", status_code=202)
def continue_experiment(name: Name, studio: StudioOfRequest) -> GoneOn:
    """Put the runs that are not finished and do not wait into the queue."""
    return GoneOn(added=go_on(studio.settings, find_experiment(studio.settings, name)))
