"""A plan that could be chosen, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from slipstream.memory.plan import GIB, LevelPlan

_PLACES = ("none", "gpu", "host", "live")
_EXACTNESS = {"fp32": 0, "bf16": 0, "float8": 1, "int8": 1, "nf4": 2}


@dataclass(frozen=True)
class Choice:
    """How a training is laid out.

    Attributes:
        transformer: precision of its weights.
        products: that of the blocks' linears.
        fused: blocks as one function, or module by module.
        adapter: the training adapter is added into the weights, and those without it wait on the `gpu` or on the
            `host`; or it runs beside them (`live`); or there is `none`.
        transposed: float8 codes lie on the device a second time, as the gradient's products read them.
        text_encoder: precision of its weights.
        previews_at_once: pictures in a batch.
        offload: percent of the blocks' weights that are streamed from host memory.
    """

    transformer: str
    products: str
    fused: bool
    adapter: Literal["none", "gpu", "host", "live"]
    transposed: bool
    text_encoder: str
    previews_at_once: int
    offload: int = 0

    @property
    def exactness(self) -> int:
        """0: nothing is rounded and nothing streamed; 1: 8 bits, or exact weights that are streamed; 2: 4 bits."""
        return max(_EXACTNESS[self.transformer], 1 if self.offload else 0)

    @property
    def ease(self) -> int:
        """Among equally fast ones: the less goes to and fro, the smaller."""
        return _PLACES.index(self.adapter)

    @property
    def kind(self) -> tuple[str, int]:
        """What tells plans apart for a user."""
        return self.transformer, self.offload


@dataclass(frozen=True)
class Candidate:
    """A choice with its predictions.

    Attributes:
        peaks: bytes on the device by phase (`captions`, `latents`, `load`, `train`, `previews`), a driver's context
            and gaps not counted.
        seconds_per_step: the mean over all sizes.
        fits: every phase leaves a margin free.
        levels: what the blocks keep at the largest size.
        host_bytes: weights that lie in host memory.
        needed: bytes that must be free for it, margins included.
    """

    choice: Choice
    peaks: Mapping[str, int]
    seconds_per_step: float
    fits: bool
    levels: LevelPlan
    host_bytes: int
    needed: int

    @property
    def peak(self) -> int:
        """Of the phase that needs the most."""
        return max(self.peaks.values())

    @property
    def phases(self) -> str:
        """`peaks in GiB: captions 8.7, latents 1.8, load 6.3, train 10.0, previews 9.4`."""
        peaks = (f"{phase} {peak / GIB:.1f}" for phase, peak in self.peaks.items() if peak)
        return f"peaks in GiB: {', '.join(peaks)}"

    def describe(self) -> str:
        """`bf16 weights, bf16 products, ...: 21.4 GiB (train), about 0.12 s a step`."""
        choice = self.choice
        parts = [f"{choice.transformer} weights", f"{choice.products} products"]
        if choice.transposed:
            parts.append("codes held transposed too")
        if not choice.fused:
            parts.append("blocks module by module")
        if choice.offload:
            parts.append(f"{choice.offload} % of the blocks streamed from host memory")
        phase = max(self.peaks, key=lambda name: self.peaks[name])
        return (
            f"{', '.join(parts)}: {self.peak / GIB:.1f} GiB at most ({phase}), about "
            f"{self.seconds_per_step:.2g} s a step"
        )
