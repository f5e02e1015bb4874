"""Optimizers by name: both step on the CPU, and each does what AdamW says."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import nn

from slipstream.core.errors import DeviceError
from slipstream.training.optimizers import build_optimizer

CPU = torch.device("cpu")


def build(name: str, parameters: list[nn.Parameter], weight_decay: float = 0.0) -> torch.optim.Optimizer:
    return build_optimizer(
        name, parameters, learning_rate=0.01, weight_decay=weight_decay, betas=(0.9, 0.999), eps=1e-8, device=CPU
    )


@pytest.mark.parametrize("name", ["adamw", "adamw8bit"])
@pytest.mark.parametrize("size", [64, 8192], ids=["small", "large"])
def test_the_first_step_moves_by_the_learning_rate_against_the_gradient(name, size):
    """Adam's first step is lr * g / (|g| + eps), and AdamW first shrinks the weight by lr * weight_decay."""
    weight = nn.Parameter(torch.linspace(-1, 1, size))
    before = weight.detach().clone()
    gradient = torch.linspace(1, 2, size) * torch.where(torch.arange(size) % 2 == 0, 1.0, -1.0)
    optimizer = build(name, [weight], weight_decay=0.5)
    weight.grad = gradient
    optimizer.step()
    expected = before * (1 - 0.01 * 0.5) - 0.01 * gradient.sign()
    torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=2e-4 if name == "adamw8bit" else 1e-6)


@pytest.mark.parametrize("name", ["adamw", "adamw8bit"])
def test_it_finds_a_minimum(name):
    target = torch.randn(8192, generator=torch.Generator().manual_seed(0)) * 0.1
    weight = nn.Parameter(torch.zeros(8192))
    optimizer = build(name, [weight])
    for _ in range(100):
        optimizer.zero_grad()
        (weight - target).square().mean().backward()
        optimizer.step()
    assert math.sqrt((weight.detach() - target).square().mean()) < 0.02


def test_large_8bit_states_are_bytes_and_adamw_states_are_fp32():
    sizes = {}
    for name in ("adamw", "adamw8bit"):
        weight = nn.Parameter(torch.zeros(8192))
        optimizer = build(name, [weight])
        weight.grad = torch.ones(8192)
        optimizer.step()
        states = [s for s in optimizer.state[weight].values() if isinstance(s, torch.Tensor) and s.numel() == 8192]
        sizes[name] = [s.element_size() for s in states]
    assert sizes == {"adamw": [4, 4], "adamw8bit": [1, 1]}


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match=r"lion.*known: adamw, adamw8bit"):
        build("lion", [nn.Parameter(torch.zeros(2))])


def test_missing_bitsandbytes_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(DeviceError, match="bitsandbytes") as caught:
        build("adamw8bit", [nn.Parameter(torch.zeros(2))])
    assert "adamw" in (caught.value.fix or "")
