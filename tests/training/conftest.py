"""A LoRA beside tiny/turbo, seeded batches for it, and a cheap LoRA for tests of what is around the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.inject import inject_lora, select_targets

CPU = torch.device("cpu")
CAPTIONS = (
    "a noto emoji of cat",
    "",
    "a blob emoji of a very long caption " + "with many more words than the other captions have " * 4,
    "a twemoji emoji of fire",
)


def randomize(lora: BranchSet, std: float = 0.02, seed: int = 0) -> None:
    """Put every A and B off its start, so that both have a gradient."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in lora.parameters():
        nn.init.normal_(parameter, std=std, generator=generator)


@dataclass(frozen=True)
class Bench:
    """A LoRA on the tiny model with four samples to train on."""

    transformer: nn.Module
    lora: BranchSet
    predict: Callable[[Tensor, Tensor, list[Tensor]], Tensor]
    latents: Tensor
    texts: list[Tensor]

    def batch(self, rows: list[int]) -> Any:
        from slipstream.data.loader import TrainingBatch

        return TrainingBatch(self.latents[rows], [self.texts[row] for row in rows], tuple(rows))

    def settings(self, **changes: Any) -> Any:
        """Plain settings with changes, whichever of the three dataclasses they belong to."""
        from slipstream.flow.densities import NoiseLevels
        from slipstream.objectives.settings import ObjectiveSettings
        from slipstream.training.step import StepSettings

        def mine(kind: type) -> dict[str, Any]:
            return {name: changes.pop(name) for name in list(changes) if name in kind.__dataclass_fields__}

        settings = StepSettings(
            seed=7, gradient_accumulation=1, samples_per_step=4, max_grad_norm=0.0, device=CPU,
            levels=NoiseLevels(**{"timestep_type": "sigmoid", **mine(NoiseLevels)}),
            objective=ObjectiveSettings(**mine(ObjectiveSettings)),
        )  # fmt: skip
        return replace(settings, **changes)

    def state(self, optimizer: torch.optim.Optimizer | None = None, ema: Any = None) -> Any:
        from slipstream.training.checkpoint import TrainingState

        return TrainingState(self.lora, optimizer or torch.optim.SGD(self.lora.parameters(), lr=0.0), ema)

    @property
    def model(self) -> Any:
        """What an objective sees."""
        from slipstream.objectives.objective import Model
        from slipstream.training.step import without_lora

        return Model(self.predict, without_lora(self.predict, self.lora), self.texts[1])

    def gradients(self) -> Tensor:
        """All gradients of the LoRA as one vector."""
        return torch.cat([parameter.grad.flatten() for parameter in self.lora.parameters()])

    def weights(self) -> Tensor:
        """All weights of the LoRA as one vector, copied."""
        return torch.cat([parameter.detach().flatten() for parameter in self.lora.parameters()])


@pytest.fixture
def bench(tiny, fresh_transformer) -> Bench:
    from slipstream.models.z_image.family import predictor

    names = select_targets(fresh_transformer, "layers", ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3"))
    lora = inject_lora(fresh_transformer, names, rank=4, alpha=4.0, seed=1)
    randomize(lora)
    latents = torch.randn(4, 16, 8, 8, generator=torch.Generator().manual_seed(11))
    texts = [tiny.features(caption) for caption in CAPTIONS]
    return Bench(fresh_transformer, lora, predictor(fresh_transformer), latents, texts)


@dataclass(frozen=True)
class Small:
    """Two linears with a LoRA whose A matrices reach the size at which 8-bit optimizer states begin."""

    model: nn.Sequential
    lora: BranchSet

    def train(self, state: Any, updates: int) -> None:
        """Seeded updates; what update n does depends on n and on the state alone."""
        for _ in range(updates):
            state.optimizer.zero_grad()
            x = torch.randn(8, 256, generator=torch.Generator().manual_seed(state.step))
            (self.model(x) - x[:, :64]).square().mean().backward()
            state.optimizer.step()
            if state.ema is not None:
                state.ema.update()
            state.step += 1


@pytest.fixture
def small() -> Callable[[], Small]:
    """A maker of equal small models."""

    def make() -> Small:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(256, 128), nn.SiLU(), nn.Linear(128, 64))
        return Small(model, inject_lora(model, ["0", "2"], rank=32, alpha=16.0, seed=3))

    return make
