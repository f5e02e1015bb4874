"""The row operations of `rows_torch` as Triton kernels. Same names, same arguments, same results up to rounding.

A program takes whole rows, so that a norm and a row's float8 scale need no second pass. Kernels are compiled for widths
and never for a number of tokens: a picture of a new shape compiles nothing. Sums over rows (gradients of factors and
gates) are kept per program and added up at the end, so they are the same in every run.
"""

from slipstream.kernels.rows_triton.feed_forward import swiglu, swiglu_backward
from slipstream.kernels.rows_triton.heads import fill, head_norm_rotate, head_norm_rotate_backward
from slipstream.kernels.rows_triton.norms import (
    join,
    join_backward,
    join_norm_scale,
    norm_scale,
    norm_scale_backward,
    norm_scale_join_backward,
)

__all__ = [
    "fill",
    "head_norm_rotate",
    "head_norm_rotate_backward",
    "join",
    "join_backward",
    "join_norm_scale",
    "norm_scale",
    "norm_scale_backward",
    "norm_scale_join_backward",
    "swiglu",
    "swiglu_backward",
]
