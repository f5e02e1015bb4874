"""QUANTIZATION: the precision in which the frozen weights are kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator

from slipstream.config.panel import PANEL

Precision = Literal["auto", "bf16", "fp32"]
_LATER = ("float8", "fp8", "qfloat8", "int8", "int4", "nf4", "uint4", "uint3", "uint2", "quanto", "none")


def _explain_precision(value: Any) -> Any:
    """Tell apart what cannot work from what is not built yet; everything else is left to the Literal."""
    name = str(value).lower()
    if name in ("fp16", "float16", "half"):
        raise ValueError(
            f"got {value!r}, expected auto, bf16 or fp32: Z-Image's feed-forward layers reach 6.6e4, more "
            "than fp16 can hold (65504), so fp16 gives black pictures and NaN losses"
        )
    if value is None or name.startswith(_LATER):
        raise ValueError(
            f"got {'nothing' if value is None else repr(value)}, expected auto, bf16 or fp32: 8-bit and "
            "smaller weights are not in this version; bf16 is full quality and needs about 24 GB of GPU "
            "memory"
        )
    return value


PrecisionName = Annotated[Precision, BeforeValidator(_explain_precision)]


class QuantizationPanel(BaseModel):
    """QUANTIZATION: precision of the frozen weights. The LoRA itself is always trained in fp32."""

    model_config = PANEL

    transformer: PrecisionName = "auto"
    """Precision of the frozen transformer: `bf16`, `fp32` (twice the memory), or `auto` (bf16 on a GPU, fp32
    on the CPU)."""

    text_encoder: PrecisionName = "auto"
    """Precision of the text encoder: `bf16`, `fp32` (twice the memory), or `auto` (bf16 on a GPU, fp32 on the
    CPU)."""
