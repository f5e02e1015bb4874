"""Row operations of a transformer block in plain torch: the reference, and what runs without a GPU.

Everything is computed in fp32 and rounded once at the end. A `factor` or `gate` is a norm's weight times what the
sample's modulation makes of it: one fp32 number per sample and column. What feeds a matrix product goes into its
`RowOutput`, dense and, where the product wants it, in float8.

Shape legend: B batch, S tokens, D width, H heads, E = D / H, F width of the feed-forward, P = E / 2 pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slipstream.kernels.row_output import Normed, RowOutput

LARGEST_CODE = 448.0
"""The largest finite number of float8 e4m3."""
SMALLEST_ROW = 1e-30
"""A row whose largest number is below this is zero in float8."""


def normalized(x_BSD: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(x / rms(x), 1 / rms(x)) in fp32; the mean square is taken over the last axis."""
    x = x_BSD.float()
    inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return x * inverse, inverse


def norm_backward(d_normed: Tensor, normed: Tensor, inverse: Tensor) -> Tensor:
    """Gradient of `normalized`: inverse * (d - normed * mean(d * normed)), fp32."""
    return inverse * (d_normed - normed * (d_normed * normed).mean(-1, keepdim=True))


def write(values: Tensor, out: RowOutput) -> None:
    """Round values into `out.dense`, and the rounded ones into its float8 codes if it has any."""
    out.dense.copy_(values.reshape(out.dense.shape))
    if out.codes is None or out.scale is None:
        return
    rounded = out.dense.float()
    if out.columns is not None:
        rounded = rounded * out.columns
    largest = rounded.abs().amax(-1, keepdim=True).clamp(min=SMALLEST_ROW)
    out.scale.copy_(largest / LARGEST_CODE)
    codes = (rounded * (LARGEST_CODE / largest)).clamp(-LARGEST_CODE, LARGEST_CODE)
    out.codes.copy_(codes.to(out.codes.dtype))


def fill(rows_BSHE: Tensor, out: RowOutput) -> None:
    """out = rows, heads side by side: for rows that no operation here makes (what attention puts out)."""
    write(rows_BSHE, out)


def norm_scale(x_BSD: Tensor, factor_BD: Tensor, eps: float, out: RowOutput) -> Normed:
    """out = normalized(x) * factor."""
    normed, inverse = normalized(x_BSD, eps)
    write(normed * factor_BD.unsqueeze(1), out)
    return Normed(x_BSD, inverse, factor_BD)


def norm_scale_backward(d_out_BSD: Tensor, d_x_BSD: Tensor, normed: Normed, d_factor_BD: Tensor | None) -> Tensor:
    """d_x + gradient through `norm_scale`; `d_x` is what reaches x beside the norm.

    `d_factor` is filled with the factor's gradient, unless it is None.
    """
    d_out, unit = d_out_BSD.float(), normed.rows.float() * normed.inverse
    if d_factor_BD is not None:
        d_factor_BD.copy_((d_out * unit).sum(1))
    d_unit = d_out * normed.factor.unsqueeze(1)
    return (d_x_BSD.float() + norm_backward(d_unit, unit, normed.inverse)).type_as(normed.rows)


def join(x_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, eps: float) -> Tensor:
    """x + gate * normalized(branch): a sublayer's output joins the stream."""
    unit, _ = normalized(branch_BSD, eps)
    return (x_BSD.float() + gate_BD.unsqueeze(1) * unit).type_as(x_BSD)


def join_backward(
    d_joined_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, eps: float, out: RowOutput, d_gate_BD: Tensor | None
) -> None:
    """out = gradient of the branch. The stream's own gradient is `d_joined` unchanged.

    `d_gate` is filled with the gate's gradient, unless it is None.
    """
    unit, inverse = normalized(branch_BSD, eps)
    d_joined = d_joined_BSD.float()
    if d_gate_BD is not None:
        d_gate_BD.copy_((d_joined * unit).sum(1))
    write(norm_backward(d_joined * gate_BD.unsqueeze(1), unit, inverse), out)


