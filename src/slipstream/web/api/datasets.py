"""Datasets: pictures and captions, sent, shown, changed and removed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from slipstream.web.api.files import PICTURE, picture_answer
from slipstream.web.problems import RefusedError
from slipstream.web.services.captioning_jobs import require_no_captioning
from slipstream.web.services.child import ask_child
from slipstream.web.services.dataset_trash import trash_pictures
from slipstream.web.services.datasets import (
    LONGEST_CAPTION,
    DatasetSummary,
    PicturePage,
    create_dataset,
    find_dataset,
    find_picture,
    list_datasets,
    list_pictures,
    remove_dataset,
    summarize,
    write_captions,
)
from slipstream.web.services.uploads import Sent, UploadReport, take_files
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/datasets", tags=["datasets"])

Name = Annotated[str, Path(max_length=255, description="The dataset's name, which is its folder's.")]
File = Annotated[str, Query(max_length=1000, description="The picture's path in the dataset.")]
_SECONDS_TO_CHECK = 600.0


class NewDataset(BaseModel):
    """A dataset to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=120)


class Captions(BaseModel):
    """Captions by picture; an empty one removes the caption."""

    model_config = ConfigDict(extra="forbid")

    captions: dict[str, Annotated[str, Field(max_length=LONGEST_CAPTION)]] = Field(max_length=10_000)


class Changed(BaseModel):
    """How many captions are other than before."""

    changed: int


class CheckRequest(BaseModel):
    """How a dataset is looked at."""

    model_config = ConfigDict(extra="forbid")

    resolutions: list[Annotated[int, Field(ge=64, le=4096)]] = Field([512, 768, 1024], min_length=1, max_length=8)
    trigger_word: str = Field("", max_length=100)
    kind: str | None = Field(None, pattern="^(character|style)$")


@router.get("")
def datasets(studio: StudioOfRequest) -> list[DatasetSummary]:
    """All datasets."""
    return list_datasets(studio.settings.datasets_dir)


@router.post("", status_code=201)
def create(new: NewDataset, studio: StudioOfRequest) -> DatasetSummary:
    """Make an empty dataset."""
    return create_dataset(studio.settings.datasets_dir, new.name)


@router.get("/{name}")
def dataset(name: Name, studio: StudioOfRequest) -> DatasetSummary:
    """A dataset's figures."""
    return summarize(find_dataset(studio.settings.datasets_dir, name))


@router.delete("/{name}", status_code=204, response_class=Response)
def remove(
    name: Name, confirm: Annotated[str, Query(max_length=255, description="The name again.")], studio: StudioOfRequest
) -> None:
    """Move a dataset aside, into the hidden folder `.removed`."""
    if confirm != name:
        raise RefusedError(422, "the name was not given again", where="confirm", fix=f"send confirm={name}.")
    root = studio.settings.datasets_dir
    require_no_captioning(studio.settings, find_dataset(root, name))
    remove_dataset(root, name)


@router.post("/{name}/files")
def upload(
    name: Name,
    files: list[UploadFile],
    studio: StudioOfRequest,
    replace: Annotated[bool, Query(description="Write over files of the same name.")] = False,
    folders: Annotated[bool, Query(description="Keep the folders in the files' names (a/b.png).")] = False,
) -> UploadReport:
    """Send pictures, captions (`.txt` of the same name), or zips of both; each is looked at before it is kept."""
    folder = find_dataset(studio.settings.datasets_dir, name)
    sent = (Sent(file.filename or "", file.file) for file in files)
    return take_files(folder, sent, studio.settings.limits, replace=replace, folders=folders)


@router.get("/{name}/pictures")
def pictures(
    name: Name,
    studio: StudioOfRequest,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    text: Annotated[str, Query(max_length=200, description="Only where name or caption holds this.")] = "",
    uncaptioned: Annotated[bool, Query(description="Only those without a caption.")] = False,
) -> PicturePage:
    """Pictures with their captions, a page at a time."""
    folder = find_dataset(studio.settings.datasets_dir, name)
    return list_pictures(folder, offset=offset, limit=limit, text=text, uncaptioned=uncaptioned)


@router.get("/{name}/picture", response_class=FileResponse, responses=PICTURE)
def picture(name: Name, file: File, request: Request, studio: StudioOfRequest, v: str | None = None) -> Response:
    """A picture as it is; with any `v` browsers keep it without asking again."""
    path = find_picture(find_dataset(studio.settings.datasets_dir, name), file)
    return picture_answer(request, path, kept=v is not None)


@router.delete("/{name}/picture", status_code=204, response_class=Response)
def delete_picture(name: Name, file: File, studio: StudioOfRequest) -> None:
    """Move a picture with its caption and mask into the dataset's trash."""
    trash_pictures(find_dataset(studio.settings.datasets_dir, name), [file])


@router.get("/{name}/thumbnail", response_class=FileResponse, responses=PICTURE)
def thumbnail(
    name: Name,
    file: File,
    request: Request,
    studio: StudioOfRequest,
    side: Annotated[int, Query(ge=16, le=1024)] = 256,
    v: str | None = None,
) -> Response:
    """A small copy of a picture; with any `v` browsers keep it without asking again."""
    path = find_picture(find_dataset(studio.settings.datasets_dir, name), file)
    return picture_answer(request, studio.thumbnails.of(path, side), kept=v is not None)


@router.put("/{name}/captions")
def captions(name: Name, given: Captions, studio: StudioOfRequest) -> Changed:
    """Write captions by picture; all or, where a picture is not there, none."""
    return Changed(changed=write_captions(find_dataset(studio.settings.datasets_dir, name), given.captions))


@router.post("/{name}/check")
def check(name: Name, how: CheckRequest, studio: StudioOfRequest) -> dict[str, Any]:
    """Look at every picture and caption (`slipstream dataset check`): copies, blur, tones, buckets, advice."""
    folder = find_dataset(studio.settings.datasets_dir, name)
    arguments = [
        "dataset", "check", str(folder), "--json", "-", "--no-html", f"--trigger-word={how.trigger_word}",
        f"--resolutions={','.join(map(str, how.resolutions))}",
    ]  # fmt: skip
    if how.kind is not None:
        arguments.append(f"--kind={how.kind}")
    answer: dict[str, Any] = ask_child(arguments, seconds=_SECONDS_TO_CHECK, offline=True)
    return answer
