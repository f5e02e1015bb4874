"""Previews while training: what the user will get. The training adapter is removed, EMA weights are in where EMA is
on, and the LoRA is rounded as its file will be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.training_adapter import TrainingAdapter
from slipstream.core.atomic import write_bytes
from slipstream.previews.drawing import draw
from slipstream.previews.png import save_png
from slipstream.previews.render import Picture, Renderer, Step
from slipstream.reports.contact_sheet import write_contact_sheet, write_weight_sheet
from slipstream.reports.headings import headings_of
from slipstream.runs.layout import RunDir
from slipstream.training.checkpoint import TrainingState
from slipstream.training.pictures import picture_facts
from slipstream.training.reporter import Reporter


@dataclass(frozen=True)
class PreviewStage:
    """Everything one set of previews needs. `lora_scales` are the weights of the sweep at the end."""

    run: RunDir
    reporter: Reporter
    renderer: Renderer
    pictures: tuple[Picture, ...]
    lora_scales: tuple[float, ...]
    state: TrainingState
    adapter: TrainingAdapter
    dtype: torch.dtype
    facts: Mapping[str, str]

    def at_once(self, most: int) -> PreviewStage:
        """The same with at most so many pictures in a batch."""
        return replace(self, renderer=replace(self.renderer, max_batch=min(most, self.renderer.max_batch)))

    def draw(self) -> bool:
        """Draw every prompt at the state's step and renew the contact sheet; a set that is already there is kept.

        Returns False where a stop cut it short: a resumed run draws the set again.
        """
        paths = [self.run.preview_image(self.state.step, number) for number in range(len(self.pictures))]
        if not self._have("previews", self.pictures, paths):
            return False
        write_contact_sheet(self.run, headings_of(picture_facts(self.pictures)))
        return True

    def sweep(self) -> bool:
        """Draw every prompt at every weight and the sheet of weights; False where a stop cut it short."""
        if not self.lora_scales:
            return True
        step, pictures, paths = self.state.step, [], []
        for scale in self.lora_scales:
            for number, picture in enumerate(self.pictures):
                preview, path = self.run.preview_image(step, number), self.run.weight_image(step, scale, number)
                if picture.lora_scale == scale and preview.is_file():
                    write_bytes(path, preview.read_bytes())  # drawn already, as the preview of this step
                else:
                    pictures.append(replace(picture, lora_scale=scale))
                    paths.append(path)
        if not self._have("LoRA weights", pictures, paths):
            return False
        at_one = [replace(picture, lora_scale=1.0) for picture in self.pictures]
        write_weight_sheet(self.run, headings_of(picture_facts(at_one)))
        return True

    def _have(self, phase: str, pictures: Sequence[Picture], paths: Sequence[Path]) -> bool:
        """Draw the pictures unless all are there; False where a stop cut it short."""
        if not all(path.is_file() for path in paths):
            try:
                self._draw(phase, pictures, paths)
            except KeyboardInterrupt:
                return False
        return True

    def _draw(self, phase: str, pictures: Sequence[Picture], paths: Sequence[Path]) -> None:
        step = self.state.step
        self.run.previews.mkdir(exist_ok=True)

        def write(number: int, image: Tensor) -> None:
            save_png(paths[number], image, picture_metadata(pictures[number], step, self.facts))

        def on_step(at: Step) -> None:
            self.reporter.stop_if_asked()  # a batch of large pictures takes minutes
            together = f" of {at.pictures} at once" if at.pictures > 1 else ""
            self.reporter.detail(f"step {at.step}/{at.steps}{together}")

        with (
            self.reporter.phase(phase, len(paths)) as tick,
            self.adapter.removed(),
            self.state.as_used(),
            self.state.lora.rounded_to(self.dtype),
            closing(draw(self.renderer, pictures, write, on_step)) as drawn,
        ):
            for done, _ in enumerate(drawn, start=1):
                tick(done, len(paths))


def picture_metadata(picture: Picture, step: int, facts: Mapping[str, str]) -> dict[str, str]:
    """What a preview's PNG says about itself."""
    return {
        "prompt": picture.prompt,
        "negative_prompt": picture.negative_prompt,
        "seed": str(picture.seed),
        "steps": str(picture.steps),
        "guidance_scale": str(picture.guidance_scale),
        "width": str(picture.width),
        "height": str(picture.height),
        "lora_scale": f"{picture.lora_scale:g}",
        **({} if picture.has_trigger is None else {"has_trigger": "yes" if picture.has_trigger else "no"}),
        "step": str(step),
        **facts,
    }


def scaled(loras: Sequence[tuple[BranchSet, float]]) -> Callable[[float], AbstractContextManager[None]]:
    """A function that gives a block in which every LoRA acts at its own strength times a picture's scale."""

    @contextmanager
    def at_scale(lora_scale: float) -> Iterator[None]:
        for branches, strength in loras:
            branches.set_strength(strength * lora_scale)
        try:
            yield
        finally:
            for branches, strength in loras:
                branches.set_strength(strength)

    return at_scale
