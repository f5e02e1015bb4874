"""Runs: what they do, what came of them, and asking them for something."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import BaseModel

from slipstream.findings.look import findings_of
from slipstream.findings.tell import tell
from slipstream.reports.facts import read_text
from slipstream.reports.findings import ToldFinding
from slipstream.runs.controls import Flag
from slipstream.runs.drift import RED, YELLOW
from slipstream.runs.drift import read_rows as read_drift
from slipstream.runs.layout import RunDir
from slipstream.runs.validation import overfitting_advice, read_rows
from slipstream.web.api.files import DOWNLOAD, PICTURE, download_answer, picture_answer
from slipstream.web.services.checkpoints import Checkpoint, checkpoint_path, delete_checkpoint, list_checkpoints
from slipstream.web.services.logs import MOST_BYTES, LogPart, read_log
from slipstream.web.services.metric_rows import after, columns
from slipstream.web.services.previews import PreviewGrid, preview_facts, preview_grid, preview_path, weight_path
from slipstream.web.services.run_controls import ask
from slipstream.web.services.runs import (
    RunDetail,
    RunPhases,
    RunSummary,
    describe,
    find_run,
    list_runs,
    phases_of,
)
from slipstream.web.studio import Studio, StudioOfRequest

router = APIRouter(prefix="/api/runs", tags=["runs"])

Name = Annotated[str, Path(max_length=120, description="The run's name, which is its folder's.")]
File = Annotated[str, Path(max_length=200, description="A file of the run's list of checkpoints.")]
Step = Annotated[int, Path(ge=0, le=999_999_999)]
Prompt = Annotated[int, Path(ge=0, le=9_999, description="The prompt's number, from 0.")]
Side = Annotated[int, Query(ge=16, le=1024, description="The longest side at least, in pixels.")]
PATIENCE = 3


class Metrics(BaseModel):
    """Figures by update, thinned: each point is the mean of neighbouring updates, `step` the last of them."""

    columns: dict[str, list[float | None]]
    num_rows: int
    last_step: float | None
    """Ask with `since` of this for what comes later."""


class Validation(BaseModel):
    """Losses on held-out pictures; `sigma_<level>` by noise level."""

    rows: list[dict[str, float]]
    advice: str | None


class DriftRow(BaseModel):
    """One measurement. `changes` is the relative change of the velocity by noise level; `guard` what was done."""

    step: int
    score: float
    light: str
    changes: dict[str, float] = {}
    guard: str | None = None


class Drift(BaseModel):
    """How far the LoRA bends Turbo, measured while training; scores from which the light is yellow and red."""

    rows: list[DriftRow]
    yellow: float
    red: float


class Asked(BaseModel):
    """What the run's worker was asked for; it follows after the update it is at."""

    asked: Flag


@router.get("")
def runs(studio: StudioOfRequest) -> list[RunSummary]:
    """All runs, the last changed first."""
    return list_runs(studio.settings.runs_dir)


@router.get("/{name}")
def run(name: Name, studio: StudioOfRequest) -> RunDetail:
    """A run in detail."""
    return describe(_run(studio, name))


@router.get("/{name}/metrics")
def metrics(
    name: Name,
    studio: StudioOfRequest,
    since: Annotated[float, Query(description="Only updates after this one.")] = -1,
    points: Annotated[int, Query(ge=1, le=20_000, description="At most so many points.")] = 1000,
) -> Metrics:
    """Loss, learning rate, gradient norm and seconds by update."""
    rows = studio.metrics.rows(_run(studio, name).metrics)
    return Metrics(
        columns=columns(after(rows, since), points), num_rows=len(rows), last_step=rows[-1]["step"] if rows else None
    )


@router.get("/{name}/validation")
def validation(name: Name, studio: StudioOfRequest) -> Validation:
    """The loss on held-out pictures, and what it says about overfitting."""
    rows = read_rows(_run(studio, name).validation)
    return Validation(rows=rows, advice=overfitting_advice(rows, PATIENCE) if rows else None)


@router.get("/{name}/drift")
def drift(name: Name, studio: StudioOfRequest) -> Drift:
    """The drift meter's measurements."""
    rows = [DriftRow.model_validate(row) for row in read_drift(_run(studio, name).drift)]
    return Drift(rows=rows, yellow=YELLOW, red=RED)


