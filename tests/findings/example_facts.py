"""Facts of runs as tests want them: a config from a few settings, rows made by rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from slipstream.config.run_config import parse_config
from slipstream.findings.facts import RunFacts
from slipstream.runs.progress import Progress

REAL = "Tongyi-MAI/Z-Image-Turbo"


def facts(*overrides: str, images: int = 20, step: int = 1000, **changes: Any) -> RunFacts:
    """A good run of `step` updates on the real Turbo, and whatever is changed about it."""
    config = parse_config(
        {
            "job": {"name": "one", "trigger_word": "felt"},
            "model": {"variant": "turbo", "name_or_path": REAL},
            "training": {"steps": 1000},
            "datasets": [{"path": "pictures", "resolutions": [1024]}],
            "sample": {"prompts": ["a [trigger] fox", "a dog"]},
        },
        overrides,
    )
    folder = {"name": "pictures", "images": images, "regularization": None}
    good = RunFacts(
        config=config,
        manifest={"dataset": {"num_images": images, "folders": [folder]}, "lora": {"modules": 240}},
        progress=Progress(state="finished", step=step, steps=config.training.steps, memory_gib=20.0),
        rows=rows(),
        checkpoints=(250, 500, 750, 1000),
    )
    return replace(good, **changes)


def rows(
    count: int = 1000,
    *,
    loss: Callable[[int], float] = lambda step: 0.5,
    norm: Callable[[int], float] = lambda step: 0.2,
    seconds: float = 0.2,
) -> list[dict[str, float]]:
    """Updates with the scatter that random noise levels give a loss."""
    return [
        {
            "step": step,
            "loss": loss(step) * (1 + 0.6 * ((step * 37) % 101 / 50 - 1)),
            "grad_norm": norm(step),
            "seconds": seconds,
            "learning_rate": 1e-4,
        }
        for step in range(1, count + 1)
    ]


def measured(losses: Sequence[float], every: int = 250, **levels: Sequence[float]) -> list[dict[str, float]]:
    """Rows of held-out pictures every so many steps, from step 0 on; levels are given as `s01=...` for noise 0.1."""
    return [
        {
            "step": number * every,
            "loss": loss,
            **{f"sigma_0.{name[2:]}": values[number] for name, values in levels.items()},
        }
        for number, loss in enumerate(losses)
    ]


def drifted(*lights: str, every: int = 100) -> list[dict[str, Any]]:
    """Rows of the drift meter with these lights."""
    scores = {"green": 0.1, "yellow": 0.3, "red": 0.6}
    return [
        {"step": every * (number + 1), "score": scores[light], "light": light, "changes": {"0.5": 0.1}, "guard": None}
        for number, light in enumerate(lights)
    ]
