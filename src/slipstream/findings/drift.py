"""Turbo that needs more steps or CFG with the LoRA than without: the guide's first trouble."""

from __future__ import annotations

from collections.abc import Sequence

from slipstream.config.advice import LONG_TRAINING, USUAL_RATE
from slipstream.findings.facts import Row, RunFacts
from slipstream.findings.finding import Finding, Line, Value, line
from slipstream.findings.remedies import calmer, earlier_checkpoint

RED, GREEN = "red", "green"
LOWER = "lower_learning_rate"


def turbo_drift(facts: RunFacts) -> Finding | None:
    """The drift meter left green and has not come back."""
    rows = facts.drift
    away = _since_green(rows)
    if not away:
        return None
    last = rows[-1]
    red = next((row for row in away if row["light"] == RED), None)
    values: dict[str, Value] = {"yellow": int(away[0]["step"]), "step": int(last["step"]), "score": last["score"]}
    seen = [line("drift.to_yellow", **values)]
    if red is not None:
        seen = [line("drift.to_red", red=int(red["step"]), **values)]
    if red is away[0]:
        seen = [line("drift.red_at_once", **values)]
    seen += _acts(facts)
    change = [*earlier_checkpoint(facts, away[0]["step"] - 1)]
    settings: dict[str, Value] = {}
    if facts.without_adapter:
        seen.append(line("cause.no_adapter"))
        change.append(line("change.adapter", value="v2"))
        settings["model.training_adapter"] = "v2"
    if facts.rate is not None and facts.rate > USUAL_RATE:
        seen.append(line("cause.high_rate", rate=facts.rate, usual=USUAL_RATE))
    if not facts.without_adapter or (facts.rate or 0) > USUAL_RATE:
        calm, rates = calmer(facts)
        change.append(calm)
        settings |= rates
        change += _otherwise(facts, rows)
    if not facts.without_adapter and _may_lower(facts):
        change.append(line("change.guard", value=LOWER))
        settings["training.drift.guard"] = LOWER
    return Finding(
        "drift", "warning" if last["light"] != RED else "problem", tuple(seen), tuple(change), settings, "drift"
    )


def guard_acted(facts: RunFacts) -> Finding | None:
    """The guard lowered the rate or ended the training, and the light is green."""
    acts = _acts(facts)
    if not acts or _since_green(facts.drift):
        return None
    rate = facts.config.training.learning_rate
    value = float(f"{rate * facts.drift[-1].get('rate_factor', 1.0):.2g}")
    if value >= rate:
        return Finding("guard", "hint", acts, (line("guard.no_more"),), {}, "drift")
    change = (line("guard.begin_lower", value=value),)
    return Finding("guard", "hint", acts, change, {"training.learning_rate": value}, "drift")


def _acts(facts: RunFacts) -> tuple[Line, ...]:
    """What the guard did: from where on it lowered the rate and how far, and where it ended the training."""
    lines = []
    lowered = [row for row in facts.drift if row.get("rate_factor", 1.0) < 1.0]
    if lowered:
        share = lowered[-1]["rate_factor"]
        lines.append(line("guard.lowered", step=int(lowered[0]["step"]), share=share))
    lines += [line("guard.ended", step=int(row["step"])) for row in facts.drift[-1:] if row.get("ended_early")]
    return tuple(lines)


def _may_lower(facts: RunFacts) -> bool:
    """Whether the guard only looked on; without an adapter a run drifts at any rate."""
    panel = facts.config.training.drift
    return panel is not None and panel.guard in ("off", "warn")


def _since_green(rows: Sequence[Row]) -> Sequence[Row]:
    """The measurements after the last green one."""
    return rows[max((place + 1 for place, row in enumerate(rows) if row["light"] == GREEN), default=0) :]


def _otherwise(facts: RunFacts, rows: Sequence[Row]) -> list[Line]:
    """What else keeps Turbo turbo where there is an adapter already: fewer steps, the other adapter, another base."""
    lines = []
    green = max((int(row["step"]) for row in rows if row["light"] == GREEN), default=0)
    if green > 0:
        lines.append(line("change.stop_at", step=green))
    adapter = getattr(facts.config.model, "training_adapter", "")
    other = {"v1": "v2", "v2": "v1"}.get(adapter)
    if other is not None and (facts.rate is None or facts.rate <= USUAL_RATE):
        lines.append(line("change.other_adapter", value=other))
    if facts.steps > LONG_TRAINING:
        lines.append(line("change.de_turbo", steps=LONG_TRAINING))
    return lines


def no_adapter(facts: RunFacts) -> Finding | None:
    """Turbo was trained without its adapter, and no meter says what came of it, or it is green still."""
    if not facts.without_adapter or facts.step == 0 or turbo_drift(facts) is not None:
        return None
    seen = [line("no_adapter.trained", step=facts.step)]
    if facts.drift:
        last = facts.drift[-1]
        seen.append(line("no_adapter.green", step=int(last["step"]), score=last["score"]))
    change = (line("change.adapter", value="v2"), line("no_adapter.more_steps"))
    settings = {"model.training_adapter": "v2"}
    if facts.drift:
        return Finding("no_adapter", "warning", tuple(seen), change, settings, "drift")
    return Finding("no_adapter", "problem", tuple(seen), change, settings)
