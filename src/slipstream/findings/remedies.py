"""What several findings advise alike: a calmer rate, an earlier checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from slipstream.config.advice import USUAL_RATE
from slipstream.findings.facts import RunFacts
from slipstream.findings.finding import Line, Value, line

CALM_RATES = (8e-5, 5e-5)
"""What the guide goes down to from 1e-4."""


def calmer(facts: RunFacts) -> tuple[Line, Mapping[str, Value]]:
    """A lower learning rate than the run's, in words and as settings."""
    rate = facts.config.training.learning_rate
    if facts.rate_is_a_factor:
        factor = facts.config.training.optimizer_args.get("d_coef", 1.0)
        lower = float(f"{factor / 2:.2g}") if isinstance(factor, int | float) else 0.5
        return line("change.d_coef", value=lower), {"training.optimizer_args.d_coef": lower}
    lower = float(f"{rate / 2:.2g}")
    if facts.rate is not None:
        lower = next((calm for calm in CALM_RATES if calm < min(rate, USUAL_RATE)), lower)
        if rate > USUAL_RATE:
            lower = CALM_RATES[0]
    return line("change.rate", rate=rate, value=lower), {"training.learning_rate": lower}


def earlier_checkpoint(facts: RunFacts, step: float) -> tuple[Line, ...]:
    """To use the newest checkpoint that is not after a step; nothing where none is left."""
    saved = facts.checkpoint_until(step)
    return () if saved is None else (line("change.checkpoint", step=saved),)
