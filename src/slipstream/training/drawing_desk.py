"""Drawing requests one after another with a model that stays loaded."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Protocol

from torch import Tensor

from slipstream.core.errors import DeviceError
from slipstream.drawings.request import DrawingRequest, LoraUse, PictureRequest
from slipstream.models.z_image.family import release_memory
from slipstream.previews.drawing import draw
from slipstream.previews.png import save_png
from slipstream.previews.render import Picture, Renderer, Step
from slipstream.training.device import GIB, allocated_bytes
from slipstream.training.drawing_model import DrawingModel, Told, settle_drawing_model
from slipstream.training.out_of_memory import is_out_of_memory
from slipstream.training.preview_stage import picture_metadata
from slipstream.training.shareable import drawn_with


class Listener(Protocol):
    """Who is told how far it is; any of these may raise to stop it."""

    def log(self, line: str) -> None:
        """A line for the log."""

    def phase(self, name: str, done: int, total: int) -> None:
        """How far a phase of loading is."""

    def step(self, step: int, steps: int, at_once: int, out_of: int) -> None:
        """Step `step` of `steps` begins, of `at_once` pictures of the `out_of` that were asked for."""


class DrawingDesk:
    """Holds one model; a request for another one loads that instead.

    Args:
        device: as in configs.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._model: DrawingModel | None = None
        self._most_at_once = Renderer.max_batch

    def memory_gib(self) -> float | None:
        """What the model takes of a GPU now; None on the CPU."""
        device = None if self._model is None else self._model.model.device
        return None if device is None or device.type != "cuda" else round(allocated_bytes(device) / GIB, 2)

    def draw(
        self, request: DrawingRequest, path_of: Callable[[int], Path], listener: Listener
    ) -> Generator[int, None, None]:
        """Draw a request's pictures into files, yielding the number of each that is written.

        Pictures of the same LoRA files and weights are drawn together, so that each is loaded once.

        Raises:
            SlipstreamError: the model or a LoRA is missing or does not fit.
            DeviceError: the device has not enough memory, even for one picture at a time.
        """
        told = Told(listener.log, listener.phase)
        self._have(request, told)
        for numbers in by_loras(request.pictures):
            left = list(numbers)
            while left:
                failure = None
                try:
                    for number in self._draw(request, tuple(left), path_of, listener, told):
                        left.remove(number)
                        yield number
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    failure = error
                if failure is not None:
                    # the frames hold what was begun; without them it is free
                    failure.__traceback__ = failure.__context__ = failure.__cause__ = None
                    self._tighten(listener)

    def _have(self, request: DrawingRequest, told: Told) -> None:
        if self._model is None or self._model.base != request.base:
            self._model = None
            release_memory()
            self._most_at_once = Renderer.max_batch
            told.phase("find model", 0, 0)
            self._model = settle_drawing_model(request.base, self._device, told)

    def _draw(
        self, request: DrawingRequest, numbers: Sequence[int], path_of: Callable[[int], Path], listener: Listener,
        told: Told,
    ) -> Generator[int, None, None]:  # fmt: skip
        """Pictures of the same LoRAs."""
        assert self._model is not None
        pictures = [as_picture(request.pictures[number]) for number in numbers]
        loras = request.pictures[numbers[0]].loras
        self._model.encode((text for one in pictures for text in (one.prompt, one.negative_prompt)), told)
        self._model.use(loras, told)
        renderer = self._model.renderer(max_batch=self._most_at_once)
        facts = drawn_with(request.base.model, loras)

        def write(index: int, image: Tensor) -> None:
            save_png(path_of(numbers[index]), image, picture_metadata(pictures[index], 0, facts))

        def on_step(at: Step) -> None:
            listener.step(at.step, at.steps, at.pictures, len(request.pictures))

        with closing(draw(renderer, pictures, write, on_step)) as drawn:
            for index in drawn:
                yield numbers[index]

    def _tighten(self, listener: Listener) -> None:
        """Take less memory from now on.

        Raises:
            DeviceError: it takes the least already.
        """
        assert self._model is not None
        release_memory()
        if self._model.drop_encoder():
            listener.log("out of memory: the text encoder is not kept beside the model")
        elif self._most_at_once > 1:
            self._most_at_once = 1
            self._model.drop_graphs()
            listener.log("out of memory: pictures are drawn one at a time from now on")
        else:
            self._model = None
            release_memory()
            raise DeviceError(
                "the device has not enough memory for this model and picture size, even for one picture at a time",
                where="playground", fix="draw smaller, or choose float8 (or nf4) as the transformer's precision.",
            )  # fmt: skip
        release_memory()


def as_picture(wanted: PictureRequest) -> Picture:
    """The picture as the renderer knows it; the weights of its LoRAs are not in it."""
    return Picture(
        wanted.prompt, wanted.negative_prompt, wanted.width, wanted.height, wanted.seed, wanted.steps,
        wanted.guidance_scale, has_trigger=wanted.has_trigger,
    )  # fmt: skip


def by_loras(pictures: Sequence[PictureRequest]) -> list[list[int]]:
    """Numbers of the pictures that are drawn together: of the same files and weights, the weights of the same files one
    after another, in the order in which they come first."""
    files: dict[tuple[Path, ...], int] = {}
    uses: dict[tuple[LoraUse, ...], int] = {}
    for picture in pictures:
        files.setdefault(_files(picture), len(files))
        uses.setdefault(picture.loras, len(uses))

    def place(number: int) -> tuple[int, int]:
        return files[_files(pictures[number])], uses[pictures[number].loras]

    return [list(group) for _, group in groupby(sorted(range(len(pictures)), key=place), key=place)]


def _files(picture: PictureRequest) -> tuple[Path, ...]:
    return tuple(use.path for use in picture.loras)
