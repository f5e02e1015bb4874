"""More of datasets: lists for grids, bulk edits, crops, masks, the trash, and captions by a model."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from slipstream.captioning.request import DEFAULT_MODEL, CaptionRequest, Overwrite
from slipstream.data.images import decoded_size, read_file
from slipstream.data.settings import Crop, CropRule
from slipstream.web.api.datasets import File, Name
from slipstream.web.api.files import PICTURE, picture_answer
from slipstream.web.problems import RefusedError, missing
from slipstream.web.services.caption_edits import CaptionChange, CaptionEdit, EditKind, apply_changes, preview_edit
from slipstream.web.services.caption_lists import unpack_captions
from slipstream.web.services.captioning_jobs import (
    Captioning,
    captioning_of,
    require_no_captioning,
    start_captioning,
    stop_captioning,
    undo_captioning,
)
from slipstream.web.services.dataset_checks import found_files
from slipstream.web.services.dataset_crops import JOB_SEED, BucketView, bucket_views
from slipstream.web.services.dataset_index import Filter, Show, index, shortened
from slipstream.web.services.dataset_masks import mask_of, remove_mask, write_mask
from slipstream.web.services.dataset_trash import Trashed, empty_trash, list_trash, restore_picture, trashed_picture
from slipstream.web.services.datasets import DatasetSummary, find_dataset, find_picture, rename_dataset
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/datasets", tags=["datasets"])

Key = Annotated[str, Query(max_length=1000, description="The name of a removed picture in the trash.")]
Side = Annotated[int, Field(ge=64, le=4096)]


class ShortPicture(BaseModel):
    """A picture in a list of all: path, version, the beginning of its caption, and whether it has a mask."""

    f: str
    v: str
    c: str
    m: bool


class NewName(BaseModel):
    """Another name for a dataset."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=120)


class Edit(BaseModel):
    """A change to many captions; with `apply` false it is only shown. Without files it is about all pictures."""

    model_config = ConfigDict(extra="forbid")

    kind: EditKind
    text: str = Field("", max_length=20_000)
    find: str = Field("", max_length=20_000)
    whole_words: bool = False
    match_case: bool = False
    files: list[Annotated[str, Field(max_length=1000)]] | None = Field(None, max_length=100_000)
    apply: bool = False


class Counted(BaseModel):
    """How many pictures it was."""

    count: int


class Restored(BaseModel):
    """Where a picture was put back to."""

    file: str


class CaptionOrder(BaseModel):
    """What a model shall caption, and how; see `slipstream caption`."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(DEFAULT_MODEL, max_length=300)
    prompt: str = Field("sentence", max_length=40)
    prompt_text: str = Field("", max_length=4000)
    trigger_word: str = Field("", max_length=100)
    overwrite: Overwrite = "empty"
    max_tokens: int = Field(160, ge=1, le=2048)
    batch_size: int = Field(4, ge=1, le=256)
    files: list[Annotated[str, Field(max_length=1000)]] = Field([], max_length=100_000)


@router.get("/{name}/index")
def list_all(
    name: Name,
    studio: StudioOfRequest,
    show: Show = "all",
    text: Annotated[str, Query(max_length=200)] = "",
    side: Annotated[int, Query(ge=64, le=4096, description="`small` is below this many pixels squared.")] = 512,
) -> list[ShortPicture]:
    """All pictures that are meant, in short. `duplicates` and `findings` are of the last check."""
    folder = find_dataset(studio.settings.datasets_dir, name)
    found = index(folder, Filter(show, text, side, found_files(folder, show)), studio.sizes)
    return [ShortPicture(f=one.file, v=one.version, c=shortened(one.caption), m=one.masked) for one in found]


@router.post("/{name}/name")
def rename(name: Name, new: NewName, studio: StudioOfRequest) -> DatasetSummary:
    """Give a dataset another name; configs that name its folder have to be changed too."""
    root = studio.settings.datasets_dir
    require_no_captioning(studio.settings, find_dataset(root, name))
    return rename_dataset(root, name, new.name)


@router.post("/{name}/edits")
def edit_captions(name: Name, edit: Edit, studio: StudioOfRequest) -> list[CaptionChange]:
    """Change many captions at once, or show what would change; returns what changes."""
    folder = find_dataset(studio.settings.datasets_dir, name)
    files = [one.file for one in index(folder, Filter(), studio.sizes)] if edit.files is None else edit.files
    wanted = CaptionEdit(edit.kind, edit.text, edit.find, edit.whole_words, edit.match_case)
    changes = preview_edit(folder, files, wanted)
    return apply_changes(folder, changes) if edit.apply else changes


@router.get("/{name}/crops")
def crops(
    name: Name,
    file: File,
    studio: StudioOfRequest,
    resolution: Annotated[tuple[Side, ...], Query(min_length=1, max_length=8)] = (512, 768, 1024),
    crop: Crop = "center",
    count: Annotated[int, Query(ge=1, le=16)] = 1,
) -> list[BucketView]:
    """The buckets of a picture and the part that each keeps."""
    path = find_picture(find_dataset(studio.settings.datasets_dir, name), file)
    size = decoded_size(read_file(path), path)
    return bucket_views(path, size, resolution, CropRule(crop, count, seed=JOB_SEED))


@router.get("/{name}/mask", response_class=FileResponse, responses=PICTURE)
def mask(name: Name, file: File, request: Request, studio: StudioOfRequest) -> Response:
    """A picture's mask: white counts, black does not."""
    folder = find_dataset(studio.settings.datasets_dir, name)
    find_picture(folder, file)
    found = mask_of(folder, file)
    if found is None:
        raise missing("mask of this picture", where=file[:200], fix="send one.")
    return picture_answer(request, found)


