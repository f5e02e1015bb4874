"""Keys of adapter files: the spellings of the field, read into one, with every file's alpha put into its tensors.

Known: `diffusion_model.` (ComfyUI, ai-toolkit), `transformer.` (diffusers), `base_model.model.` (PEFT), and kohya's
`lora_unet_layers_0_attention_to_q`, whose dots the model's own names bring back. Modules that other layouts fuse
(`attention.qkv`) are split by a table that the model family hands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from slipstream.adapters.kinds import kind_of, missing_partner
from slipstream.core.errors import AdapterError

PREFIXES = ("diffusion_model.", "transformer.", "base_model.model.", "lora_unet_", "lycoris_")
Aliases = Mapping[str, tuple[str, ...]]
"""End of a module's name in another layout -> its names here; several where it was fused, rows in this order."""

_SPELLINGS = {
    "lora_A.weight": ("lora_A.weight", "lora_down.weight", "lora_A.default.weight", "lora.down.weight"),
    "lora_B.weight": ("lora_B.weight", "lora_up.weight", "lora_B.default.weight", "lora.up.weight"),
    "dora_scale": (
        "dora_scale", "lora_magnitude_vector", "lora_magnitude_vector.weight", "lora_magnitude_vector.default.weight",
    ),
    **{
        key: (key,)
        for key in (
            "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b",
            "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "oft_blocks", "alpha",
        )
    },
}  # fmt: skip
_ENDINGS = {f".{spelling}": key for key, spellings in _SPELLINGS.items() for spelling in spellings}


def read_modules(tensors: Mapping[str, Tensor], where: str) -> dict[str, dict[str, Tensor]]:
    """A file's tensors by module and by key of ours, alpha put in; names as the file has them, without its prefix.

    Raises:
        AdapterError: a key is strange, or a module lacks a tensor.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    spelled: dict[str, str] = {}
    strange: list[str] = []
    for key, tensor in tensors.items():
        ending = next((known for known in _ENDINGS if key.endswith(known)), None)
        if ending is None:
            strange.append(key)
            continue
        name = _without_prefix(key.removesuffix(ending))
        modules.setdefault(name, {})[_ENDINGS[ending]] = tensor
        spelled.setdefault(name, key)
    strange += [spelled[name] for name, found in modules.items() if found.keys() == {"alpha"}]
    if strange or not modules:
        sample = ", ".join(sorted(strange)[:3]) or "no tensors at all"
        raise AdapterError(
            f"these keys are not a LoRA in a layout known here: {sample}", where=where,
            fix="expected keys like `diffusion_model.layers.0.attention.to_q.lora_A.weight`.",
        )  # fmt: skip
    return {name: _plain(found, spelled[name], name, where) for name, found in modules.items()}


def _without_prefix(stem: str) -> str:
    for prefix in PREFIXES:
        if stem.startswith(prefix):
            stem = stem.removeprefix(prefix)
    return stem


def _plain(found: dict[str, Tensor], key: str, name: str, where: str) -> dict[str, Tensor]:
    """One module's tensors with alpha in them and products that need no factors of their own multiplied out."""
    alpha = found.pop("alpha", None)
    limit = 0.0 if alpha is None else float(alpha)
    if "oft_blocks" in found:
        found["oft_blocks"] = _limited(found["oft_blocks"], limit)
    elif alpha is not None and (rank := _rank(found)):
        last = next(k for k in ("lora_B.weight", "hada_w2_a", "lokr_w2_b", "lokr_w2") if k in found)
        scale = limit / rank
        found[last] = found[last] if scale == 1.0 else found[last] * scale
    if {"lokr_w1_a", "lokr_w1_b"} <= found.keys():
        found["lokr_w1"] = found.pop("lokr_w1_a") @ found.pop("lokr_w1_b")
    if "dora_scale" in found and found["dora_scale"].ndim == 1:
        found["dora_scale"] = found["dora_scale"].unsqueeze(1)
    if kind_of(found) is None:
        partner = missing_partner(frozenset(found))
        stem = key.removesuffix(next(ending for ending in _ENDINGS if key.endswith(ending)))
        what = f"has no partner {stem}.{partner}" if partner else f"stands beside {', '.join(sorted(found))}"
        raise AdapterError(
            f"{key} {what}", where=where, fix="the file is cut, or of a kind that is not read here; export it again."
        )
    return found


def _rank(found: Mapping[str, Tensor]) -> int:
    """What a file's alpha is divided by; 0 where alpha has no effect (a LoKr of whole matrices)."""
    for key in ("lora_A.weight", "hada_w1_b", "lokr_w2_b", "lokr_w1_b"):
        if key in found:
            return found[key].shape[0]
    return 0


def _limited(blocks: Tensor, limit: float) -> Tensor:
    """OFT blocks whose Q has at most this norm, which is what alpha means there (0 = no limit)."""
    norm = float(torch.linalg.vector_norm((blocks - blocks.mT).float())) if limit and blocks.ndim == 3 else 0.0
    return blocks * (limit / norm) if norm > limit else blocks


def resolve(
    modules: Mapping[str, Mapping[str, Tensor]], linears: Iterable[str], aliases: Aliases, where: str
) -> dict[str, Mapping[str, Tensor]]:
    """A file's modules under the names of this model; a name that means nothing here stays as it is.

    Raises:
        AdapterError: a fused module cannot be split.
    """
    known = dict.fromkeys(linears)
    foreign = {
        name.removesuffix(parts[0]) + alias: tuple(name.removesuffix(parts[0]) + part for part in parts)
        for name in known
        for alias, parts in aliases.items()
        if name.endswith(f".{parts[0]}")
    }
    dotted = {name.replace(".", "_"): name for name in (*known, *foreign)}
    resolved: dict[str, Mapping[str, Tensor]] = {}
    for name, tensors in modules.items():
        name = name if name in known or name in foreign else dotted.get(name, name)
        targets = foreign.get(name, (name,)) if name not in known else (name,)
        pieces = split_rows(tensors, len(targets), f"{where}: {name}") if len(targets) > 1 else [tensors]
        resolved.update(zip(targets, pieces, strict=True))
    return resolved


_ROWS = {
    "lora": ("lora_B.weight",),
    "dora": ("lora_B.weight", "dora_scale"),
    "loha": ("hada_w1_a", "hada_w2_a"),
    "lokr": ("lokr_w1",),
    "oft": ("oft_blocks",),
}
"""Tensors of each kind whose first axis runs along the outputs."""


def split_rows(tensors: Mapping[str, Tensor], count: int, where: str) -> list[dict[str, Tensor]]:
    """A branch of a fused linear as one for each of the `count` linears it was fused from.

    Raises:
        AdapterError: the kind's rows do not come apart.
    """
    kind = kind_of(tensors) or ""
    rows = _ROWS[kind]
    if any(tensors[key].shape[0] % count for key in rows):
        raise AdapterError(
            f"this {kind} of a fused linear does not come apart into {count}", where=where,
            fix="convert it to a LoRA of separate q, k and v first.",
        )  # fmt: skip
    chunks = {key: tensors[key].chunk(count) for key in rows}
    return [{key: chunks[key][i] if key in rows else tensor for key, tensor in tensors.items()} for i in range(count)]
