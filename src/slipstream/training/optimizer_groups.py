"""Which parameters learn at which rate: LoRA+ and rates by module, as groups with a factor each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from slipstream.core.errors import ConfigError

NamedParameters = Sequence[tuple[str, nn.Parameter]]
"""(`<module>.a` or `<module>.b`, parameter) in a stable order."""


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a factor on the learning rate; `matrices` says whether all are two-dimensional."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    lr_factor: float
    matrices: bool


def parameter_groups(
    named: NamedParameters,
    *,
    lora_plus_ratio: float | None = None,
    module_rates: Mapping[str, float] | None = None,
    by_matrix: bool = False,
) -> list[ParameterGroup]:
    """Groups by factor, in order of first appearance; where nothing is set, one group with factor 1.

    A parameter's factor is the product of `lora_plus_ratio` (B matrices only; Hayou et al. 2024, arXiv 2402.12354) and
    of every pattern of `module_rates` that fits its module: a name's end (`to_q`, `attention.to_q`) or a glob
    (`layers.0.*`).

    Args:
        named: parameters by name.
        lora_plus_ratio: rate of B over rate of A, or None.
        module_rates: pattern to factor.
        by_matrix: also keep matrices and other parameters apart.

    Raises:
        ConfigError: a pattern fits no module.
    """
    rates = module_rates or {}
    _require_matches(named, rates)
    members: dict[tuple[float, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in named:
        module, _, part = name.rpartition(".")
        factor = lora_plus_ratio if lora_plus_ratio is not None and part == "b" else 1.0
        for pattern, rate in rates.items():
            factor *= rate if fits(module, pattern) else 1.0
        members.setdefault((factor, parameter.ndim == 2 or not by_matrix), []).append((name, parameter))
    return [
        ParameterGroup(tuple(n for n, _ in pairs), tuple(p for _, p in pairs), factor, matrices)
        for (factor, matrices), pairs in members.items()
    ]


def fits(module: str, pattern: str) -> bool:
    """Whether a module's name ends in the pattern, or the pattern is a glob that fits its name or its end."""
    return fnmatchcase(module, pattern) or fnmatchcase(module, f"*.{pattern}")


def _require_matches(named: NamedParameters, rates: Mapping[str, float]) -> None:
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in named))
    for pattern in rates:
        if any(fits(module, pattern) for module in modules):
            continue
        ends = sorted({".".join(module.split(".")[2:]) or module for module in modules})
        near = difflib.get_close_matches(pattern, ends, n=1, cutoff=0.5)
        raise ConfigError(
            f"the pattern {pattern!r} fits no module of the LoRA", where="training.module_learning_rates",
            fix=f"did you mean {near[0]!r}?" if near else f"its modules end in {', '.join(ends)}.",
        )  # fmt: skip
