"""Learning rates by module: patterns and factors become a factor for each module's name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping

from slipstream.adapters.patterns import matches
from slipstream.core.errors import ConfigError


def module_factors(modules: Collection[str], rates: Mapping[str, float]) -> Callable[[str], float]:
    """Module name -> factor on the learning rate: the product of all patterns' factors that fit, else 1.

    Args:
        modules: names of the modules that have a branch.
        rates: pattern (a name's end such as `to_q`, or a glob such as `layers.0.*`) to factor.

    Raises:
        ConfigError: a pattern fits no module.
    """
    for pattern in rates:
        if not any(matches(pattern, module) for module in modules):
            raise _fits_nothing(pattern, modules)

    def factor(module: str) -> float:
        product = 1.0
        for pattern, rate in rates.items():
            product *= rate if matches(pattern, module) else 1.0
        return product

    return factor


def _fits_nothing(pattern: str, modules: Collection[str]) -> ConfigError:
    ends = sorted({".".join(module.split(".")[2:]) or module for module in modules})
    near = difflib.get_close_matches(pattern, ends, n=1, cutoff=0.5)
    return ConfigError(
        f"the pattern {pattern!r} fits no module of the LoRA", where="training.module_learning_rates",
        fix=f"did you mean {near[0]!r}?" if near else f"its modules end in {', '.join(ends)}.",
    )  # fmt: skip
