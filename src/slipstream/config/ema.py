"""EMA: a running average of the LoRA."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, StrictFloat

from slipstream.config.errors import describe
from slipstream.config.panel import PANEL


def _switch_or_steps(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, int) and value >= 1):
        return value
    raise ValueError(f"got {describe(value)}, expected true, false, or a number of steps from 1")


class EmaPanel(BaseModel):
    """EMA: a running average of the LoRA; where it is on, previews and saved LoRAs show the average."""

    model_config = PANEL

    decay: Annotated[StrictFloat, Field(gt=0, lt=1)] = 0.99
    """Share of the old average kept at each step; 0.99 averages over about the last 100 steps.

    Formula: average <- decay x average + (1 - decay) x LoRA.
    Change it when: the run is long (0.999 from about 5000 steps on).
    Careful: an average over more steps than there are stays near the start.
    """

    warmup: Annotated[bool | int, BeforeValidator(_switch_or_steps)] = False
    """Lets the average follow closely at first, so that it does not hang on to the untrained start. `true` rises by the
    usual rule, a number rises evenly over that many steps, `false` uses the full decay at once.

    Formula: with true min(decay, (1 + t) / (10 + t)) after t updates; with N decay x min(1, t / N).
    Change it when: decay is 0.999 or more, or early previews should show what is learned.
    """
