"""The training panel's optimizer, schedule and EMA as plain values, and the state they make of a fresh LoRA."""

from __future__ import annotations

from dataclasses import replace

import torch

from slipstream.adapters.branches import BranchSet
from slipstream.config.run_config import RunConfig
from slipstream.training.checkpoint import TrainingState
from slipstream.training.ema import Ema
from slipstream.training.optimizer_groups import module_factors
from slipstream.training.optimizer_rehearsal import rehearse
from slipstream.training.optimizers import (
    LIBRARY,
    OptimizerChoice,
    OptimizerSettings,
    build_optimizer,
    choose_optimizer,
)
from slipstream.training.schedules import Schedule, learning_rate_factor


def settle_optimizer(config: RunConfig) -> OptimizerChoice:
    """The optimizer, found and checked; one that is reached by its library's name or with arguments is also tried.

    Raises:
        ConfigError: there is no such optimizer or argument, or it cannot train a LoRA.
        DeviceError: its library does not load here.
    """
    training = config.training
    choice = choose_optimizer(
        OptimizerSettings(
            name=training.optimizer,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            beta1=training.beta1,
            beta2=training.beta2,
            eps=training.eps,
            arguments=training.optimizer_args,
        )
    )
    several = bool(training.module_learning_rates) or config.target.lora_plus_ratio is not None
    if not (several or training.optimizer_args or training.optimizer.startswith(f"{LIBRARY}/")):
        return choice
    return replace(choice, notes=(*choice.notes, *rehearse(choice, several_rates=several)))


def fresh_state(config: RunConfig, lora: BranchSet, choice: OptimizerChoice, device: torch.device) -> TrainingState:
    """A LoRA with its optimizer and EMA before the first update.

    Raises:
        ConfigError: a pattern of `module_learning_rates` fits no module.
    """
    training = config.training
    factors = module_factors(lora.branches, training.module_learning_rates)
    groups = lora.parameter_groups(factors, lora_plus_ratio=config.target.lora_plus_ratio)
    ema = None
    if training.ema is not None:
        ema = Ema(lora.parameters(), training.ema.decay, _warmup_steps(training.ema.warmup))
    return TrainingState(lora, build_optimizer(choice, groups, device), ema)


def rate_at(config: RunConfig, step: int) -> float:
    """The learning rate of update `step` (0-based), before factors of groups."""
    training = config.training
    schedule = Schedule(
        name=training.lr_schedule,
        steps=training.steps,
        warmup_steps=training.warmup_steps,
        min_fraction=training.min_lr_fraction,
        restarts=training.lr_restarts,
        power=training.lr_power,
    )
    return training.learning_rate * learning_rate_factor(schedule, step)


def _warmup_steps(warmup: bool | int) -> int | None:
    """`Ema`'s argument: None without warm-up, 0 by the usual rule, else its length."""
    if isinstance(warmup, bool):
        return 0 if warmup else None
    return warmup
