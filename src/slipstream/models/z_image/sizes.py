"""How large a Z-Image transformer is, from its config alone: no weight and no model is needed.

Source: `transformer_z_image.py` of diffusers 0.42; `tests/models/test_transformer_sizes.py` counts its parameters.

Width symbols: D stream, F feed-forward, E = D / heads, M = min(D, 256) of the timestep's embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipstream.memory.blocks import BlockWidths
from slipstream.memory.estimate import ModelSizes
from slipstream.models.z_image.names import PLAIN

_MODULATION_WIDTH = 256
_FREQUENCIES = 256
_TIME_INNER_WIDTH = 1024
_PATCH_CELLS = 4
"""Latent cells of an image token: 2 x 2."""


def model_sizes(config: Mapping[str, Any]) -> ModelSizes:
    """Of the transformer with this `config.json`; what it leaves out is as in the 6B."""
    widths = block_widths(config)
    num_blocks, refiners = int(config.get("n_layers", 30)), int(config.get("n_refiner_layers", 2))
    plain = sum(outputs * inputs for outputs, inputs in (linear_shape(name, widths) for name in PLAIN))
    stream, time_width = widths.stream, min(widths.stream, _MODULATION_WIDTH)
    norms = 4 * stream + 2 * stream // widths.heads
    modulation = 4 * stream * (time_width + 1)
    blocks = (num_blocks + 2 * refiners) * (plain + norms) + (num_blocks + refiners) * modulation
    return ModelSizes(
        parameters=blocks + _embedders(config, stream, time_width),
        packable=(num_blocks + 2 * refiners) * plain,
        num_blocks=num_blocks,
        widths=widths,
    )


def _embedders(config: Mapping[str, Any], stream: int, time_width: int) -> int:
    """Parameters outside of the blocks: of image, text and time, of the last layer, and the two pad tokens."""
    patch, text = _PATCH_CELLS * int(config.get("in_channels", 16)), int(config.get("cap_feat_dim", 2560))
    image = (patch + 1) * stream
    time = (_FREQUENCIES + 1) * _TIME_INNER_WIDTH + (_TIME_INNER_WIDTH + 1) * time_width
    caption = text + (text + 1) * stream
    last = (time_width + 1) * stream + (stream + 1) * patch
    return image + time + caption + last + 2 * stream


def block_widths(config: Mapping[str, Any]) -> BlockWidths:
    """Of every block."""
    stream = int(config.get("dim", 3840))
    return BlockWidths(stream=stream, feed_forward=int(stream / 3 * 8), heads=int(config.get("n_heads", 30)))


def linear_shape(name: str, widths: BlockWidths) -> tuple[int, int]:
    """(outputs, inputs) of a linear of a block, by the end of its name."""
    stream, feed_forward = widths.stream, widths.feed_forward
    if name.endswith(("feed_forward.w1", "feed_forward.w3")):
        return feed_forward, stream
    if name.endswith("feed_forward.w2"):
        return stream, feed_forward
    if name.endswith("adaLN_modulation.0"):
        return 4 * stream, min(stream, _MODULATION_WIDTH)
    return stream, stream
