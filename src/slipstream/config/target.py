"""TARGET: kind and shape of the LoRA, and the layers it sits on."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationInfo,
)

from slipstream.config.panel import PANEL

TARGET_MODULES = (
    "attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0",
    "feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaLN_modulation.0",
)  # fmt: skip
ALL_BLOCKS = "all"
_RANGE = re.compile(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?")

Kind = Literal["lora", "lokr", "loha", "dora", "oft"]
Init = Literal["default", "orthogonal", "pissa"]
Part = Literal["layers", "noise_refiner", "context_refiner"]
Share = Annotated[StrictFloat, Field(ge=0, lt=1)]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"got {', '.join(twice)} more than once, expected every one once")
    return names


def _blocks_of_two(rank: int, info: ValidationInfo) -> int:
    if info.data.get("type") == "oft" and rank < 2:
        raise ValueError("got 1, expected at least 2 with type oft: a block of one output cannot turn")
    return rank


def _for_lokr(value: Any, info: ValidationInfo) -> Any:
    return _only_for(("lokr",), value, info)


def _for_low_rank(value: Any, info: ValidationInfo) -> Any:
    return _only_for(("lora", "dora"), value, info)


def _not_for_oft(value: Any, info: ValidationInfo) -> Any:
    return _only_for(("lora", "dora", "lokr", "loha"), value, info)


def _init_fits(init: str, info: ValidationInfo) -> str:
    if init != "default":
        _only_for(("lora",) if init == "pissa" else ("lora", "dora"), init, info)
    return init


def _nothing_else_starts(path: str, info: ValidationInfo) -> str:
    init = info.data.get("init", "default")
    if init != "default":
        raise ValueError(f"got {path!r}, but target.init is {init}: an old LoRA and an init cannot both be the start")
    return path


def _only_for(kinds: tuple[str, ...], value: Any, info: ValidationInfo) -> Any:
    """Refuse a setting that the chosen type would never read."""
    kind = info.data.get("type")
    if value and kind is not None and kind not in kinds:
        raise ValueError(f"got {value}, but target.type {kind} does not use it (only {', '.join(kinds)}): remove it")
    return value


def _number_as_text(value: Any) -> Any:
    """YAML reads a single block as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _known_blocks(text: str) -> str:
    block_numbers(text)
    return text


def block_numbers(text: str) -> frozenset[int] | None:
    """The numbers that `0-9,20-29` means; None for `all`.

    Raises:
        ValueError: it is neither.
    """
    if text.strip().lower() == ALL_BLOCKS:
        return None
    numbers: set[int] = set()
    for piece in text.split(","):
        found = _RANGE.fullmatch(piece)
        if found is None:
            raise ValueError(f"got {text!r}, expected `all` or ranges of blocks such as 0-9,20-29")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ValueError(f"got {piece.strip()!r}, expected the lower block first: {last}-{first}")
        numbers.update(range(first, last + 1))
    return frozenset(numbers)


Patterns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], AfterValidator(_each_once)]


