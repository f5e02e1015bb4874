"""Flat gradients are the parameters' own, and cost one operation where there were hundreds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slipstream.training.gradients import FlatGradients


@pytest.fixture
def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(shape)) for shape in ((3, 4), (5,), (2, 2, 2))]


def loss_of(parameters: list[nn.Parameter]) -> torch.Tensor:
    return torch.stack([(parameter**3).sum() for parameter in parameters]).sum()


def test_backward_passes_add_to_the_views(parameters):
    gradients = FlatGradients(parameters)
    loss_of(parameters).backward()
    loss_of(parameters).backward()
    for parameter in parameters:
        torch.testing.assert_close(parameter.grad, 6 * parameter.detach() ** 2)
    gradients.zero()
    assert not any(parameter.grad.any() for parameter in parameters)


def test_a_view_that_was_thrown_away_comes_back(parameters):
    gradients = FlatGradients(parameters)
    torch.optim.SGD(parameters, lr=0.1).zero_grad(set_to_none=True)
    gradients.zero()
    loss_of(parameters).backward()
    assert float(gradients.norm()) > 0


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_norm_and_clipping_equal_torch_s(parameters, limit):
    gradients = FlatGradients(parameters)
    loss_of(parameters).backward()
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    loss_of(copies).backward()
    norm = gradients.norm()
    torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(copies, limit))
    gradients.clip(norm, limit)
    for parameter, copy in zip(parameters, copies, strict=True):
        torch.testing.assert_close(parameter.grad, copy.grad)
