"""A frozen linear whose weight is kept packed; it is made dense for each matmul and thrown away.

y = x W^T + b with W = unpack(packed). Only dX = dY W is ever needed, so the backward pass unpacks W once more: between
the two no dense copy is alive, and the input is not kept either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slipstream.precision.schemes import SCHEMES, Packed, Scheme


class QuantizedLinear(nn.Module):
    """In the place of an `nn.Linear` that is never trained.

    Args:
        packed: what the scheme made of the weight; buffers of this module.
        in_features: columns of the weight.
        out_features: rows of the weight.
        dtype: precision of the dense weight, and of inputs and outputs.
        bias: (out,) or None.
    """

    def __init__(
        self, packed: Packed, scheme: Scheme, in_features: int, out_features: int, dtype: torch.dtype,
        bias: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.scheme, self.dtype = scheme, dtype
        for name, tensor in packed.items():
            self.register_buffer(name, tensor)
        self.register_buffer("bias", None if bias is None else bias.detach().to(dtype))
        self._packed_names = tuple(packed)

    @classmethod
    def of(cls, weight: Tensor, scheme: Scheme, dtype: torch.dtype, bias: Tensor | None = None) -> QuantizedLinear:
        """Pack a dense weight (out, in) where it lies."""
        out_features, in_features = weight.shape
        return cls(scheme.pack(weight.detach()), scheme, in_features, out_features, dtype, bias)

    @property
    def packed(self) -> Packed:
        """The packed tensors by name."""
        return {name: getattr(self, name) for name in self._packed_names}

    @property
    def device(self) -> torch.device:
        """Where the packed weight lies."""
        return next(iter(self.packed.values())).device

    @property
    def num_bytes(self) -> int:
        """Bytes of the packed weight."""
        return sum(tensor.nbytes for tensor in self.packed.values())

    def dense_weight(self) -> Tensor:
        """The weight (out, in) as it takes part in the matmul: a fresh tensor at every call."""
        return self.scheme.unpack(self.packed, (self.out_features, self.in_features), self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        packed = self.packed
        shape = (self.out_features, self.in_features)
        return _PackedMatmul.apply(x, self.bias, self.scheme.name, shape, tuple(packed), *packed.values())

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"in_features={self.in_features}, out_features={self.out_features}, scheme={self.scheme.name}"


class _PackedMatmul(torch.autograd.Function):
    """x W^T + b with the gradient for x alone."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, scheme: str, shape: tuple[int, int], names: tuple[str, ...],
        *packed: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.scheme, ctx.shape, ctx.names = scheme, shape, names
        ctx.save_for_backward(*packed)
        return F.linear(x, _unpack(scheme, dict(zip(names, packed, strict=True)), shape, x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        packed = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        grad_x = grad @ _unpack(ctx.scheme, packed, ctx.shape, grad.dtype) if ctx.needs_input_grad[0] else None
        return grad_x, *(None for _ in range(4 + len(packed)))


def _unpack(scheme: str, packed: Mapping[str, Tensor], shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    return SCHEMES[scheme].unpack(packed, shape, dtype)
