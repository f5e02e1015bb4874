"""Previews while training: what the user will get. The training adapter is removed, EMA weights are in where EMA is
on, and the LoRA is rounded as its file will be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from slipstream.adapters.training_adapter import TrainingAdapter
from slipstream.previews.png import save_png
from slipstream.previews.render import Picture, Renderer, render
from slipstream.reports.contact_sheet import write_contact_sheet
from slipstream.runs.layout import RunDir
from slipstream.training.checkpoint import TrainingState
from slipstream.training.reporter import Reporter


@dataclass(frozen=True)
class PreviewStage:
    """Everything one set of previews needs."""

    run: RunDir
    reporter: Reporter
    renderer: Renderer
    pictures: tuple[Picture, ...]
    state: TrainingState
    adapter: TrainingAdapter
    dtype: torch.dtype
    facts: Mapping[str, str]

    def draw(self) -> bool:
        """Draw every prompt at the state's step and renew the contact sheet; a set that is already there is kept.

        Returns False where a stop cut it short: a resumed run draws the set again.
        """
        paths = [self.run.preview_image(self.state.step, number) for number in range(len(self.pictures))]
        if not all(path.is_file() for path in paths):
            try:
                self._draw(paths)
            except KeyboardInterrupt:
                return False
        write_contact_sheet(self.run, [picture.prompt for picture in self.pictures])
        return True

    def _draw(self, paths: list[Path]) -> None:
        step = self.state.step
        self.run.previews.mkdir(exist_ok=True)
        with (
            self.reporter.phase("previews", len(paths)) as tick,
            self.adapter.removed(),
            self.state.as_used(),
            self.state.lora.rounded_to(self.dtype),
        ):
            for done, (number, image) in enumerate(render(self.renderer, self.pictures), start=1):
                save_png(paths[number], image, picture_metadata(self.pictures[number], step, self.facts))
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
        "step": str(step),
        **facts,
    }
