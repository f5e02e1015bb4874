"""Models of the real size, or of the tiny family's, with random weights: made on the device, nothing is downloaded.

Weights are seeded, of the usual magnitude (1 / sqrt(inputs)), and placed tensor by tensor as the product does it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from slipstream.core.quiet import quiet_imports
from slipstream.memory.pinned import Offload
from slipstream.models.z_image.loading import may_be_quantized
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.precision.placing import Placement, Watch, place_weights

REAL_PARAMETERS = 6_154_908_736
ADAPTER_RANKS = {"real": 64, "tiny": 8}
"""Rank of the training adapter: at 64 it has the published one's size, 340 MB in bf16."""
REAL_TEXT_ENCODER = {
    "model_type": "qwen3", "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936,
    "max_position_embeddings": 40_960, "rope_parameters": {"rope_theta": 1_000_000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
}  # fmt: skip
REAL_VAE = {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 16, "norm_num_groups": 32,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False, "use_post_quant_conv": False,
}  # fmt: skip


@dataclass(frozen=True)
class ModelSize:
    """The configs of one size; `divide` is what pixels are divided by to suit it."""

    name: str
    transformer: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    vae: Mapping[str, Any]
    divide: int = 1


def model_size(name: str) -> ModelSize:
    """`real` (6,154,908,736 parameters in the transformer) or `tiny`."""
    if name == "real":
        return ModelSize("real", {}, REAL_TEXT_ENCODER, REAL_VAE)
    configs = [
        json.loads((TINY_ROOT / "turbo" / part / "config.json").read_text())
        for part in ("transformer", "text_encoder", "vae")
    ]
    return ModelSize("tiny", *configs, divide=8)


def empty_transformer(size: ModelSize) -> nn.Module:
    """A `ZImageTransformer2DModel` on the meta device: shapes without values.

    Raises:
        ValueError: the real size does not have the parameters that are published.
    """
    with quiet_imports():
        from diffusers import ZImageTransformer2DModel
    with torch.device("meta"):
        model = ZImageTransformer2DModel.from_config(dict(size.transformer))
    count = sum(parameter.numel() for parameter in model.parameters())
    if size.name == "real" and count != REAL_PARAMETERS:
        raise ValueError(f"the transformer has {count:,} parameters, expected {REAL_PARAMETERS:,}")
    return model


def random_transformer(
    size: ModelSize, device: torch.device, dtype: torch.dtype, scheme: str | None, watch: Watch | None = None,
    offload: Offload | None = None, stored: torch.dtype | None = None,
) -> nn.Module:  # fmt: skip
    """A `ZImageTransformer2DModel`, frozen, its blocks' linears packed by the scheme; `watch` sees what is packed,
    `offload` says what stays in host memory; `stored` is the precision of the numbers as a file would have them, where
    it is not the model's."""
    model = empty_transformer(size)
    placement = Placement(device, dtype, scheme, may_be_quantized, offload=offload)
    placement = placement if watch is None else replace(placement, watch=watch)
    place_weights(model, random_weights(model, device, stored or dtype), placement)
    return model.requires_grad_(False).eval()


def empty_text_encoder(size: ModelSize) -> nn.Module:
    """A Qwen3 encoder whose parameters are on the meta device; its rotary tables are there."""
    with quiet_imports():
        from accelerate import init_empty_weights
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.for_model(**size.text_encoder)
        with init_empty_weights(include_buffers=False):
            return AutoModel.from_config(config)


def random_text_encoder(size: ModelSize, device: torch.device, dtype: torch.dtype, scheme: str | None) -> nn.Module:
    """A Qwen3 encoder, frozen, its layers' linears packed by the scheme."""
    model = empty_text_encoder(size)
    place_weights(
        model, random_weights(model, device, dtype),
        Placement(device, dtype, scheme, lambda name: name.startswith("layers.")),
    )  # fmt: skip
    return model.requires_grad_(False).eval()


def random_vae(size: ModelSize, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """An `AutoencoderKL`, frozen."""
    with quiet_imports():
        from diffusers import AutoencoderKL
    with torch.device(device):
        model = AutoencoderKL.from_config(dict(size.vae))
    return model.to(dtype).requires_grad_(False).eval()


def random_weights(
    model: nn.Module, device: torch.device, dtype: torch.dtype, *, seed: int = 1
) -> Iterator[tuple[str, Tensor]]:
    """(key, weight) for every parameter; norms are one, biases zero."""
    generator = torch.Generator(device).manual_seed(seed)
    for key, parameter in list(model.named_parameters()):
        if parameter.ndim > 1:
            weight = torch.randn(parameter.shape, generator=generator, device=device, dtype=dtype)
            yield key, weight.mul_(parameter.shape[-1] ** -0.5)
            del weight
        elif key.endswith("bias"):
            yield key, torch.zeros(parameter.shape, device=device, dtype=dtype)
        else:
            yield key, torch.ones(parameter.shape, device=device, dtype=dtype)


def adapter_shapes(size: ModelSize) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    """The shapes of A and B for every linear of the main blocks."""
    rank = ADAPTER_RANKS[size.name]
    return {
        name: ((rank, module.in_features), (module.out_features, rank))
        for name, module in empty_transformer(size).named_modules()
        if name.startswith("layers.") and isinstance(module, nn.Linear)
    }


def random_adapter(size: ModelSize, device: torch.device, *, seed: int = 2) -> dict[str, tuple[Tensor, Tensor]]:
    """(A, B) in bf16 for every linear of the main blocks, small, so that what it is added to stays what it is."""
    generator = torch.Generator(device).manual_seed(seed)

    def values(shape: tuple[int, int]) -> Tensor:
        return torch.randn(shape, generator=generator, device=device).mul_(0.01).to(torch.bfloat16)

    return {name: (values(down), values(up)) for name, (down, up) in adapter_shapes(size).items()}
