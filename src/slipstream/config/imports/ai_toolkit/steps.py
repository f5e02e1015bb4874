"""What a job file counts in batches (with `gradient_accumulation_steps`) and we count in updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipstream.config.imports.reading import count, group, number
from slipstream.config.imports.rules import Rule, Spot, decide


def batches_per_update(process: Mapping[str, Any]) -> int:
    """How many batches one update takes where the file counts steps in batches, else 1."""
    return count(group(process, "train").get("gradient_accumulation_steps", 1))


def updates(process: Mapping[str, Any], steps: int) -> int:
    """A number of the file's steps in updates."""
    return max(1, round(steps / batches_per_update(process))) if steps else steps


def in_updates(target: str) -> Rule:
    """A number of steps, written to `target` in updates."""

    def act(spot: Spot) -> None:
        steps = number(spot.value)
        if not isinstance(steps, int):
            return spot.put(target, steps)
        found = updates(spot.root, steps)
        spot.put(target, found, "in updates (gradient_accumulation_steps)" if found != steps else "")

    return decide(target)(act)
