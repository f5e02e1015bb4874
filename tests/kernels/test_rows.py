"""The hand-written backward passes of row operations against autograd, in fp64-like closeness on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from slipstream.kernels import rows_torch as rows

BATCH, TOKENS, WIDTH, HEADS, HIDDEN, EPS = 2, 7, 48, 4, 40, 1e-5


def randoms(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_norm_scale_backward_is_autograd_s():
    x, weight, scale, d_out, d_x = randoms(
        (BATCH, TOKENS, WIDTH), (WIDTH,), (BATCH, WIDTH), (BATCH, TOKENS, WIDTH), (BATCH, TOKENS, WIDTH)
    )
    x.requires_grad_()
    scale.requires_grad_()
    normed, _ = rows.normalized(x, EPS)
    out = normed * weight * (1 + scale.unsqueeze(1))
    expected_x, expected_scale = torch.autograd.grad(out, (x, scale), d_out)
    found_x, found_scale = rows.norm_scale_backward(d_out, d_x, x.detach(), weight, scale.detach(), EPS)
    assert close(found_x, expected_x + d_x)
    assert close(found_scale, expected_scale)
    filled = torch.empty_like(d_x)
    rows.norm_scale(x.detach(), weight, scale.detach(), EPS, filled)
    assert close(filled, out)


def test_join_backward_is_autograd_s():
    x, branch, gate, weight, d_joined = randoms(
        (BATCH, TOKENS, WIDTH), (BATCH, TOKENS, WIDTH), (BATCH, WIDTH), (WIDTH,), (BATCH, TOKENS, WIDTH)
    )
    branch.requires_grad_()
    gate.requires_grad_()
    normed, _ = rows.normalized(branch, EPS)
    joined = x + gate.unsqueeze(1) * normed * weight
    expected_branch, expected_gate = torch.autograd.grad(joined, (branch, gate), d_joined)
    found = torch.empty_like(x)
    d_gate = rows.join_backward(d_joined, branch.detach(), gate.detach(), weight, EPS, found)
    assert close(found, expected_branch)
    assert close(d_gate, expected_gate)
    assert close(rows.join(x, branch.detach(), gate.detach(), weight, EPS), joined)


def test_head_norm_rotate_backward_is_autograd_s():
    width = WIDTH // HEADS
    x, weight, angle, d_out = randoms(
        (BATCH, TOKENS, HEADS, width), (width,), (TOKENS, width // 2), (BATCH, TOKENS, HEADS, width)
    )
    x.requires_grad_()
    normed, _ = rows.normalized(x, EPS)
    (expected,) = torch.autograd.grad(rows.rotated(normed * weight, angle.cos(), angle.sin()), x, d_out)
    found = torch.empty_like(d_out)
    rows.head_norm_rotate_backward(d_out, x.detach(), weight, angle.cos(), angle.sin(), EPS, found)
    assert close(found, expected)


def test_swiglu_backward_is_autograd_s_and_makes_the_hidden_values_again():
    up, d_hidden = randoms((BATCH, TOKENS, 2 * HIDDEN), (BATCH, TOKENS, HIDDEN))
    up.requires_grad_()
    gate, value = up.chunk(2, dim=-1)
    hidden = torch.nn.functional.silu(gate) * value
    (expected,) = torch.autograd.grad(hidden, up, d_hidden)
    found, again, forward = torch.empty_like(up), torch.empty_like(d_hidden), torch.empty_like(d_hidden)
    rows.swiglu_backward(d_hidden, up.detach(), found, again)
    rows.swiglu(up.detach(), forward)
    assert close(found, expected)
    assert close(again, hidden)
    assert close(again, forward)
