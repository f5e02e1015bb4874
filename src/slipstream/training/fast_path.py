"""Whether the main blocks run as one function with a backward pass by hand, and a line that says why or why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from torch import nn

from slipstream.adapters.branches import AdaptedLinear, Branch, BranchSet
from slipstream.adapters.low_rank import LowRank
from slipstream.kernels.attention import ChosenAttention, fastest_attention, plain_attention
from slipstream.models.z_image.family import ADAPTER_ROOT, release_memory
from slipstream.models.z_image.fast_predictor import FastPredictor
from slipstream.models.z_image.stack import BlockStack
from slipstream.models.z_image.streamed import NO_STREAMING, Streaming
from slipstream.precision.linear import QuantizedLinear
from slipstream.training.float8_path import float8_path, is_float8
from slipstream.training.keeping import Keeping

FUSED = ("noise_refiner", ADAPTER_ROOT)
"""The lists of blocks that are fused; the caption's are run once per caption."""
TOKENS = 2432
"""Tokens at which attention is timed: 768 x 768 with a caption of 128."""


@dataclass(frozen=True)
class Kernels:
    """What was chosen by timing: a run that is resumed keeps it, so that its numbers do not change.

    Attributes:
        attention: name of the attention kernel.
        float8: shape to name of the float8 product.
    """

    attention: str | None = None
    float8: Mapping[str, str] = field(default_factory=dict)


NO_KERNELS = Kernels()
"""Nothing is chosen yet."""


@dataclass(frozen=True)
class FastPath:
    """The fused main blocks, the prediction over them, and the kernels that were chosen."""

    stack: BlockStack
    predict: FastPredictor
    kernels: Kernels

    def keep(self, keeping: Keeping) -> None:
        """From now on blocks keep this much."""
        self.stack.levels_at = keeping.levels_at
        self.predict.limit_graphs(keeping.graph_tokens)


def fast_path(
    transformer: nn.Module, lora: BranchSet | None, device: torch.device, *, known: Kernels = NO_KERNELS,
    float8: bool = False,
    keep_transposed: bool | None = None, streaming: Streaming = NO_STREAMING,
) -> tuple[FastPath | None, list[str]]:  # fmt: skip
    """The fast path over a transformer with its branches attached, or None, and lines that say what was chosen and why.

    It takes plain LoRA (and a LoRA training adapter) beside bf16 weights on CUDA, or float8 weights where those shall
    be multiplied in float8; everything else trains block by block, module by module, with the same result.

    Args:
        lora: what is trained; None where the model is only drawn with.
        known: the kernels that this run has used so far; timed anew where there are none or they do not run here.
        float8: multiply float8 weights in float8; the CPU emulates it.
        keep_transposed: hold float8 codes transposed too; None does where there is room.
        streaming: which main blocks stream from host memory.
    """
    obstacle = _obstacle(transformer, device, float8)
    if obstacle is not None:
        return None, [f"blocks: module by module ({obstacle})"]
    refiner, blocks = (_blocks(transformer, root) for root in FUSED)
    heads = int(blocks[0].attention.heads)  # type: ignore[union-attr, arg-type]
    width = int(blocks[0].attention.norm_q.weight.shape[0])  # type: ignore[union-attr, index]
    chosen = _attention(device, heads, width, known.attention)
    branches = [[branches_of(block) for block in own] for own in (refiner, blocks)]
    packed = (
        float8_path([*refiner, *blocks], [*branches[0], *branches[1]], device, known.float8, keep_transposed)
        if float8
        else None
    )
    stack = partial(
        BlockStack, attend=chosen.attend, multiply=packed.chosen.multiply if packed else None,
        keep_transposed=packed is not None and packed.keep_transposed,
    )  # fmt: skip
    before, main = stack(refiner, branches[0]), stack(blocks, branches[1], streaming=streaming)
    release_memory()  # the linears' first weights, which the joint matrices replaced
    outside = _outside(transformer)
    against = _obstacle_to_graphs(outside, device, before, main)
    trained = [] if lora is None else lora.parameters()
    predict = FastPredictor(
        transformer, before, main, trained if against is None else None, keep_contexts=outside is None
    )
    graphs = (
        "CUDA graphs: one per shape, from its second batch on" if against is None else f"CUDA graphs: none ({against})"
    )
    return FastPath(main, predict, Kernels(chosen.name, {} if packed is None else packed.chosen.names)), [
        "blocks: fused, with a backward pass by hand", chosen.line, *(() if packed is None else packed.lines), graphs,
        *(() if outside is None else (f"captions: refined anew at every step ({outside} has a branch)",)),
    ]  # fmt: skip