@router.post("/{name}/masks/files", status_code=204, response_class=Response)
def upload_mask(name: Name, file: File, mask: UploadFile, studio: StudioOfRequest) -> None:
    """Send a picture's mask, grey, of the picture's aspect; one that was there is replaced."""
    limit = studio.settings.limits.picture_bytes
    data = mask.file.read(limit + 1)
    if len(data) > limit:
        raise RefusedError(413, "the mask is too large", where=file[:200], fix="scale it down.")
    write_mask(find_dataset(studio.settings.datasets_dir, name), file, data)


@router.delete("/{name}/mask", status_code=204, response_class=Response)
def delete_mask(name: Name, file: File, studio: StudioOfRequest) -> None:
    """Delete a picture's mask."""
    remove_mask(find_dataset(studio.settings.datasets_dir, name), file)


@router.get("/{name}/trash")
def trash(name: Name, studio: StudioOfRequest) -> list[Trashed]:
    """Removed pictures, the newest first."""
    return list_trash(find_dataset(studio.settings.datasets_dir, name))


@router.delete("/{name}/trash")
def clear_trash(name: Name, studio: StudioOfRequest) -> Counted:
    """Delete removed pictures for good."""
    return Counted(count=empty_trash(find_dataset(studio.settings.datasets_dir, name)))


@router.post("/{name}/trash/restore")
def restore(name: Name, key: Key, studio: StudioOfRequest) -> Restored:
    """Put a removed picture back, with its caption and mask."""
    return Restored(file=restore_picture(find_dataset(studio.settings.datasets_dir, name), key))


@router.get("/{name}/trash/thumbnail", response_class=FileResponse, responses=PICTURE)
def trash_thumbnail(name: Name, key: Key, request: Request, studio: StudioOfRequest) -> Response:
    """A small copy of a removed picture."""
    path = trashed_picture(find_dataset(studio.settings.datasets_dir, name), key)
    return picture_answer(request, studio.thumbnails.of(path, 256))


@router.get("/{name}/captioning")
def captioning(name: Name, studio: StudioOfRequest) -> Captioning | None:
    """The newest captioning job of the dataset."""
    return captioning_of(studio.settings, find_dataset(studio.settings.datasets_dir, name))


@router.post("/{name}/captions/unpack")
def unpack(name: Name, studio: StudioOfRequest) -> Counted:
    """Write the captions of the dataset's `metadata.jsonl` beside its pictures, and lay that file aside."""
    return Counted(count=unpack_captions(find_dataset(studio.settings.datasets_dir, name)))


@router.post("/{name}/captioning", status_code=201)
def caption(name: Name, order: CaptionOrder, studio: StudioOfRequest) -> Captioning:
    """Let a vision-language model write captions, as a job of the queue."""
    folder = find_dataset(studio.settings.datasets_dir, name)
    values = {**order.model_dump(), "files": tuple(order.files)}
    return start_captioning(studio.settings, CaptionRequest(dataset=folder, **values))


@router.post("/{name}/captioning/stop", status_code=202)
def stop(name: Name, studio: StudioOfRequest) -> Captioning:
    """Ask the captioning job to stop; what is written stays."""
    return stop_captioning(studio.settings, find_dataset(studio.settings.datasets_dir, name))


@router.post("/{name}/captioning/undo")
def undo(name: Name, studio: StudioOfRequest) -> Counted:
    """Give pictures back the captions that they had before the newest captioning job."""
    return Counted(count=undo_captioning(studio.settings, find_dataset(studio.settings.datasets_dir, name)))
