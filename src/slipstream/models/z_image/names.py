"""Names of the linears in a transformer's blocks, told by its config: patterns are checked before weights load."""

from __future__ import annotations

from pathlib import Path

from slipstream.models.z_image.transformer_file import transformer_config

PLAIN = (
    "attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0",
    "feed_forward.w1", "feed_forward.w2", "feed_forward.w3",
)  # fmt: skip
MODULATED = (*PLAIN, "adaLN_modulation.0")
"""Blocks that see the timestep."""


def block_linears(place: Path) -> list[str]:
    """Every linear of the block lists of the transformer in a folder or a single file, by name.

    Raises:
        ModelError: the folder's config or the file's header cannot be read.
    """
    config = transformer_config(place)
    refiners, layers = int(config.get("n_refiner_layers", 2)), int(config.get("n_layers", 30))
    lists = (
        ("noise_refiner", refiners, MODULATED),
        ("context_refiner", refiners, PLAIN),
        ("layers", layers, MODULATED),
    )
    return [f"{part}.{block}.{name}" for part, count, names in lists for block in range(count) for name in names]
