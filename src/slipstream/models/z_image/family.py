"""Z-Image as the rest of the code sees it: a `predict` function, a text encoder and an image codec, loaded in phases.

The text encoder is loaded only while captions are missing from the cache and freed after; the VAE likewise, unless
previews need it. So the peak is the largest phase, not the sum.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slipstream.models.z_image.forward import RunMainBlocks
from slipstream.models.z_image.identity import weights_identity
from slipstream.models.z_image.latents import ImageCodec
from slipstream.models.z_image.loading import (
    SamplingShift,
    load_sampling_shift,
    load_text_encoder,
    load_tokenizer,
    load_transformer,
    load_vae,
)
from slipstream.models.z_image.prediction import TextBatch, predict_velocity
from slipstream.models.z_image.resolve import ModelParts
from slipstream.models.z_image.text import TextEncoder
from slipstream.precision.checkpointing import RunBlock, run_directly

ADAPTER_ROOT = "layers"
"""Where LoRAs go unless a config says more: the main blocks. `target.blocks` counts in this list."""

MODULE_ALIASES = {
    "attention.qkv": ("attention.to_q", "attention.to_k", "attention.to_v"),
    "attention.out": ("attention.to_out.0",),
}
"""Linears as the original layout and ComfyUI name them -> as diffusers does; `qkv` holds rows of q, k and v."""


@dataclass(frozen=True)
class ZImage:
    """A resolved model: loads its parts on demand and knows their identities.

    `*_scheme` names how the linears are kept (see `precision.schemes`); None keeps them in the part's dtype.
    """

    parts: ModelParts
    device: torch.device
    transformer_dtype: torch.dtype
    text_encoder_dtype: torch.dtype
    transformer_scheme: str | None = None
    text_encoder_scheme: str | None = None

    @property
    def text_identity(self) -> str:
        """Identity of caption features: text encoder and tokenizer bytes, precision."""
        folders = self.parts.folders
        weights = f"{weights_identity(folders['text_encoder'])}:{weights_identity(folders['tokenizer'])}"
        scheme = f":{self.text_encoder_scheme}" if self.text_encoder_scheme else ""
        return f"qwen3-hidden-2:{weights}:{self.text_encoder_dtype}{scheme}"

    @property
    def latent_identity(self) -> str:
        """Identity of latents: VAE bytes, precision, posterior mode."""
        return f"vae-mode:{weights_identity(self.parts.folders['vae'])}:{self.transformer_dtype}"

    def load_text_encoder(self) -> TextEncoder:
        """Text encoder and tokenizer on the device."""
        folders = self.parts.folders
        model = load_text_encoder(
            folders["text_encoder"], self.device, self.text_encoder_dtype, self.text_encoder_scheme
        )
        return TextEncoder(model, load_tokenizer(folders["tokenizer"]), self.text_identity)

    def load_codec(self) -> ImageCodec:
        """The VAE on the device, in the transformer's precision (as the pipeline runs it)."""
        vae = load_vae(self.parts.folders["vae"], self.device, self.transformer_dtype)
        return ImageCodec(vae, self.latent_identity)

    def load_transformer(self) -> nn.Module:
        """The transformer on the device, frozen."""
        folder = self.parts.folders["transformer"]
        return load_transformer(folder, self.device, self.transformer_dtype, self.transformer_scheme)

    def load_shift(self) -> SamplingShift:
        """The scheduler's shift."""
        return load_sampling_shift(self.parts.folders["scheduler"])


def predictor(
    transformer: nn.Module, run: RunBlock = run_directly, stack: RunMainBlocks | None = None
) -> Callable[[Tensor, Tensor, list[Tensor]], Tensor]:
    """(noisy_BCHW, sigma_B, caption features (tokens, T) per sample) -> velocity_BCHW in fp32.

    `run` calls each block (see `precision.checkpointing`), `stack` the main blocks as a whole in training passes.
    """
    weight = next(transformer.parameters())
    device, dtype = weight.device, weight.dtype

    def predict(noisy_BCHW: Tensor, sigma_B: Tensor, texts: list[Tensor]) -> Tensor:
        return predict_velocity(transformer, noisy_BCHW, sigma_B, TextBatch.of(texts, device, dtype), run, stack)

    return predict


def release_memory() -> None:
    """Give freed weights back to the device, between loading phases."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
