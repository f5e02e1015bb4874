"""Row operations of a transformer block in plain torch: the reference, and what runs without a GPU.

Everything is computed in fp32 and rounded once at the end. Shape legend: B batch, S tokens, D width, N heads, F width
of the feed-forward, E = D / N.
"""

from __future__ import annotations

import torch
from torch import Tensor


def normalized(x_BSD: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(x / rms(x), 1 / rms(x)) in fp32; the mean square is taken over the last axis."""
    x = x_BSD.float()
    inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return x * inverse, inverse


def norm_backward(d_normed: Tensor, normed: Tensor, inverse: Tensor) -> Tensor:
    """Gradient of `normalized`: inverse * (d - normed * mean(d * normed)), fp32."""
    return inverse * (d_normed - normed * (d_normed * normed).mean(-1, keepdim=True))


def norm_scale(x_BSD: Tensor, weight_D: Tensor, scale_BD: Tensor, eps: float, out: Tensor) -> None:
    """out = normalized(x) * weight * (1 + scale)."""
    normed, _ = normalized(x_BSD, eps)
    out.copy_(normed * weight_D.float() * (1 + scale_BD.float().unsqueeze(1)))


def norm_scale_backward(
    d_out_BSD: Tensor, d_x_BSD: Tensor, x_BSD: Tensor, weight_D: Tensor, scale_BD: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """(d_x + gradient through `norm_scale`, d_scale (B, D) fp32); `d_x` is what reaches x beside the norm."""
    normed, inverse = normalized(x_BSD, eps)
    d_out, weight = d_out_BSD.float(), weight_D.float()
    d_scale = (d_out * normed * weight).sum(1)
    d_normed = d_out * weight * (1 + scale_BD.float().unsqueeze(1))
    return (d_x_BSD.float() + norm_backward(d_normed, normed, inverse)).type_as(x_BSD), d_scale


def join(x_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, branch_weight_D: Tensor, eps: float) -> Tensor:
    """x + gate * normalized(branch) * branch_weight: a sublayer's output joins the stream."""
    normed, _ = normalized(branch_BSD, eps)
    return (x_BSD.float() + gate_BD.float().unsqueeze(1) * normed * branch_weight_D.float()).type_as(x_BSD)


def join_backward(
    d_joined_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, branch_weight_D: Tensor, eps: float, out: Tensor
) -> Tensor:
    """out = gradient of the branch; returns d_gate (B, D) fp32. The stream's own gradient is `d_joined` unchanged."""
    normed, inverse = normalized(branch_BSD, eps)
    d_joined, weight = d_joined_BSD.float(), branch_weight_D.float()
    d_gate = (d_joined * normed * weight).sum(1)
    d_normed = d_joined * gate_BD.float().unsqueeze(1) * weight
    out.copy_(norm_backward(d_normed, normed, inverse))
    return d_gate


def rotated(x_BSNE: Tensor, cos_SR: Tensor, sin_SR: Tensor) -> Tensor:
    """Interleaved pairs of the last axis turned by the angles; the inverse is `sin` negated."""
    even, odd = x_BSNE.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos_SR.unsqueeze(-2), sin_SR.unsqueeze(-2)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def head_norm_rotate(x_BSNE: Tensor, weight_E: Tensor, cos_SR: Tensor, sin_SR: Tensor, eps: float, out: Tensor) -> None:
    """out = rotated(normalized(x) * weight), head by head."""
    normed, _ = normalized(x_BSNE, eps)
    out.copy_(rotated(normed * weight_E.float(), cos_SR, sin_SR))


def head_norm_rotate_backward(
    d_out_BSNE: Tensor, x_BSNE: Tensor, weight_E: Tensor, cos_SR: Tensor, sin_SR: Tensor, eps: float, out: Tensor
) -> None:
    """out = gradient of `head_norm_rotate` for x."""
    normed, inverse = normalized(x_BSNE, eps)
    out.copy_(norm_backward(rotated(d_out_BSNE, cos_SR, -sin_SR) * weight_E.float(), normed, inverse))


def swiglu(up_BSF2: Tensor, out: Tensor) -> None:
    """out = silu(first half) * second half."""
    gate, value = up_BSF2.float().chunk(2, dim=-1)
    out.copy_(torch.nn.functional.silu(gate) * value)


def swiglu_backward(d_hidden_BSF: Tensor, up_BSF2: Tensor, out: Tensor, hidden_out: Tensor) -> None:
    """out = gradient (B, S, 2F) of `swiglu`; its output is made again into `hidden_out`."""
    gate, value = up_BSF2.float().chunk(2, dim=-1)
    d_hidden = d_hidden_BSF.float()
    sigmoid = torch.sigmoid(gate)
    silu = gate * sigmoid
    hidden_out.copy_(silu * value)
    d_gate = d_hidden * value * sigmoid * (1 + gate * (1 - sigmoid))
    out.copy_(torch.cat((d_gate, d_hidden * silu), dim=-1))
