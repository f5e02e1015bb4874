"""Which linears TARGET means in a model, from names alone: known before any weight is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from slipstream.adapters.patterns import Selection, select
from slipstream.config.run_config import RunConfig
from slipstream.config.target import block_numbers
from slipstream.training.optimizer_groups import module_factors


def chosen_linears(config: RunConfig, names: Sequence[str]) -> list[str]:
    """The linears that get a branch, of all linears of a model.

    Raises:
        AdapterError: a pattern, a part or a block means nothing in this model.
        ConfigError: a pattern of `training.module_learning_rates` fits none of the chosen ones.
    """
    target = config.target
    blocks = block_numbers(target.blocks)
    chosen = select(names, Selection(target.parts, target.target_modules, target.exclude_modules, blocks))
    module_factors(chosen, config.training.module_learning_rates)
    return chosen