class TargetPanel(BaseModel):
    """TARGET: kind, rank and alpha of the LoRA, and the layers it sits on."""

    model_config = PANEL

    type: Kind = "lora"
    """What is trained: `lora` (read by every tool), `dora` (direction and length apart, nearer to full training at low
    rank), `lokr` (Kronecker product, very small files), `loha` (elementwise product, high rank in a small file) or
    `oft` (rotations, which keep what the base knows).

    Formula: W + s B A; dora (W + s B A) m / |W + s B A|; lokr W + s W1 (x) W2; loha W + s (W1a W1b) o (W2a W2b); oft
    R^T W, with s = alpha / rank.
    Change it when: a LoRA of the same size does not get there; `lora` first.
    Careful: ComfyUI reads all of them, diffusers `lora` and (from 0.42 on) `lokr`; dora and loha take longer steps. On
    the tiny family lokr wants at least four times the learning rate, oft a quarter.
    """

    rank: Annotated[StrictInt, Field(ge=1, le=512), AfterValidator(_blocks_of_two)] = 16
    """Size of the LoRA (linear rank). 16 for styles and textures, 8 for a smaller and subtler LoRA. For `lokr` it is
    the rank of the large matrix, for `oft` the size of the blocks that turn together.

    Change it when: a style of fine texture stays blurred (up), or the LoRA copies its pictures (down).
    Careful: above 64 a LoRA mostly gets larger and overfits.
    """

    alpha: Annotated[StrictFloat, Field(gt=0)] | None = None
    """The LoRA's effect is multiplied by alpha / rank. Left out alpha equals the rank, so the factor is 1. For `oft` it
    limits how far a layer may turn (the norm of its Q); left out there is no limit.

    Formula: y = W x + (alpha / rank) * B A x.
    Change it when: a recipe from another trainer names one; half the rank halves effect and speed of learning.
    Careful: files are written with the factor in them, so at weight 1 every tool shows what was trained.
    """

    lokr_factor: Annotated[StrictInt, Field(ge=2, le=512), AfterValidator(_for_lokr)] | None = None
    """Size of a LoKr's small matrix: 8 means one of about 8 x 8 and one with an eighth of the layer's sides. Left out
    both are as near each other as they can be, the smallest file.

    Formula: in and out are split into factor * rest; where the factor does not divide, by the next smaller divisor.
    Change it when: the smallest LoKr learns too little; 4-16.
    Careful: small factors make large files.
    """

    lokr_full_rank: Annotated[StrictBool, AfterValidator(_for_lokr)] = False
    """Keep a LoKr's large matrix whole instead of as a product of two of the rank.

    Change it when: a LoKr should learn as much as it can; with lokr_factor 8-16.
    Careful: the file grows with it, and rank only scales alpha then.
    """

    init: Annotated[Init, AfterValidator(_init_fits)] = "default"
    """What A starts as: `default` (random), `orthogonal` (random rows at right angles, so that no two ranks begin
    alike), or `pissa` (the strongest directions of the layer itself, with the start subtracted so that nothing changes
    at first).

    Formula: pissa adds s (B A - B0 A0), where s B0 A0 is the part of W with the `rank` largest singular values.
    Change it when: a low rank learns too slowly (pissa), or two seeds give very different LoRAs (orthogonal).
    Careful: a pissa file has twice the rank, since it holds the start too; on the tiny family pissa wants a quarter of
    the learning rate.
    """

    start_from: Annotated[StrictStr, Field(min_length=1), AfterValidator(_nothing_else_starts)] | None = None
    """A LoRA to go on from: the path of a file or of a finished run, or `org/repo/file.safetensors`. Its rank may
    differ: a larger one is cut to its strongest directions, a smaller one gets fresh ranks beside it.

    Change it when: a finished LoRA should learn more, or another LoRA of this base is near what you want.
    Careful: the optimizer starts anew (`slipstream train` on the same job.name goes on with everything); the log says
    how many modules matched and how much of it was kept.
    """

    lora_plus_ratio: Annotated[StrictFloat, Field(ge=1, le=64), AfterValidator(_for_low_rank)] | None = None
    """LoRA+: B, which starts at zero, learns at this multiple of the learning rate. Off when left out.

    Formula: the rate of B is lora_plus_ratio * learning_rate, that of A learning_rate.
    Change it when: the LoRA learns too slowly at a rate that may not rise; 4-16.
    Careful: 16 with the usual rate is a lot; halve learning_rate with it.
    """

    dropout: Annotated[Share, AfterValidator(_not_for_oft)] = 0.0
    """Share of the LoRA's input values that are dropped while training, never in previews. 0 is off.

    Formula: A sees x * mask / (1 - share), a new mask at every step.
    Change it when: few pictures are learned by heart; 0.05-0.1.
    Careful: learning gets slower and noisier.
    """

    rank_dropout: Annotated[Share, AfterValidator(_for_low_rank)] = 0.0
    """Share of the ranks that are dropped for each sample while training, so that none carries all. 0 is off.

    Formula: B sees (A x) * mask / (1 - share), one mask per sample.
    Change it when: a high rank overfits; 0.1-0.2.
    Careful: at a low rank little is left to learn with.
    """

    module_dropout: Share = 0.0
    """Share of the LoRA's layers that are left out of a step as wholes. 0 is off.

    Change it when: the LoRA should work at weights below 1 too; 0.05-0.1.
    Careful: the layers that are left do all the work of the step, so the finished LoRA acts stronger than it trained.
    """

    target_modules: Annotated[Patterns, Field(min_length=1)] = TARGET_MODULES
    """Linear layers of the chosen blocks that get a LoRA branch: ends of names, or globs such as `attention.*` and
    `layers.*.feed_forward.w?`. Leave out `adaLN_modulation.0` for a LoRA that is about a fifth smaller.

    Change it when: only attention (composition, who is who) or only feed-forward (texture) should learn.
    Careful: fewer layers learn less at the same rank.
    """

    exclude_modules: Patterns = ()
    """Linear layers left out again, by the same kind of patterns.

    Change it when: a glob in target_modules takes in too much.
    """

    blocks: Annotated[StrictStr, BeforeValidator(_number_as_text), AfterValidator(_known_blocks)] = ALL_BLOCKS
    """Which of the main blocks get a LoRA: `all`, or ranges such as `0-9,20-29`, counted from 0.

    Change it when: a smaller LoRA is enough, or a recipe names the blocks it needs.
    Careful: the real model has blocks 0-29; refiners are chosen by `parts`.
    """

    parts: Annotated[tuple[Part, ...], Field(min_length=1), AfterValidator(_each_once)] = ("layers",)
    """Where the LoRA sits: `layers` (the main blocks), `noise_refiner` (sees only the picture), `context_refiner` (sees
    only the caption).

    Change it when: a new word or a new kind of picture does not get through the main blocks.
    Careful: gradients then run through the refiners, which takes a little time and memory; some tools read only keys
    of `layers`.
    """
