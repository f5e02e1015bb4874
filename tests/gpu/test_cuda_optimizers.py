"""Every optimizer on CUDA: it moves as on the CPU at first, and a restored one goes on bit for bit."""

from __future__ import annotations

import io
from typing import get_args

import pytest
import torch
from torch import nn

from slipstream.adapters.branches import ParameterGroup
from slipstream.training.optimizer_state import averaged, pack_optimizer, restore_optimizer
from slipstream.training.optimizers import OptimizerName, OptimizerSettings, build_optimizer, choose_optimizer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

NAMES = get_args(OptimizerName)


LIBRARIES = {"adamw8bit": "bitsandbytes", "lion8bit": "bitsandbytes", "prodigy_schedulefree": "prodigyplus"}


@pytest.fixture(autouse=True)
def _library(name: str) -> None:
    """Machines without an optimizer's library skip it."""
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])


class Toy:
    """A matrix that is large enough for 8-bit states, a small one, and a vector, with seeded gradients."""

    def __init__(self, name: str, device: str) -> None:
        rate = 1.0 if name.startswith("prodigy") else 1e-2
        sizes = ((64, 128), (4, 8), (64,))
        self.device = torch.device(device)
        self.parameters = [nn.Parameter(0.1 * noise(size, -1).to(device)) for size in sizes]
        choice = choose_optimizer(OptimizerSettings(name, rate, weight_decay=1e-2))
        groups = [ParameterGroup("all", tuple(self.parameters), 1.0)]
        self.optimizer = build_optimizer(choice, groups, self.device)

    @property
    def named(self) -> list[tuple[str, nn.Parameter]]:
        return [(str(place), parameter) for place, parameter in enumerate(self.parameters)]

    def train(self, first: int, last: int) -> None:
        for step in range(first, last):
            for parameter in self.parameters:
                parameter.grad = noise(tuple(parameter.shape), step).to(self.device)
            torch.manual_seed(step)
            self.optimizer.step()

    def weights(self) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten().cpu() for parameter in self.parameters])


def noise(size: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed + 2))


@pytest.mark.parametrize("name", NAMES)
def test_it_moves_as_on_the_cpu(name):
    here, there = Toy(name, "cpu"), Toy(name, "cuda")
    start = here.weights()
    for toy in (here, there):
        toy.train(0, 3)
    moved, expected = there.weights() - start, here.weights() - start
    assert torch.nn.functional.cosine_similarity(moved, expected, dim=0) > 0.98


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_one_goes_on_bit_for_bit(name):
    whole = Toy(name, "cuda")
    whole.train(0, 4)
    weights = [parameter.detach().clone() for parameter in whole.parameters]
    saved = io.BytesIO()
    torch.save(pack_optimizer(whole.optimizer, whole.named), saved)
    saved.seek(0)
    with averaged(whole.optimizer):
        pass
    whole.train(4, 8)
    resumed = Toy(name, "cuda")
    restore_optimizer(resumed.optimizer, torch.load(saved, map_location="cpu", weights_only=True))
    for parameter, weight in zip(resumed.parameters, weights, strict=True):
        parameter.data.copy_(weight)
    resumed.train(4, 8)
    assert torch.equal(resumed.weights(), whole.weights())
