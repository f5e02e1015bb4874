"""Where every token of the single stream sits: rotary tables and attention masks for one batch.

Z-Image joins `[image tokens, caption tokens]` into one stream. Captions are padded to a multiple of 32 with a learned
pad token that IS attended to; only the difference between captions of different padded length is masked.
Source: `transformer_z_image.py` of diffusers 0.42 (`patchify_and_embed`, `_prepare_sequence`).

Shape legend: B batch, L caption tokens, N image tokens, S = N + L, R = head_dim / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

TOKEN_MULTIPLE = 32
"""Caption and image token counts are padded to a multiple of this (SEQ_MULTI_OF in diffusers)."""


def pad_to_multiple(length: int) -> int:
    """The padded token count of `length` tokens: the next multiple of 32, and at least 32."""
    return max(TOKEN_MULTIPLE, -(-length // TOKEN_MULTIPLE) * TOKEN_MULTIPLE)


@dataclass(frozen=True)
class Rotary:
    """Cosine and sine of the rotary angles in fp32, each of shape (1 or B, tokens, 1, R)."""

    cos: Tensor
    sin: Tensor

    def rotate(self, x_BSHD: Tensor) -> Tensor:
        """Rotate interleaved pairs of the last axis in fp32; returns the input's dtype."""
        even, odd = x_BSHD.float().unflatten(-1, (-1, 2)).unbind(-1)
        rotated = torch.stack((even * self.cos - odd * self.sin, even * self.sin + odd * self.cos), dim=-1)
        return rotated.flatten(-2).type_as(x_BSHD)


@dataclass(frozen=True)
class StreamLayout:
    """Tables for one batch of equal image size. Masks and `lengths` (the samples' tokens in the joint stream) are None
    when every padded caption has the same length."""

    height_tokens: int
    width_tokens: int
    image: Rotary
    text: Rotary
    joint: Rotary
    text_mask: Tensor | None
    joint_mask: Tensor | None
    lengths: tuple[int, ...] | None

    @property
    def num_image_tokens(self) -> int:
        """Image tokens without padding."""
        return self.height_tokens * self.width_tokens


@dataclass(frozen=True)
class RopeSpec:
    """The rotary settings of a transformer: per-axis dims (time/caption, row, column) and theta."""

    axes_dims: tuple[int, ...]
    theta: float

    @classmethod
    def of(cls, transformer: torch.nn.Module) -> RopeSpec:
        """Read the settings from a `ZImageTransformer2DModel`."""
        return cls(tuple(transformer.axes_dims), float(transformer.rope_theta))  # type: ignore[arg-type]


def _angles(spec: RopeSpec, positions_S3: Tensor) -> Tensor:
    """Angles (S, R) in fp32, computed in fp64 as the reference does."""
    parts = []
    for axis, dim in enumerate(spec.axes_dims):
        frequencies = spec.theta ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        parts.append(torch.outer(positions_S3[:, axis].double(), frequencies))
    return torch.cat(parts, dim=-1).float()


@lru_cache(maxsize=256)
def _stream_angles(spec: RopeSpec, text_tokens: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(image angles, caption angles) for one padded caption length; image padding tokens sit at (0, 0, 0)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    first = torch.full_like(rows, text_tokens + 1)
    image = torch.stack((first, rows, columns), dim=-1).reshape(-1, 3)
    padding = pad_to_multiple(len(image)) - len(image)
    image = torch.cat((image, image.new_zeros(padding, 3)))
    caption = torch.zeros(text_tokens, 3, dtype=torch.long)
    caption[:, 0] = torch.arange(1, text_tokens + 1)
    return _angles(spec, image), _angles(spec, caption)


def _rotary(angles_BSR: Tensor, device: torch.device) -> Rotary:
    angles = angles_BSR.unsqueeze(2)
    return Rotary(angles.cos().to(device), angles.sin().to(device))


@lru_cache(maxsize=64)
def build_layout(
    spec: RopeSpec, padded_lengths: tuple[int, ...], height_tokens: int, width_tokens: int, device: torch.device
) -> StreamLayout:
    """The layout of a batch whose captions have these padded lengths (each a multiple of 32)."""
    longest = max(padded_lengths)
    uniform = len(set(padded_lengths)) == 1
    lengths: Sequence[int] = padded_lengths[:1] if uniform else padded_lengths
    pairs = [_stream_angles(spec, length, height_tokens, width_tokens) for length in lengths]
    image = torch.stack([pair[0] for pair in pairs])
    text = torch.stack([torch.nn.functional.pad(pair[1], (0, 0, 0, longest - len(pair[1]))) for pair in pairs])
    text_mask = joint_mask = counts = None
    if not uniform:
        counts = tuple(image.shape[1] + length for length in padded_lengths)
        kept = torch.arange(longest)[None] < torch.tensor(padded_lengths)[:, None]
        joint = torch.cat((torch.ones(len(padded_lengths), image.shape[1], dtype=torch.bool), kept), dim=1)
        text_mask = kept[:, None, None, :].to(device)
        joint_mask = joint[:, None, None, :].to(device)
    return StreamLayout(
        height_tokens=height_tokens,
        width_tokens=width_tokens,
        image=_rotary(image, device),
        text=_rotary(text, device),
        joint=_rotary(torch.cat((image, text), dim=1), device),
        text_mask=text_mask,
        joint_mask=joint_mask,
        lengths=counts,
    )
