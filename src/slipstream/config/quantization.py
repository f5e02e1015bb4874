"""QUANTIZATION: the precision in which the frozen weights are kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator

from slipstream.config.panel import PANEL

Precision = Literal["auto", "bf16", "fp32", "float8", "int8", "nf4"]
_EXPECTED = "expected auto, bf16, fp32, float8, int8 or nf4"
_OFF = ("none", "no", "off", "false")
ELSEWHERE = {
    "float8": ("fp8", "f8", "qfloat8", "float8_e4m3", "float8_e4m3fn", "float8_e5m2", "fp8_e4m3"),
    "int8": (
        "qint8", "uint8", "8bit", "quanto", "uint5", "uint6", "uint7", "convrot8", "convrotint5", "convrotint6",
        "convrotint7",
    ),
    "nf4": (
        "int4", "qint4", "uint4", "4bit", "fp4", "int2", "qint2", "uint2", "uint3", "nvfp4", "convrot4", "convrotint2",
        "convrotint3", "convrotint4", "convrotbitnet",
    ),
    "bf16": ("bfloat16",),
    "fp32": ("float32", "float"),
}  # fmt: skip
"""Names that other trainers use, under the name here of what comes nearest: as large, or the next larger."""

_MEANING = {
    "float8": "8-bit floats (e4m3) with a scale for every row",
    "int8": "8-bit integers with a scale for every row",
    "nf4": "the 4-bit format here, 4.25 bits a weight",
}


def _explain_precision(value: Any) -> Any:
    """Names known from elsewhere get an answer; everything else is left to the Literal."""
    name = "none" if value is None else str(value).lower()
    got = "nothing" if value is None else name if isinstance(value, bool) else repr(value)
    if name in ("fp16", "float16", "half"):
        raise ValueError(
            f"got {got}, {_EXPECTED}: Z-Image's feed-forward layers reach 6.6e4, more than fp16 can hold (65504), so "
            "fp16 gives black pictures and NaN losses"
        )
    if name in _OFF:
        raise ValueError(f"got {got}, {_EXPECTED}: without quantization the weights are bf16, so write bf16 or auto")
    if name == "true":
        raise ValueError(f"got true, {_EXPECTED}: say which; float8 is the usual choice on 16 GB")
    for here, names in ELSEWHERE.items():
        if name in names:
            meaning = f" ({_MEANING[here]})" if here in _MEANING else ""
            raise ValueError(f"got {got}, {_EXPECTED}: write {here}{meaning}")
    return value


PrecisionName = Annotated[Precision, BeforeValidator(_explain_precision)]


class QuantizationPanel(BaseModel):
    """QUANTIZATION: precision of the frozen weights. The LoRA itself is always trained in fp32."""

    model_config = PANEL

    transformer: PrecisionName = "auto"
    """How the frozen transformer is kept: `bf16` (full quality, 11.5 GiB), `float8` or `int8` (5.9 GiB), `nf4` (3.2
    GiB), `fp32`, or `auto` (bf16 on a GPU, fp32 on the CPU). Only attention and feed-forward of the blocks are
    quantized.

    Formula: weight = code * scale; one scale a row (float8, int8) or a block of 64 (nf4), matmuls in bf16.
    Change it when: the card is too small for bf16 (24 GB): float8 at 12-16 GB, nf4 at 8 GB.
    Careful: weights are made bf16 anew for every matmul, which costs time; the LoRA learns beside rounded weights.
    """

    text_encoder: PrecisionName = "auto"
    """How the text encoder is kept: `bf16` (7.5 GiB), `float8` or `int8` (4.1 GiB), `nf4` (2.5 GiB), `fp32`, or `auto`
    (bf16 on a GPU, fp32 on the CPU).

    Change it when: 7.5 GiB do not fit. With cached captions it is alone on the card, so bf16 fits from 12 GB on.
    Careful: captions are encoded anew for every precision, and tools that use bf16 get slightly other features.
    """
