"""DoRA: a LoRA whose directions are learned apart from their lengths, W' = (W + s B A) * magnitude / ||W + s B A||.

Source: Liu et al. 2024 (arXiv 2402.09353), equation 5, with the norm taken as a constant in backward (section 4.3).
The norm is one per input channel, the columns of W, as in the paper: the one axis that every reader of `dora_scale`
computes alike. Files with one norm per output channel (PEFT, newer LyCORIS) are read too. The magnitude starts at
||W||, so a fresh DoRA changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slipstream.adapters.branches import weight_of
from slipstream.adapters.dropout import NO_DROPOUT, Dropout

_TINY = 1e-12


class DoRA(nn.Module):
    """A DoRA branch: `a` (rank, in), `b` (out, rank), `magnitude` (1, in), or (out, 1) where a file has it so."""

    kind = "dora"
    zero_first = frozenset({"b"})
    scaled: str | None = "b"

    def __init__(
        self, a: Tensor, b: Tensor, magnitude: Tensor, scale: float, *, trainable: bool, dropout: Dropout = NO_DROPOUT
    ) -> None:
        super().__init__()
        self.a = nn.Parameter(a, requires_grad=trainable)
        self.b = nn.Parameter(b, requires_grad=trainable)
        self.magnitude = nn.Parameter(magnitude, requires_grad=trainable)
        self.scale = scale
        self.dropout = dropout
        self.strength = 1.0
        self.enabled = True
        self._squares: Tensor | None = None
        self.eval()

    @property
    def per_input(self) -> bool:
        """Whether lengths belong to input channels, as in every DoRA made here."""
        return self.magnitude.shape[0] == 1

    def forward(self, x: Tensor, out: Tensor, base: nn.Module) -> Tensor:
        """(..., in) -> (..., out)."""
        dropout = self.dropout if self.training else NO_DROPOUT
        stretch = self.magnitude.float() / self._norm(base)
        longer = (stretch - 1).to(x.dtype).flatten()
        a, b = self.a.to(x.dtype), self.b.to(x.dtype)
        if self.per_input:
            stretched = _without_bias(base, base(x * longer))
            seen = dropout.on_input(x * stretch.to(x.dtype).flatten())
            learned = F.linear(dropout.on_ranks(F.linear(seen, a)), b)
        else:
            stretched = _without_bias(base, out) * longer
            learned = F.linear(dropout.on_ranks(F.linear(dropout.on_input(x), a)), b) * stretch.to(x.dtype).flatten()
        return (stretched + learned * self.scale) * self.strength

    @torch.no_grad()
    def _norm(self, base: nn.Module) -> Tensor:
        """||W + s B A|| of every channel, in the shape of `magnitude`, from products with the thin matrices only."""
        weight, a, b = weight_of(base).float(), self.a.float(), self.b.float()
        if not self.per_input:
            weight, a, b = weight.T, b.T, a.T
        if self._squares is None:
            self._squares = weight.square().sum(0)
        crossed = (a * (b.T @ weight)).sum(0)
        learned = (a * (b.T @ b @ a)).sum(0)
        squares = self._squares + 2 * self.scale * crossed + self.scale**2 * learned
        return squares.clamp_min(0).sqrt().clamp_min(_TINY).view_as(self.magnitude)

    def keep_lengths(self, base: nn.Module) -> None:
        """Set the magnitude to ||W + s B A||, with which the branch acts as the LoRA (A, B) alone does."""
        self.magnitude.data = self._norm(base)

    def exported(self) -> dict[str, Tensor]:
        """A, B * alpha / rank, and the magnitude as `dora_scale`."""
        return {
            "lora_A.weight": self.a.detach(),
            "lora_B.weight": self.b.detach() * self.scale,
            "dora_scale": self.magnitude.detach(),
        }

    @staticmethod
    def of_file(tensors: Mapping[str, Tensor]) -> DoRA:
        """A frozen branch from a file's tensors."""
        return DoRA(
            tensors["lora_A.weight"], tensors["lora_B.weight"], tensors["dora_scale"].float(), 1.0, trainable=False
        )


def fresh_dora(linear: nn.Module, a: Tensor, b: Tensor, scale: float, dropout: Dropout) -> DoRA:
    """A trainable DoRA that acts as the LoRA (a, b) does: its magnitude is ||W + s B A||."""
    branch = DoRA(a, b, a.new_zeros(1, a.shape[1]), scale, trainable=True, dropout=dropout)
    branch.keep_lengths(linear)
    return branch


def shape_in_file(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """(out, in) of the linear that a file's tensors are for.

    Raises:
        ValueError: A, B and `dora_scale` do not fit each other.
    """
    a, b, magnitude = (tensors[key] for key in ("lora_A.weight", "lora_B.weight", "dora_scale"))
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise ValueError(f"{tuple(a.shape)} and {tuple(b.shape)} are not (rank, in) and (out, rank)")
    height, width = b.shape[0], a.shape[1]
    if tuple(magnitude.shape) not in ((1, width), (height, 1)):
        raise ValueError(f"dora_scale has the shape {tuple(magnitude.shape)}, expected (1, {width}) or ({height}, 1)")
    return height, width


def _without_bias(base: nn.Module, out: Tensor) -> Tensor:
    bias = getattr(base, "bias", None)
    return out if bias is None else out - bias
