"""A few updates of two toy matrices, before any weights load: can this optimizer do what a run will ask of it?

Optimizers that are reached by their library's name may need a closure, a model, or a value that has no default; some
give every parameter group the same rate, and some keep a state that no checkpoint can hold. Said now, it costs
milliseconds; found out at the first save, it costs a run.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from slipstream.adapters.branches import ParameterGroup
from slipstream.core.errors import ConfigError
from slipstream.training.optimizer_state import pack_optimizer, restore_optimizer
from slipstream.training.optimizers import OptimizerChoice, build_optimizer

_CPU = torch.device("cpu")
_FACTOR = 0.25
_UPDATES = 3
_SAME = 0.05


@dataclass(frozen=True)
class _Toy:
    """Two equal matrices in two groups, of which the second has a quarter of the rate."""

    parameters: tuple[nn.Parameter, nn.Parameter]
    start: torch.Tensor
    optimizer: torch.optim.Optimizer

    def train(self, first: int, updates: int) -> None:
        """Updates `first`..., each with a gradient of its own, the same for both matrices."""
        for step in range(first, first + updates):
            gradient = _noise(step + 1)
            for parameter in self.parameters:
                parameter.grad = gradient.clone()
            torch.manual_seed(step)
            self.optimizer.step()

    @property
    def named(self) -> list[tuple[str, nn.Parameter]]:
        """The matrices by name."""
        return [(f"{place}.a", parameter) for place, parameter in enumerate(self.parameters)]

    def moved(self) -> tuple[float, float]:
        """How far each matrix is from its start."""
        first, second = ((parameter.detach() - self.start).norm().item() for parameter in self.parameters)
        return first, second


def rehearse(choice: OptimizerChoice, *, several_rates: bool) -> list[str]:
    """Try the optimizer on the CPU; returns remarks, one line each.

    Raises:
        ConfigError: it cannot be driven by plain updates, its state cannot be saved, or `several_rates` are asked for
            and it gives every group the same.
    """
    try:
        with _aside():
            toy = _toy(choice)
            toy.train(0, _UPDATES)
            first, second = toy.moved()
            resumes = _resumes(choice, toy)
    except ConfigError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ConfigError(
            f"{choice.name} cannot train a LoRA here: {reason}", where="training.optimizer",
            fix="give what it asks for in training.optimizer_args, or choose another optimizer.",
        ) from error  # fmt: skip
    if several_rates and first > 0 and abs(second / first - 1) < _SAME:
        raise ConfigError(
            f"{choice.name} gives all parameters one rate, so training.module_learning_rates and "
            "target.lora_plus_ratio would have no effect", where="training.optimizer",
            fix="leave these settings out, or choose another optimizer.",
        )  # fmt: skip
    return [] if resumes else [f"{choice.name}: a resumed run will not be bit-identical to an uninterrupted one"]


def _toy(choice: OptimizerChoice) -> _Toy:
    start = 0.3 * _noise(0)
    pair = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    groups = [ParameterGroup("toy", (one,), factor) for one, factor in zip(pair, (1.0, _FACTOR), strict=True)]
    return _Toy(pair, start, build_optimizer(choice, groups, _CPU))


def _resumes(choice: OptimizerChoice, toy: _Toy) -> bool:
    """Whether one that is restored goes on exactly as `toy` does."""
    saved = io.BytesIO()
    weights = [parameter.detach().clone() for parameter in toy.parameters]
    torch.save(pack_optimizer(toy.optimizer, toy.named), saved)
    saved.seek(0)
    other = _toy(choice)
    restore_optimizer(other.optimizer, torch.load(saved, weights_only=True))
    for parameter, weight in zip(other.parameters, weights, strict=True):
        parameter.data.copy_(weight)
    for one in (toy, other):
        one.train(_UPDATES, _UPDATES)
    return all(torch.equal(a, b) for a, b in zip(toy.parameters, other.parameters, strict=True))


def _noise(seed: int) -> torch.Tensor:
    return torch.randn(16, 24, generator=torch.Generator().manual_seed(seed))


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Without a trace in the global generator or on the screen."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