@router.get("/{name}/findings")
def findings(
    name: Name,
    studio: StudioOfRequest,
    language: Annotated[Literal["en", "es"], Query(description="Of the texts.")] = "en",
) -> list[ToldFinding]:
    """What stands out in the run, the gravest first."""
    run = _run(studio, name)
    return [tell(finding, language) for finding in findings_of(run, studio.metrics.rows(run.metrics))]


@router.get("/{name}/phases")
def run_phases(name: Name, studio: StudioOfRequest) -> RunPhases:
    """When each phase began and how long it took."""
    return phases_of(_run(studio, name), studio.metrics)


@router.get("/{name}/log")
def log(
    name: Name,
    studio: StudioOfRequest,
    offset: Annotated[int | None, Query(ge=0, le=2**53, description="Where to read on; left out: the end.")] = None,
    most_bytes: Annotated[int, Query(ge=1024, le=MOST_BYTES)] = 64 * 1024,
) -> LogPart:
    """What the run's worker said."""
    return read_log(_run(studio, name).log, offset, most_bytes)


@router.get("/{name}/config", response_class=PlainTextResponse)
def config(name: Name, studio: StudioOfRequest) -> str:
    """The run's config with every setting, as YAML."""
    return read_text(_run(studio, name).config)


@router.get("/{name}/previews")
def previews(name: Name, studio: StudioOfRequest) -> PreviewGrid:
    """Which preview pictures there are, by step and prompt."""
    return preview_grid(_run(studio, name))


@router.get("/{name}/previews/{step}/{prompt}", response_class=FileResponse, responses=PICTURE)
def preview(name: Name, step: Step, prompt: Prompt, request: Request, studio: StudioOfRequest) -> Response:
    """A preview picture."""
    return picture_answer(request, preview_path(_run(studio, name), step, prompt))


@router.get("/{name}/previews/{step}/{prompt}/thumbnail", response_class=FileResponse, responses=PICTURE)
def preview_thumbnail(
    name: Name,
    step: Step,
    prompt: Prompt,
    request: Request,
    studio: StudioOfRequest,
    side: Side = 256,
    v: str | None = None,
) -> Response:
    """A small copy of a preview picture; with any `v` browsers keep it without asking again."""
    path = studio.thumbnails.of(preview_path(_run(studio, name), step, prompt), side)
    return picture_answer(request, path, kept=v is not None)


@router.get("/{name}/previews/{step}/{prompt}/facts")
def facts_of_preview(name: Name, step: Step, prompt: Prompt, studio: StudioOfRequest) -> dict[str, str]:
    """How a preview picture was drawn."""
    return preview_facts(preview_path(_run(studio, name), step, prompt))


@router.get("/{name}/weights/{step}/{lora_scale}/{prompt}", response_class=FileResponse, responses=PICTURE)
def weight_preview(
    name: Name,
    step: Step,
    lora_scale: Annotated[float, Path(ge=0, le=100, allow_inf_nan=False)],
    prompt: Prompt,
    request: Request,
    studio: StudioOfRequest,
) -> Response:
    """A picture of the sweep over LoRA weights."""
    return picture_answer(request, weight_path(_run(studio, name), step, lora_scale, prompt))


@router.get("/{name}/checkpoints")
def checkpoints(name: Name, studio: StudioOfRequest) -> list[Checkpoint]:
    """The finished LoRA and the checkpoints, the newest first."""
    return list_checkpoints(_run(studio, name))


@router.get("/{name}/checkpoints/{file}", response_class=FileResponse, responses=DOWNLOAD)
def download_checkpoint(name: Name, file: File, studio: StudioOfRequest) -> FileResponse:
    """A LoRA file."""
    return download_answer(checkpoint_path(_run(studio, name), file))


@router.delete("/{name}/checkpoints/{file}", status_code=204, response_class=Response)
def remove_checkpoint(name: Name, file: File, studio: StudioOfRequest) -> None:
    """Delete a LoRA file and the training state of its step."""
    delete_checkpoint(_run(studio, name), file)


@router.post("/{name}/controls/{flag}", status_code=202)
def control(name: Name, flag: Flag, studio: StudioOfRequest) -> Asked:
    """Ask the run's worker to save and stop, to save, or to draw previews."""
    ask(_run(studio, name), flag)
    return Asked(asked=flag)


def _run(studio: Studio, name: str) -> RunDir:
    return find_run(studio.settings.runs_dir, name)