def join_norm_scale(
    x_BSD: Tensor, branch_BSD: Tensor, gate_BD: Tensor, factor_BD: Tensor, eps: float, out: RowOutput
) -> Normed:
    """`join`, and `norm_scale` of what it makes."""
    return norm_scale(join(x_BSD, branch_BSD, gate_BD, eps), factor_BD, eps, out)


def norm_scale_join_backward(
    d_out_BSD: Tensor, d_x_BSD: Tensor, normed: Normed, branch_BSD: Tensor, gate_BD: Tensor, eps: float,
    out: RowOutput, d_factor_BD: Tensor | None, d_gate_BD: Tensor | None,
) -> Tensor:  # fmt: skip
    """Gradient of `join_norm_scale`: returns the stream's; out = the branch's."""
    d_joined = norm_scale_backward(d_out_BSD, d_x_BSD, normed, d_factor_BD)
    join_backward(d_joined, branch_BSD, gate_BD, eps, out, d_gate_BD)
    return d_joined


def rotated(x_BSHE: Tensor, cos_SP: Tensor, sin_SP: Tensor) -> Tensor:
    """Interleaved pairs of the last axis turned by the angles; the inverse is `sin` negated."""
    even, odd = x_BSHE.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos_SP.unsqueeze(-2), sin_SP.unsqueeze(-2)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def head_norm_rotate(
    qkv_BSN: Tensor, weights_E: tuple[Tensor, Tensor], cos_SP: Tensor, sin_SP: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """rotated(normalized(x) * weight), head by head, of the query and of the key: (B, S, H, E) each, contiguous."""
    width = weights_E[0].shape[0]
    turned = []
    for part, weight in zip(qkv_BSN.chunk(3, dim=-1), weights_E, strict=False):
        unit, _ = normalized(part.unflatten(-1, (-1, width)), eps)
        turned.append(rotated(unit * weight.float(), cos_SP, sin_SP).type_as(qkv_BSN))
    return turned[0], turned[1]


def head_norm_rotate_backward(
    d_qkv_BSHE: tuple[Tensor, Tensor, Tensor], qkv_BSN: Tensor, weights_E: tuple[Tensor, Tensor], cos_SP: Tensor,
    sin_SP: Tensor, eps: float, out: RowOutput,
) -> None:  # fmt: skip
    """out = gradient of the joint query, key and value; the value's passes unchanged."""
    width = weights_E[0].shape[0]
    parts = []
    for d_part, part, weight in zip(d_qkv_BSHE, qkv_BSN.chunk(3, dim=-1), weights_E, strict=False):
        unit, inverse = normalized(part.unflatten(-1, (-1, width)), eps)
        d_unit = rotated(d_part, cos_SP, -sin_SP) * weight.float()
        parts.append(norm_backward(d_unit, unit, inverse).flatten(-2))
    write(torch.cat((*parts, d_qkv_BSHE[2].flatten(-2).float()), dim=-1), out)


def swiglu(up_BSF2: Tensor, out: RowOutput) -> None:
    """out = silu(first half) * second half."""
    gate, value = up_BSF2.float().chunk(2, dim=-1)
    write(torch.nn.functional.silu(gate) * value, out)


def swiglu_backward(
    d_hidden_BSF: Tensor, up_BSF2: Tensor, out: RowOutput, *, wants_hidden: bool = True
) -> Tensor | None:
    """out = gradient (B, S, 2F) of `swiglu`; returns what `swiglu` put out, made again if it is wanted."""
    gate, value = up_BSF2.float().chunk(2, dim=-1)
    d_hidden = d_hidden_BSF.float()
    sigmoid = torch.sigmoid(gate)
    silu = gate * sigmoid
    d_gate = d_hidden * value * sigmoid * (1 + gate * (1 - sigmoid))
    write(torch.cat((d_gate, d_hidden * silu), dim=-1), out)
    return (silu * value).type_as(up_BSF2) if wants_hidden else None
