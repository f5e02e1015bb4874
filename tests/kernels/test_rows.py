"""The hand-written backward passes of row operations against autograd, and float8 codes against the dense rows."""

from __future__ import annotations

import pytest
import torch
from tests.kernels.row_cases import empty_output, randoms
from torch import Tensor

from slipstream.kernels import rows_torch as rows
from slipstream.kernels.row_output import Normed, RowOutput

BATCH, TOKENS, WIDTH, HEADS, HIDDEN, EPS = 2, 7, 48, 4, 40, 1e-5


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.reshape(b.shape), b, rtol=1e-4, atol=1e-5)


def output(width: int) -> RowOutput:
    return empty_output(BATCH * TOKENS, width)


def stream_case() -> list[Tensor]:
    x, branch, d_out, d_x = randoms(*[(BATCH, TOKENS, WIDTH)] * 4)
    factor, gate = randoms(*[(BATCH, WIDTH)] * 2, seed=4)
    return [x, branch, factor, gate, d_out, d_x]


def test_a_join_with_a_norm_after_it_has_autograd_s_gradients():
    x, branch, factor, gate, d_out, d_x = stream_case()
    leaves = [part.requires_grad_() for part in (x, branch, factor, gate)]
    joined = x + gate.unsqueeze(1) * rows.normalized(branch, EPS)[0]
    out = rows.normalized(joined, EPS)[0] * factor.unsqueeze(1)
    expected = torch.autograd.grad([out, joined], leaves, [d_out, d_x])
    x, branch, factor, gate = (part.detach() for part in leaves)

    normed_space, d_branch = output(WIDTH), output(WIDTH)
    normed = rows.join_norm_scale(x, branch, gate, factor, EPS, normed_space)
    assert close(normed.rows, joined)
    assert close(normed_space.dense, out)
    assert close(normed.rows * normed.inverse * factor.unsqueeze(1), out)
    d_factor, d_gate = torch.empty_like(factor), torch.empty_like(gate)
    found = rows.norm_scale_join_backward(d_out, d_x, normed, branch, gate, EPS, d_branch, d_factor, d_gate)
    for own, other in zip((found, d_branch.dense, d_factor, d_gate), expected, strict=True):
        assert close(own, other)


def test_both_halves_alone_are_what_they_are_together():
    x, branch, factor, gate, d_out, d_x = stream_case()
    together, alone = [output(WIDTH) for _ in range(2)], [output(WIDTH) for _ in range(2)]
    normed = rows.join_norm_scale(x, branch, gate, factor, EPS, together[0])
    joined = rows.join(x, branch, gate, EPS)
    assert torch.equal(joined, normed.rows)
    again = rows.norm_scale(joined, factor, EPS, alone[0])
    assert torch.equal(again.inverse, normed.inverse)
    found = rows.norm_scale_join_backward(d_out, d_x, normed, branch, gate, EPS, together[1], None, None)
    d_joined = rows.norm_scale_backward(d_out, d_x, normed, None)
    rows.join_backward(d_joined, branch, gate, EPS, alone[1], None)
    assert torch.equal(found, d_joined)
    assert all(torch.equal(a.dense, b.dense) for a, b in zip(together, alone, strict=True))


def test_query_key_and_value_have_autograd_s_gradient():
    width = WIDTH // HEADS
    (qkv, *d_parts) = randoms((BATCH, TOKENS, 3 * WIDTH), *[(BATCH, TOKENS, HEADS, width)] * 3)
    query_weight, key_weight, angle = randoms((width,), (width,), (TOKENS, width // 2), seed=4)
    cos, sin = angle.cos(), angle.sin()
    qkv.requires_grad_()
    query, key, value = (part.unflatten(-1, (HEADS, width)) for part in qkv.chunk(3, dim=-1))
    turned = [
        rows.rotated(rows.normalized(part, EPS)[0] * weight, cos, sin)
        for part, weight in ((query, query_weight), (key, key_weight))
    ]
    (expected,) = torch.autograd.grad([*turned, value], qkv, d_parts)
    qkv = qkv.detach()
    found = rows.head_norm_rotate(qkv, (query_weight, key_weight), cos, sin, EPS)
    assert all(close(a, b) and a.is_contiguous() for a, b in zip(found, turned, strict=True))
    d_qkv = output(3 * WIDTH)
    rows.head_norm_rotate_backward(tuple(d_parts), qkv, (query_weight, key_weight), cos, sin, EPS, d_qkv)
    assert close(d_qkv.dense, expected.flatten(0, 1))


def test_swiglu_backward_is_autograd_s_and_makes_the_hidden_values_again():
    up, d_hidden = randoms((BATCH, TOKENS, 2 * HIDDEN), (BATCH, TOKENS, HIDDEN))
    up.requires_grad_()
    gate, value = up.chunk(2, dim=-1)
    hidden = torch.nn.functional.silu(gate) * value
    (expected,) = torch.autograd.grad(hidden, up, d_hidden)
    found, forward = output(2 * HIDDEN), output(HIDDEN)
    again = rows.swiglu_backward(d_hidden, up.detach(), found)
    rows.swiglu(up.detach(), forward)
    assert again is not None
    assert rows.swiglu_backward(d_hidden, up.detach(), output(2 * HIDDEN), wants_hidden=False) is None
    assert close(found.dense, expected.flatten(0, 1))
    assert close(again, hidden)
    assert close(again.flatten(0, 1), forward.dense)


@pytest.mark.parametrize("with_columns", [False, True])
def test_codes_times_their_scale_are_the_dense_rows(with_columns):
    (values,) = randoms((BATCH, TOKENS, HEADS, WIDTH // HEADS))
    values *= torch.logspace(-6, 6, BATCH * TOKENS).view(BATCH, TOKENS, 1, 1)
    values[0, 0] = 0
    out = empty_output(BATCH * TOKENS, WIDTH, float8=True, with_columns=with_columns)
    rows.fill(values.transpose(1, 2).contiguous().transpose(1, 2), out)
    assert torch.equal(out.dense, values.flatten(0, 1).flatten(1))
    assert out.codes is not None
    assert out.scale is not None
    expected = out.dense if out.columns is None else out.dense * out.columns
    largest = expected.abs().amax(-1, keepdim=True)
    assert close(out.scale[1:] * rows.LARGEST_CODE, largest[1:])
    # half a step of e4m3: a sixteenth of the number, or of the smallest normal number
    error = (out.codes.float() * out.scale - expected).abs()
    assert (error <= (expected.abs() / 16).clamp(min=2**-10 * largest / rows.LARGEST_CODE) * 1.001).all()
    assert not out.codes[0].float().any()


def test_a_norm_tells_what_it_was_made_of():
    x, _, factor, *_ = stream_case()
    normed = rows.norm_scale(x, factor, EPS, output(WIDTH))
    assert isinstance(normed, Normed)
    assert normed.rows is x
    assert normed.inverse.shape == (BATCH, TOKENS, 1)
