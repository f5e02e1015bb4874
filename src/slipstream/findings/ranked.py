"""What the ranking of a run's checkpoints says: another one is better, or they repeat training pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipstream.findings.facts import RunFacts
from slipstream.findings.finding import Finding, Severity, Value, line

CLEARLY_BETTER = 0.05
"""Lead in score, which is in units of concept strength."""
MANY_COPIES, MOST_COPIES = 0.1, 0.25
"""Shares of pictures that repeat training pictures from which it is worth a hint, and a warning."""


def earlier_is_better(facts: RunFacts) -> Finding | None:
    """The ranking recommends a checkpoint that is not the last, by a clear lead."""
    rows = _rows(facts)
    chosen = _chosen(facts, rows)
    if chosen is None or rows[-1]["step"] == chosen["step"] or chosen["score"] - rows[-1]["score"] < CLEARLY_BETTER:
        return None
    last, step = rows[-1], int(chosen["step"])
    weight = (facts.ranking or {})["recommended"].get("weight") or 1.0
    seen = line(
        "earlier_is_better.scores", step=step, score=chosen["score"], last=int(last["step"]), last_score=last["score"],
        strength=chosen["strength"], drift=chosen["drift"], last_drift=last["drift"],
    )  # fmt: skip
    change = (line("earlier_is_better.take", step=step, weight=weight), line("change.fewer_steps", steps=step))
    return Finding("earlier_is_better", "hint", (seen,), change, {"training.steps": step})


def copies(facts: RunFacts) -> Finding | None:
    """Pictures of the last checkpoint repeat training pictures."""
    rows = _rows(facts)
    if not rows or rows[-1]["memorised"] < MANY_COPIES:
        return None
    last = rows[-1]
    fresh = [row for row in rows if row["memorised"] < MANY_COPIES]
    seen = line("copies.share", step=int(last["step"]), share=last["memorised"])
    settings: dict[str, Value] = {}
    change = [line("copies.more")]
    if fresh:
        step = int(fresh[-1]["step"])
        change.insert(0, line("change.checkpoint", step=step))
        settings["training.steps"] = step
    severity: Severity = "warning" if last["memorised"] >= MOST_COPIES else "hint"
    return Finding("copies", severity, (seen,), tuple(change), settings)


def _rows(facts: RunFacts) -> Sequence[Mapping[str, Any]]:
    """The ranked checkpoints by step."""
    return (facts.ranking or {}).get("checkpoints") or ()


def _chosen(facts: RunFacts, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    step = ((facts.ranking or {}).get("recommended") or {}).get("step")
    return next((row for row in rows if row["step"] == step), None)