def can_run_fast(transformer: nn.Module, device: torch.device, *, float8: bool = False) -> bool:
    """Whether `fast_path` will take it."""
    return _obstacle(transformer, device, float8) is None


def _attention(device: torch.device, heads: int, width: int, known: str | None) -> ChosenAttention:
    if device.type != "cuda":
        return ChosenAttention(plain_attention, "torch", "attention: torch's own (fused blocks on the CPU)")
    return fastest_attention(device, torch.bfloat16, heads=heads, width=width, tokens=TOKENS, known=known)


def _outside(transformer: nn.Module) -> str | None:
    """Name of a linear outside of the fused blocks with a branch, which may be trained or switched; None if none."""
    fused = {name for name, _ in _hosts(transformer)}
    parts = transformer.named_modules()
    return next((name for name, part in parts if isinstance(part, AdaptedLinear) and name not in fused), None)


def _obstacle_to_graphs(outside: str | None, device: torch.device, *stacks: BlockStack) -> str | None:
    """What keeps predictions from being captured, or None."""
    if device.type != "cuda":
        return "no CUDA"
    if not all(stack.fits_graphs for stack in stacks):
        return "adaLN has several branches, or not in every block"
    return f"{outside} has a branch outside of the fused blocks" if outside is not None else None


def _obstacle(transformer: nn.Module, device: torch.device, float8: bool) -> str | None:
    """What keeps a transformer from the fast path, or None."""
    if device.type != "cuda" and not float8:
        return "fused blocks need a CUDA GPU"
    if device.type == "cuda" and next(transformer.parameters()).dtype != torch.bfloat16:
        return "fused blocks compute in bf16, the weights are not"
    for root in FUSED:
        for part in transformer.get_submodule(root).modules():
            if isinstance(part, QuantizedLinear) and not (float8 and is_float8(part)):
                return "the weights are quantized and not multiplied in float8"
    for name, host in _hosts(transformer):
        for module in host.branches.values():
            branch = cast(Branch, module)
            if not isinstance(branch, LowRank) or branch.minus_start:
                return f"{name} has a branch of another kind than plain LoRA"
            if branch.dropout.inputs or branch.dropout.ranks or branch.dropout.modules:
                return "the LoRA has dropout"
    return None


def _blocks(transformer: nn.Module, root: str) -> list[nn.Module]:
    return list(cast(nn.ModuleList, transformer.get_submodule(root)))


def _hosts(module: nn.Module) -> Iterator[tuple[str, AdaptedLinear]]:
    """Adapted linears of the fused blocks."""
    for name, part in module.named_modules():
        if isinstance(part, AdaptedLinear) and name.partition(".")[0] in FUSED:
            yield name, part


def branches_of(block: nn.Module) -> dict[str, Mapping[str, LowRank]]:
    """The branches of one block that are not folded, by the name of the linear they sit beside, then by role."""
    found: dict[str, Mapping[str, LowRank]] = {}
    for name, part in block.named_modules():
        if isinstance(part, AdaptedLinear):
            live = [role for role in part.branches if role not in part.folded]
            found[name] = Live(part.branches, live)
    return found


class Live(Mapping[str, LowRank]):
    """Some roles of a linear's branches, whichever branch holds the role at the moment."""

    def __init__(self, branches: nn.ModuleDict, roles: Sequence[str]) -> None:
        self._branches, self._roles = branches, tuple(roles)

    def __getitem__(self, role: str) -> LowRank:
        return cast(LowRank, self._branches[role])

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)
