"""Drift: how far the LoRA bends Turbo on prompts that have nothing to do with it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictFloat, StrictInt, StringConstraints

from slipstream.config.panel import PANEL

Guard = Literal["off", "warn", "lower_learning_rate", "stop"]
_Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class DriftPanel(BaseModel):
    """Drift meter: how far the LoRA bends Turbo's own steps on prompts that have nothing to do with it. Turbo only."""

    model_config = PANEL

    every: Annotated[StrictInt, Field(ge=0)] = 200
    """Steps between two measurements; 0 measures at the end only.

    Formula: predictions per measurement = prompts x 3 noise levels, forward only, at 512 x 512; 12 cost as much as 6
    updates at that size, adapter out and back included (3 % of a training at 512, less at larger sizes).
    Change it when: steps are cheap (small pictures): more seldom; you want to see the first hundred steps: 25.
    """

    prompts: Annotated[tuple[_Prompt, ...], Field(max_length=32)] = ()
    """Prompts to measure on, with nothing in them that is trained. Left empty they are slipstream's own: four everyday
    things.

    Change it when: the set holds bicycles, ramen, lighthouses or watches; or you draw one kind of picture besides.
    Careful: scores on other prompts are on another scale: the limits of the traffic light were found with the own ones.
    """

    guard: Guard = "warn"
    """What happens when the light is no longer green: `off` nothing, `warn` a line in the log, `lower_learning_rate`
    halves the learning rate at each such measurement unless drift falls already, `stop` ends training after two red
    measurements in a row, with everything saved as at the end of a run.

    Change it when: nobody watches the run: `lower_learning_rate`, or `stop` before hours are spent on a LoRA that needs
    20 steps.
    Careful: a lower rate keeps what is left and brings little back. A run without a training adapter drifts at any
    rate.
    """

    lowest_rate: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.1
    """How far `lower_learning_rate` may go, as a share of the learning rate that was set; other guards do not read it.

    Formula: rate = learning rate x schedule x max(lowest_rate, 0.5 ^ times lowered).
    Change it when: the run should go on learning at more of its rate (0.25), or the rate was far too high (0.03).
    """

    limit: Annotated[StrictFloat, Field(gt=0, le=100)] | None = None
    """The score from which the guard acts. Left out it is where the light turns yellow, for `stop` where it turns red.

    Change it when: you know the score that a good run of your kind comes to: a little more than that.
    Careful: below what learning itself costs (10-25 on the tiny family, with an adapter) it brakes every run.
    """
