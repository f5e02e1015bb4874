"""Drift: how far the LoRA bends Turbo on prompts that have nothing to do with it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StrictInt, StringConstraints

from slipstream.config.panel import PANEL

_Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class DriftPanel(BaseModel):
    """Drift meter: how far the LoRA bends Turbo's own steps on prompts that have nothing to do with it. Turbo only."""

    model_config = PANEL

    every: Annotated[StrictInt, Field(ge=0)] = 100
    """Steps between two measurements; 0 measures at the end only.

    Formula: predictions per measurement = prompts x 2 noise levels, forward only, at 512 x 512.
    Change it when: steps are cheap (small pictures): more seldom; you want to see the first hundred steps: 25.
    """

    prompts: Annotated[tuple[_Prompt, ...], Field(max_length=32)] = ()
    """Prompts to measure on, with nothing in them that is trained. Left empty they are slipstream's own: four everyday
    things.

    Change it when: the set holds bicycles, ramen, lighthouses or watches; or you draw one kind of picture besides.
    Careful: scores on other prompts are on another scale: the limits of the traffic light were found with the own ones.
    """
