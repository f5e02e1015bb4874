"""Which attention kernel a GPU is fastest with: torch's own and FlashAttention, where it is installed, are timed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from slipstream.core.quiet import quiet_imports
from slipstream.kernels.timing import median_milliseconds

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(query, key, value), each (B, H, S, E), to (B, H, S, E); no mask."""

PLAIN_LINE = "attention: torch scaled_dot_product_attention, which chooses its kernel by itself"
"""What a log says where nothing was timed."""

_BACKENDS = {
    "cuDNN": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
}  # fmt: skip
_INSTALLED = {"FlashAttention 4": "flash_attn.cute", "FlashAttention 3": "flash_attn_interface"}
"""Name to the module whose `flash_attn_func` takes (B, S, H, E)."""
_WARM_UPS, _REPEATS = 2, 5


@dataclass(frozen=True)
class ChosenAttention:
    """An attention function, its name, and one line that says what it is and why."""

    attend: Attend
    name: str
    line: str


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Torch's scaled dot product attention, which chooses a kernel by itself."""
    return F.scaled_dot_product_attention(query, key, value)


def fastest_attention(
    device: torch.device, dtype: torch.dtype, *, heads: int, width: int, tokens: int, known: str | None = None
) -> ChosenAttention:
    """The fastest kernel, forward and backward, at this shape; a kernel that does not run here is passed over.

    `known` is taken without a race where it runs: a training that is resumed must not change its kernel.
    """
    shape = (1, heads, tokens, width)
    kernels = _kernels()
    if known in kernels and (took := _milliseconds(kernels[known], device, dtype, shape)) is not None:
        return ChosenAttention(
            kernels[known], known, f"attention: {known}, as before in this run ({took:.2f} ms at {tokens} tokens)"
        )
    times = {name: took for name, attend in kernels.items()
             if (took := _milliseconds(attend, device, dtype, shape)) is not None}  # fmt: skip
    if not times:
        return ChosenAttention(plain_attention, "torch", "attention: torch's own choice (no kernel could be timed)")
    best = min(times, key=times.__getitem__)
    figures = ", ".join(f"{name} {value:.2f} ms" for name, value in sorted(times.items(), key=lambda pair: pair[1]))
    line = f"attention: {best} (timed forward and backward at {tokens} tokens: {figures})"
    return ChosenAttention(kernels[best], best, line)


def _kernels() -> dict[str, Attend]:
    """All that could run here, by name."""
    found: dict[str, Attend] = {name: partial(_attend_with, backend) for name, backend in _BACKENDS.items()}
    for name, module in _INSTALLED.items():
        with suppress(Exception), quiet_imports():  # a half-installed library is as good as none
            found[name] = partial(_attend_by, importlib.import_module(module).flash_attn_func)
    return found


def _attend_by(function: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """FlashAttention's own functions count tokens before heads, and some return more than the output."""
    found = function(*(part.transpose(1, 2) for part in (query, key, value)))
    return (found[0] if isinstance(found, tuple) else found).transpose(1, 2)


def _attend_with(backend: SDPBackend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(query, key, value)


def _milliseconds(
    attend: Attend, device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int, int]
) -> float | None:
    """Median time of a forward and backward pass on random values; None where the kernel does not run here."""
    generator = torch.Generator(device).manual_seed(0)
    query, key, value, gradient = (
        torch.randn(shape, device=device, dtype=dtype, generator=generator) for _ in range(4)
    )
    leaves = [part.requires_grad_() for part in (query, key, value)]
    try:
        return median_milliseconds(
            lambda: torch.autograd.grad(attend(*leaves), leaves, gradient), warm_ups=_WARM_UPS, repeats=_REPEATS
        )
    except (RuntimeError, AssertionError, TypeError, ValueError):
        return None
