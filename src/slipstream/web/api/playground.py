"""The playground: drawing with any LoRAs outside of a training, by a process that keeps the model loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from slipstream.web.api.files import PICTURE, picture_answer
from slipstream.web.services.playground import drawings, loras
from slipstream.web.services.playground.bases import known_bases
from slipstream.web.services.playground.devices import DrawingDevice, drawing_devices
from slipstream.web.services.playground.drawings import Desk, DrawingPage, DrawingView
from slipstream.web.services.playground.form import DrawingForm, LoraForm
from slipstream.web.services.playground.loras import FileLora, RunLoras
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/playground", tags=["playground"])

DrawingId = Annotated[str, Path(max_length=40, description="A drawing's name, as the list has it.")]
Number = Annotated[int, Path(ge=0, le=9999, description="The picture's number: row * columns + column.")]
Side = Annotated[int, Query(ge=16, le=1024, description="The longest side at least, in pixels.")]


@dataclass(frozen=True)
class Choices:
    """What can be drawn with. Any hub id is a base too."""

    bases: list[str]
    runs: list[str]
    """Runs that have a LoRA, the last changed first."""
    files: list[str]
    """LoRAs in the folder of LoRAs."""
    devices: list[DrawingDevice]


@dataclass(frozen=True)
class GivenBack:
    """Whether a process lives that was asked to end."""

    asked: bool


@router.get("")
def desk(studio: StudioOfRequest) -> Desk:
    """The process that draws: what it has loaded and what it is at."""
    return drawings.desk(studio.settings)


@router.get("/choices")
def choices(studio: StudioOfRequest) -> Choices:
    """Bases, LoRAs and devices."""
    settings = studio.settings
    return Choices(
        known_bases(), loras.runs_with_loras(settings.runs_dir), loras.files_in(settings.loras_dir),
        drawing_devices(settings),
    )  # fmt: skip


@router.get("/choices/runs/{name}")
def choices_of_run(
    name: Annotated[str, Path(max_length=120, description="The run's name.")], studio: StudioOfRequest
) -> RunLoras:
    """A run's LoRAs, its trigger word, its base and its prompts."""
    return loras.loras_of_run(studio.settings.runs_dir, name)


@router.get("/choices/files/{file:path}")
def facts_of_file(
    file: Annotated[str, Path(max_length=400, description="A path from the folder of LoRAs.")], studio: StudioOfRequest
) -> FileLora:
    """What a LoRA file says of itself."""
    form = LoraForm(file=file or "?")
    return loras.file_facts(loras.lora_path(studio.settings.runs_dir, studio.settings.loras_dir, form))


@router.get("/drawings")
def list_drawings(
    studio: StudioOfRequest,
    before: Annotated[str, Query(max_length=40, description="Only drawings older than this one.")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 24,
) -> DrawingPage:
    """Drawings, the newest first."""
    return drawings.list_drawings(studio.settings, before=before, limit=limit)


@router.post("/drawings", status_code=202)
def draw(form: DrawingForm, studio: StudioOfRequest) -> DrawingView:
    """Draw. The answer comes at once; ask for the drawing to see how far it is."""
    return drawings.ask_for(studio.settings, form)


@router.get("/drawings/{drawing}")
def drawing_view(drawing: DrawingId, studio: StudioOfRequest) -> DrawingView:
    """A drawing as it is now."""
    return drawings.view_of(studio.settings, drawing)


@router.delete("/drawings/{drawing}", status_code=204, response_class=Response)
def delete_drawing(drawing: DrawingId, studio: StudioOfRequest) -> None:
    """Delete a drawing with its pictures; one that is being drawn stops."""
    drawings.delete_drawing(studio.settings, drawing)


@router.post("/drawings/{drawing}/cancel")
def cancel_drawing(drawing: DrawingId, studio: StudioOfRequest) -> DrawingView:
    """Draw no more of it; the pictures that are there stay."""
    return drawings.cancel_drawing(studio.settings, drawing)


@router.get("/drawings/{drawing}/pictures/{number}", response_class=FileResponse, responses=PICTURE)
def picture(drawing: DrawingId, number: Number, request: Request, studio: StudioOfRequest) -> Response:
    """A picture, a PNG that holds its settings; it never changes."""
    return picture_answer(request, drawings.picture_of(studio.settings, drawing, number), kept=True)


@router.get("/drawings/{drawing}/pictures/{number}/thumbnail", response_class=FileResponse, responses=PICTURE)
def thumbnail(
    drawing: DrawingId, number: Number, request: Request, studio: StudioOfRequest, side: Side = 256
) -> Response:
    """A small copy of a picture."""
    path = studio.thumbnails.of(drawings.picture_of(studio.settings, drawing, number), side)
    return picture_answer(request, path, kept=True)


@router.get("/drawings/{drawing}/pictures/{number}/facts")
def facts(drawing: DrawingId, number: Number, studio: StudioOfRequest) -> dict[str, str]:
    """How a picture was drawn."""
    return drawings.facts_of(drawings.picture_of(studio.settings, drawing, number))


@router.delete("/drawings/{drawing}/pictures/{number}", status_code=204, response_class=Response)
def delete_picture(drawing: DrawingId, number: Number, studio: StudioOfRequest) -> None:
    """Delete a picture; the last one takes its drawing along."""
    drawings.delete_picture(studio.settings, drawing, number)


@router.post("/give-back", status_code=202)
def give_back(studio: StudioOfRequest) -> GivenBack:
    """End the process after its step, which frees its device; what waits goes on waiting."""
    return GivenBack(asked=drawings.give_back(studio.settings))


@router.post("/go-on", status_code=202)
def go_on(studio: StudioOfRequest) -> Desk:
    """Start a process for drawings that wait while none lives."""
    drawings.go_on(studio.settings)
    return drawings.desk(studio.settings)
