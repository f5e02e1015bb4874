"""Z-Image as the rest of the code sees it: a `predict` function, a text encoder and an image codec, loaded in phases.

The text encoder is loaded only while captions are missing from the cache and freed after; the VAE likewise, unless
previews need it. So the peak is the largest phase, not the sum.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slipstream.memory.estimate import ModelSizes
from slipstream.memory.pinned import Offload
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
from slipstream.models.z_image.sizes import model_sizes
from slipstream.models.z_image.text import TOKENS_AT_ONCE, TextEncoder
from slipstream.models.z_image.transformer_file import (
    MODULE_ALIASES,
    StoredTransformer,
    open_transformer,
    transformer_config,
)
from slipstream.precision.checkpointing import RunBlock, run_directly
from slipstream.precision.placing import Watch
from slipstream.precision.reading import Tick
from slipstream.precision.schemes import FLOAT8_SCHEME, SCHEMES

__all__ = ["ADAPTER_ROOT", "MODULE_ALIASES", "ZImage", "predictor", "release_memory"]

ADAPTER_ROOT = "layers"
"""Where LoRAs go unless a config says more: the main blocks. `target.blocks` counts in this list."""


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
        paths = self.parts.paths
        weights = f"{weights_identity(paths['text_encoder'])}:{weights_identity(paths['tokenizer'])}"
        scheme = f":{SCHEMES[self.text_encoder_scheme].identity}" if self.text_encoder_scheme else ""
        return f"qwen3-hidden-2:{weights}:{self.text_encoder_dtype}{scheme}"

    @property
    def latent_identity(self) -> str:
        """Identity of latents: VAE bytes, precision, posterior mode."""
        return f"vae-mode:{weights_identity(self.parts.paths['vae'])}:{self.transformer_dtype}"

    def describe(self) -> list[str]:
        """Where each part comes from and lies, and how the transformer is stored."""
        stored = open_transformer(self.parts.paths["transformer"])
        line = f"transformer as stored: {stored.describe()}"
        if stored.is_float8:
            line += f"; {self._float8_use(stored)}"
        return [*self.parts.describe(), line, *self.parts.notes]

    def _float8_use(self, stored: StoredTransformer) -> str:
        if self.transformer_scheme == FLOAT8_SCHEME and stored.keeps_codes:
            return "its codes are kept as they are, with their scales in bf16"
        if self.transformer_scheme is not None:
            return f"made dense and packed in {self.transformer_scheme} anew: two roundings, bf16 weights lose less"
        return (
            f"made dense in {str(self.transformer_dtype).removeprefix('torch.')}; what float8 rounded away stays lost"
        )

    def load_text_encoder(self, tick: Tick | None = None) -> TextEncoder:
        """Text encoder and tokenizer on the device; `tick(bytes read, bytes in all)`.

        On the CPU captions pass one by one, so that kept and cached features are the same bits; a GPU, which a caption
        leaves idle, takes many at once.
        """
        paths = self.parts.paths
        model = load_text_encoder(
            paths["text_encoder"], self.device, self.text_encoder_dtype, self.text_encoder_scheme, tick
        )
        at_once = TOKENS_AT_ONCE if self.device.type == "cuda" else 0
        return TextEncoder(model, load_tokenizer(paths["tokenizer"]), self.text_identity, at_once)

    def load_codec(self) -> ImageCodec:
        """The VAE on the device, in the transformer's precision (as the pipeline runs it)."""
        vae: Any = load_vae(self.parts.paths["vae"], self.device, self.transformer_dtype)
        return ImageCodec(vae.to(memory_format=memory_format_on(self.device)), self.latent_identity)

    def load_transformer(
        self, tick: Tick | None = None, watch: Watch | None = None, offload: Offload | None = None
    ) -> nn.Module:
        """The transformer on the device, frozen; `tick(bytes read, bytes in all)`, `watch(linear, dense weight)` of
        what is packed; weights of `offload` stay in host memory."""
        place, dtype, scheme = self.parts.paths["transformer"], self.transformer_dtype, self.transformer_scheme
        return load_transformer(place, self.device, dtype, scheme, tick, watch, offload)

    @property
    def num_weights(self) -> int:
        """Numbers in all weights of the transformer: its bytes, were they packed in 8 bits."""
        return open_transformer(self.parts.paths["transformer"]).num_parameters

    @property
    def sizes(self) -> ModelSizes:
        """Of the transformer, from its config alone."""
        return model_sizes(transformer_config(self.parts.paths["transformer"]))

    def load_shift(self) -> SamplingShift:
        """The scheduler's shift."""
        return load_sampling_shift(self.parts.paths["scheduler"])


def predictor(transformer: nn.Module, run: RunBlock = run_directly) -> Callable[[Tensor, Tensor, list[Tensor]], Tensor]:
    """(noisy_BCHW, sigma_B, caption features (tokens, T) per sample) -> velocity_BCHW in fp32.

    `run` calls each block (see `precision.checkpointing`); `fast_predictor` is the same on the fast path.
    """
    weight = next(transformer.parameters())
    device, dtype = weight.device, weight.dtype

    def predict(noisy_BCHW: Tensor, sigma_B: Tensor, texts: list[Tensor]) -> Tensor:
        return predict_velocity(transformer, noisy_BCHW, sigma_B, TextBatch.of(texts, device, dtype), run)

    return predict


def memory_format_on(device: torch.device) -> torch.memory_format:
    """How a VAE's convolutions keep their weights: channels last on the CPU, where that takes a tenth to a third less
    time; on CUDA group norms want their input channels first, so nothing is won between them."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def release_memory() -> None:
    """Give freed weights back to the device, between loading phases."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
