"""QUANTIZATION: the precision in which the frozen weights are kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, model_validator

from slipstream.config.layer_offloading import LayerOffloading
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
    "nf4": "the 4-bit format here, 4.25 bits a weight; int4 of the same size was measured: less exact",
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

ComputeDtype = Literal["auto", "bf16", "float8"]
_COMPUTE_EXPECTED = "expected auto, bf16 or float8"


def _explain_compute(value: Any) -> Any:
    """Names known from elsewhere, and precisions that weights can have but products cannot, get an answer."""
    name = str(value).lower()
    for here in ("float8", "bf16"):
        if name in ELSEWHERE[here]:
            raise ValueError(f"got {value!r}, {_COMPUTE_EXPECTED}: write {here}")
    if name in ("int8", "nf4", *ELSEWHERE["int8"], *ELSEWHERE["nf4"]):
        raise ValueError(
            f"got {value!r}, {_COMPUTE_EXPECTED}: weights can be kept so (quantization.transformer), but they are made "
            "bf16 before they are multiplied; leave it at auto"
        )
    if name in ("fp16", "float16", "half", "fp32", *ELSEWHERE["fp32"]):
        raise ValueError(f"got {value!r}, {_COMPUTE_EXPECTED}: leave it at auto, which follows the weights")
    return value


ComputeDtypeName = Annotated[ComputeDtype, BeforeValidator(_explain_compute)]


class QuantizationPanel(BaseModel):
    """QUANTIZATION: precision of the frozen weights. The LoRA itself is always trained in fp32."""

    model_config = PANEL

    transformer: PrecisionName = "auto"
    """How the frozen transformer is kept: `bf16` (full quality, 11.5 GiB), `float8` or `int8` (5.9 GiB), `nf4` (3.2
    GiB), `fp32`, or `auto`: bf16 wherever it fits the GPU, else the faster of float8 and int8, else nf4, as
    `slipstream plan` shows and the log explains; fp32 on the CPU. A run that is resumed keeps what was chosen. Only
    attention and feed-forward of the blocks are quantized.

    Formula: weight = code * scale; one scale a row (float8, int8) or a block of 64 (nf4), matmuls in bf16.
    Change it when: you want the speed of float8 on a card that holds bf16, or the same weights on every machine.
    Careful: int8 and nf4 are made bf16 anew for every matmul, which costs time (float8 too, see compute_dtype); the
    LoRA learns beside rounded weights.
    """

    compute_dtype: ComputeDtypeName = "auto"
    """In which precision the blocks' frozen linears are multiplied: `float8` (both operands e4m3, on Ada, Hopper and
    Blackwell GPUs, needs `transformer: float8`), `bf16`, or `auto` (float8 where the weights are float8, the GPU
    multiplies float8 and the LoRA is a plain one; else bf16; the log says which and why).

    Formula: y = (x8 W8') * scale_x * scale_W + LoRA(x), with x8 = x / scale_x, one scale a row; the gradient of x
    likewise. The LoRA, its gradients and everything outside of the blocks' linears stay in bf16.
    Change it when: `float8` to be refused where it cannot run; `bf16` to exclude rounded activations.
    Careful: float8 weights are held twice where there is room (11.2 GiB): the gradient needs them transposed.
    """

    text_encoder: PrecisionName = "auto"
    """How the text encoder is kept: `bf16` (7.5 GiB), `float8` or `int8` (4.1 GiB), `nf4` (2.5 GiB), `fp32`, or `auto`
    (bf16 on a GPU that holds it, else float8, else nf4; fp32 on the CPU).

    Change it when: captions shall have the same features on every machine: set bf16, which fits from 12 GB on, since
    the encoder is alone on the card.
    Careful: captions are encoded anew for every precision, and tools that use bf16 get slightly other features.
    """

    layer_offloading: LayerOffloading = "auto"
    """How many of the main blocks keep their weights in host memory and stream them to the GPU as they are needed: a
    percentage of the blocks, or `auto`: as few as make the fastest plan fit, on a large card none. The result is the
    same to the last bit.

    Unit: percent of the 30 main blocks.
    Formula: the GPU holds 2 blocks at a time instead of the offloaded ones: 0.16 GiB a block in float8, 0.33 in bf16.
    Change it when: the weights do not fit beside the activations: 50, then 100, in float8.
    Careful: a step waits where the copies take longer than the computing: small pictures, a slow PCI express slot.
    It needs as much host memory as the blocks take (5 GiB in float8, 10 in bf16; twice that with a training adapter),
    bf16 or float8 weights with float8 products, and a plain LoRA without dropout; no CUDA graphs are used.
    """

    @model_validator(mode="after")
    def _products_fit_weights(self) -> Self:
        if self.compute_dtype == "float8" and self.transformer != "float8":
            raise ValueError(
                f"compute_dtype is float8, but transformer is {self.transformer}: float8 products need float8 weights; "
                "set transformer: float8, or compute_dtype: auto"
            )
        return self
