"""The one place that flips Z-Image's time and sign into the project's convention.

The project speaks of `sigma` in [0, 1] (1 = pure noise) and of `velocity = noise - clean`. The network speaks of
time 1 - sigma and returns clean - noise (source: `pipeline_z_image.py` of diffusers 0.42).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slipstream.models.z_image.forward import PATCH, context_tokens, network_output
from slipstream.models.z_image.layout import RopeSpec, StreamLayout, build_layout, pad_to_multiple
from slipstream.precision.checkpointing import RunBlock, run_directly


@dataclass(frozen=True)
class TextBatch:
    """Caption features of a batch: `hidden_BLT` zero-padded to a multiple of 32, and the true token counts."""

    hidden_BLT: Tensor
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, features: list[Tensor], device: torch.device, dtype: torch.dtype) -> TextBatch:
        """Stack caption features, each (tokens, T), into one padded batch."""
        longest = max(pad_to_multiple(len(feature)) for feature in features)
        hidden = torch.zeros(len(features), longest, features[0].shape[-1], dtype=dtype, device=device)
        for row, feature in zip(hidden, features, strict=True):
            row[: len(feature)] = feature.to(device=device, dtype=dtype)
        return cls(hidden, tuple(len(feature) for feature in features))

    @property
    def is_text_BL(self) -> Tensor:
        """True on real tokens, False on padding."""
        positions = torch.arange(self.hidden_BLT.shape[1], device=self.hidden_BLT.device)
        return positions[None] < torch.tensor(self.lengths, device=self.hidden_BLT.device)[:, None]


def layout_for(transformer: nn.Module, latents_BCHW: Tensor, text: TextBatch) -> StreamLayout:
    """The token layout of this batch (cached by shape)."""
    padded = tuple(pad_to_multiple(length) for length in text.lengths)
    height, width = latents_BCHW.shape[-2:]
    return build_layout(RopeSpec.of(transformer), padded, height // PATCH, width // PATCH, latents_BCHW.device)


def predict_velocity(
    transformer: nn.Module, noisy_BCHW: Tensor, sigma_B: Tensor, text: TextBatch, run: RunBlock = run_directly
) -> Tensor:
    """Predicted velocity (noise - clean), fp32, shape (B, C, H, W).

    Args:
        noisy_BCHW: scaled latents; cast to the transformer's dtype for the pass.
        sigma_B: noise level in [0, 1], fp32.
        text: caption features; captions of different lengths may share a batch.
        run: how each block is called (see `precision.checkpointing`).
    """
    layout = layout_for(transformer, noisy_BCHW, text)
    context = context_tokens(transformer, text.hidden_BLT, text.is_text_BL, layout, run)
    dtype = text.hidden_BLT.dtype
    output = network_output(transformer, noisy_BCHW.to(dtype), 1 - sigma_B.float(), context, layout, run)
    return -output.float()
