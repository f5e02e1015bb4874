"""Turning a LoRA away from inputs that are not its business, after training and in closed form.

A linear with a LoRA adds B A x. Over inputs x that the concept brings (second moment C) and inputs that unrelated
prompts bring (second moment U), the A' that minimises

    E_C |(A' - A) x|^2 + amount E_U |A' x|^2    is    A' = A C (C + amount U)^-1

for any B of full rank, because B then only turns and scales what both sides count. Directions that only the concept
brings stay, those that both bring alike shrink to 1 / (1 + amount), those that only unrelated prompts bring vanish. The
rank stays. Both moments are divided by their trace, so that it matters where inputs point and not how long they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from slipstream.adapters.branches import shape_of

_RIDGE = 1e-5
"""Share of the mean second moment that every direction is given: one that neither side brings stays as it is."""


def projected(a_RD: Tensor, concept_DD: Tensor, unrelated_DD: Tensor, amount: float) -> Tensor:
    """A' (rank, in) from A and the second moments of the inputs; `amount` 0 leaves A as it is."""
    concept, unrelated = (_scaled(moment).double() for moment in (concept_DD, unrelated_DD))
    concept += _RIDGE / len(concept) * torch.eye(len(concept), device=concept.device, dtype=torch.float64)
    # A' (C + amount U) = A C, both sides transposed: all matrices but A are symmetric
    return torch.linalg.solve(concept + amount * unrelated, concept @ a_RD.double().T).T.to(a_RD.dtype)


def _scaled(moment_DD: Tensor) -> Tensor:
    trace = moment_DD.diagonal().sum()
    return moment_DD / trace if float(trace) else moment_DD


def second_moments(hosts: Mapping[str, nn.Module], predict: Callable[[], None]) -> dict[str, Tensor]:
    """E[x x'] (in, in), fp32, of the inputs x of each module over all tokens that pass while `predict` runs."""
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(hosts, 0)

    def watching(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().flatten(0, -2).float()
            found = x.T @ x
            sums[name] = sums[name].add_(found) if name in sums else found
            counts[name] += len(x)

        return watch

    handles = [module.register_forward_pre_hook(watching(name)) for name, module in hosts.items()]
    try:
        predict()
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / counts[name] for name, total in sums.items()}


def in_groups(hosts: Mapping[str, nn.Module], most_bytes: int) -> Iterator[Sequence[str]]:
    """Names of modules whose two second moments fit into so many bytes together; one module is always a group."""
    group: list[str] = []
    taken = 0
    for name in hosts:
        needed = 2 * 4 * _width(hosts[name]) ** 2
        if group and taken + needed > most_bytes:
            yield group
            group, taken = [], 0
        group.append(name)
        taken += needed
    if group:
        yield group


def _width(host: nn.Module) -> int:
    base = host.base
    assert isinstance(base, nn.Module)
    return shape_of(base)[1]
