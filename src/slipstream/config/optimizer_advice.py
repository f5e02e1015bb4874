"""Soft warnings about the optimizer: each kind wants its own learning rate, schedule and clipping."""

from __future__ import annotations

from collections.abc import Iterator

from slipstream.config.optimizers import finds_its_rate, is_schedule_free
from slipstream.config.run_config import RunConfig

LION_TOO_HIGH = CAME_TOO_HIGH = 1e-4
MUON_RATE = 3e-4


def optimizer_advice(config: RunConfig) -> Iterator[str]:
    """What the chosen optimizer wants otherwise than AdamW, one sentence or two each."""
    training = config.training
    name, rate = training.optimizer, training.learning_rate
    if finds_its_rate(name) and rate != 1:
        yield (
            f"training.learning_rate {rate:g} with {name}: it finds the step size itself and multiplies it by this. "
            "Use 1.0; to train more or less strongly set d_coef in training.optimizer_args to 0.5 or 2."
        )
    if name in ("lion", "lion8bit") and rate >= LION_TOO_HIGH:
        yield f"training.learning_rate {rate:g} with {name}: every update has full size, so use 1e-5 to 3e-5."
    if is_schedule_free(name):
        if training.lr_schedule != "constant":
            yield (
                f"training.lr_schedule {training.lr_schedule} with {name}: its average of the weights does what a "
                "falling rate would. Use constant."
            )
        if training.ema is not None:
            yield f"training.ema with {name}: it averages the weights already. Leave ema out."
    if name == "prodigy_schedulefree" and training.max_grad_norm > 0:
        yield (
            f"training.max_grad_norm {training.max_grad_norm:g} with {name}: it limits its updates itself, and "
            "clipping hides the gradient's size from its estimate. Use 0."
        )
    if name == "prodigy" and training.lr_schedule == "cosine_restarts":
        yield f"training.lr_schedule cosine_restarts with {name}: restarts confuse its estimate. Use constant."
    if name == "muon" and rate < MUON_RATE:
        yield (
            f"training.learning_rate {rate:g} with muon: its updates are small in every entry, so it wants about three "
            f"times AdamW's rate. Use {MUON_RATE:g}."
        )
    if name == "came" and rate >= CAME_TOO_HIGH:
        yield (
            f"training.learning_rate {rate:g} with came: its first updates are many times larger than AdamW's. Use "
            "1e-5 to 3e-5, with warmup_steps of 50 or more."
        )
