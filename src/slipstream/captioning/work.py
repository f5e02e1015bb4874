"""Captioning a dataset, batch by batch: stoppable after each, and never over what a person wrote meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from slipstream.captioning.answers import caption_from
from slipstream.captioning.model import Answer
from slipstream.captioning.prompts import prompt_of
from slipstream.captioning.request import CaptionRequest
from slipstream.core.atomic import write_text
from slipstream.core.errors import CaptionError, DataError, DeviceError, ImageError
from slipstream.data.captions import caption_path, read_caption
from slipstream.data.images import EXTENSIONS, read_image
from slipstream.data.listing import list_files

ENDING = "txt"


class Answers(Protocol):
    """What answers: a loaded model's `answers`."""

    def __call__(self, pictures: Sequence[Image.Image], prompt: str, max_tokens: int) -> Sequence[Answer]:
        """One answer a picture; raises MemoryError where the batch is too large."""


@dataclass(frozen=True)
class Captioned:
    """What became of a picture: `after` was written over `before` (None: there was none), or why nothing was."""

    file: str
    before: str | None
    after: str
    skipped: str = ""


def pictures_to_caption(request: CaptionRequest) -> list[Path]:
    """The pictures that the request is about, in natural order; under `empty` those without a caption.

    Raises:
        DataError: there is no such folder, or not one of its pictures is meant.
    """
    found = [path for path in list_files(request.dataset) if path.suffix.lower() in EXTENSIONS]
    if request.files:
        wanted = set(request.files)
        found = [path for path in found if path.relative_to(request.dataset).as_posix() in wanted]
    if not found:
        raise DataError("there are no pictures to caption", where=str(request.dataset), fix="put some in.")
    return [path for path in found if request.overwrite == "all" or not caption_of(path)]


def caption_of(picture: Path) -> str | None:
    """The caption beside a picture; None where there is none, or one that cannot be read, which counts as none."""
    path = caption_path(picture, ENDING)
    with suppress(CaptionError):
        return read_caption(path) if path.is_file() else None
    return None


def caption_pictures(
    request: CaptionRequest, pictures: Sequence[Path], answers: Answers, stop: Callable[[], bool]
) -> Iterator[Captioned]:
    """Caption the pictures and tell of each as it is written; `stop` is asked before every batch.

    A caption that somebody wrote or changed while the model was at it stays.

    Raises:
        DeviceError: not even one picture fits into memory.
        RunError: a caption cannot be written.
    """
    prompt = prompt_of(request.prompt, request.prompt_text, request.trigger_word)
    size, start = request.batch_size, 0
    while start < len(pictures) and not stop():
        batch = pictures[start : start + size]
        before = [caption_of(path) for path in batch]
        opened, unread = _open(batch)
        try:
            said = answers([image for _, image in opened], prompt.text, request.max_tokens) if opened else []
        except MemoryError as error:
            if size == 1:
                raise DeviceError(
                    "not even one picture fits into memory", where=request.model,
                    fix="choose a smaller model, or free memory (a training may be running on this GPU).",
                ) from error  # fmt: skip
            size = max(1, size // 2)
            continue
        by_path = dict(zip((path for path, _ in opened), said, strict=True))
        for path, old in zip(batch, before, strict=True):
            name = path.relative_to(request.dataset).as_posix()
            if path in unread:
                yield Captioned(name, old, "", unread[path])
                continue
            answer = by_path[path]
            text = caption_from(answer.text, prompt.form, request.trigger_word, cut=answer.cut)
            yield _write(path, name, old, text)
        start += len(batch)


def _open(paths: Sequence[Path]) -> tuple[list[tuple[Path, Image.Image]], dict[Path, str]]:
    opened: list[tuple[Path, Image.Image]] = []
    unread: dict[Path, str] = {}
    for path in paths:
        try:
            opened.append((path, read_image(path)))
        except ImageError as error:
            unread[path] = error.message
    return opened, unread


def _write(path: Path, name: str, before: str | None, text: str) -> Captioned:
    if not text:
        return Captioned(name, before, "", "the model said nothing")
    if not path.is_file():
        return Captioned(name, before, text, "the picture is gone")
    if caption_of(path) != before:
        return Captioned(name, before, text, "somebody wrote a caption meanwhile")
    write_text(caption_path(path, ENDING), text + "\n", durable=False)
    return Captioned(name, before, text)


def append_captioned(path: Path, done: Captioned) -> None:
    """Add a line to the diary of a job."""
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(vars(done), ensure_ascii=False) + "\n")


def read_captioned(path: Path) -> list[Captioned]:
    """A job's diary, whole lines only; empty where there is none yet."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError, TypeError):  # a torn last line, which a kill can leave
            found.append(Captioned(**json.loads(line)))
    return found
