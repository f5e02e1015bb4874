"""`network:` and `save:` of a job file: the LoRA's shape, and its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipstream.config.imports.ai_toolkit.steps import in_updates
from slipstream.config.imports.reading import as_list, dtype, number
from slipstream.config.imports.rules import Group, Spot, Table, decide, lacking, skip, take

DEFAULT_RANK = 4
"""Rank of a `network:` that names none."""

_NO_CONV = skip("Z-Image has no convolutions")
_KINDS = {"lora": "lora", "locon": "lora", "lokr": "lokr", "dora": "dora", "loha": "loha"}


def rank_of(network: Mapping[str, Any]) -> Any:
    """`rank`, else `linear`, else the default there."""
    for name in ("rank", "linear"):
        if network.get(name) is not None:
            return number(network[name])
    return DEFAULT_RANK


@decide("target.type")
def _kind(spot: Spot) -> None:
    kind = _KINDS.get(str(spot.value).lower())
    if kind is None:
        return spot.put("target.type", "lora", f"{spot.value!r} is not known here; a LoRA is trained", matters=True)
    same = kind == spot.value
    spot.put("target.type", kind, "" if same else "Z-Image has no convolutions, so this is a LoRA")


@decide("target.rank")
def _rank(spot: Spot) -> None:
    if spot.name == "linear" and spot.group.get("rank") is not None:
        return spot.ignore("rank stands beside it and decides")
    spot.put("target.rank", number(spot.value))


@decide("target.alpha")
def _alpha(spot: Spot) -> None:
    if spot.name == "alpha" and "linear_alpha" in spot.group:
        return spot.ignore("linear_alpha stands beside it")
    rank = rank_of(spot.group)
    is_lokr = str(spot.group.get("type")).lower() == "lokr"
    if number(spot.value) == rank or (is_lokr and not spot.group.get("lokr_full_rank")):
        return spot.put("target.alpha", number(spot.value))
    spot.put(
        "target.alpha", rank,
        f"alpha has no effect there (it trains as if it were the rank); here it counts, so {rank} gives the same "
        f"{'LoKr' if is_lokr else 'LoRA'}", matters=True,
    )  # fmt: skip


def _patterns(values: Any) -> list[str]:
    """Parts of module names as globs; the transformer's own name in front is dropped."""
    names = [str(value).removeprefix("transformer.").strip() for value in as_list(values)]
    return [f"*{name}*" for name in names if name]


@decide("target.exclude_modules")
def _ignored_modules(spot: Spot) -> None:
    patterns = _patterns(spot.value or [])
    if not patterns:
        return spot.ignore("empty: nothing is excluded")
    spot.put("target.exclude_modules", patterns, "parts of names become globs")


@decide("target.target_modules")
def _only_modules(spot: Spot) -> None:
    patterns = _patterns(spot.value or [])
    if not patterns:
        return spot.ignore("empty: nothing is excluded")
    spot.put("target.target_modules", patterns, "parts of names become globs")


@decide("target.lokr_factor")
def _factor(spot: Spot) -> None:
    if str(spot.group.get("type", "lora")).lower() != "lokr":
        return spot.ignore("only LoKr has it")
    if number(spot.value) in (None, -1):
        return spot.ignore("-1 chooses it by itself, and so does our default")
    spot.put("target.lokr_factor", number(spot.value))


@decide("target.lokr_full_rank")
def _full_rank(spot: Spot) -> None:
    if str(spot.group.get("type", "lora")).lower() != "lokr":
        return spot.ignore("only LoKr has it")
    spot.put("target.lokr_full_rank", bool(spot.value))


NETWORK: Table = {
    "type": _kind,
    "linear": _rank,
    "rank": _rank,
    "linear_alpha": _alpha,
    "alpha": _alpha,
    "conv": _NO_CONV,
    "conv_alpha": _NO_CONV,
    "dropout": take("target.dropout", number),
    "lokr_factor": _factor,
    "lokr_full_rank": _full_rank,
    "old_lokr_format": skip("a file format of older LoKr files"),
    "pretrained_lora_path": take("target.start_from"),
    "network_kwargs": Group(
        {
            "ignore_if_contains": _ignored_modules,
            "only_if_contains": _only_modules,
            "rank_dropout": take("target.rank_dropout", number),
            "module_dropout": take("target.module_dropout", number),
        },
        "target",
    ),
    "transformer_only": lacking("only the transformer is trained here", True),
    "split_multistage_loras": skip("for models of two stages"),
    "layer_offloading": lacking(
        "the LoRA stays on the GPU here; quantization.layer_offloading moves the base's blocks"
    ),
    "all_layers": lacking("a LoRA sits on linear layers only"),
    "normalize": lacking("rescaling of the saved weights"),
    "lorm": lacking("a way of making small models"),
}


@decide("save.dtype")
def _dtype(spot: Spot) -> None:
    found = dtype(spot.value)
    spot.put("save.dtype", found, "" if found == spot.value else "the same by its short name")


@decide("save.push_to_hub")
def _push(spot: Spot) -> None:
    repo = spot.group.get("hf_repo_id")
    if not spot.value:
        return spot.ignore("off, as it is by default")
    if not repo:
        return spot.ignore("there is no hf_repo_id to push to", matters=True)
    spot.put("save.push_to_hub.repo", repo, "with hf_repo_id and hf_private")
    spot.also("save.push_to_hub.private", bool(spot.group.get("hf_private", False)))


def _belongs_to_push(target: str) -> Any:
    def act(spot: Spot) -> None:
        if spot.group.get("push_to_hub") and spot.group.get("hf_repo_id"):
            return spot.put(target, spot.value)
        spot.ignore("push_to_hub is off")

    return decide(target)(act)


SAVE: Table = {
    "dtype": _dtype,
    "save_dtype": _dtype,
    "save_every": in_updates("save.every"),
    "max_step_saves_to_keep": take("save.keep", number),
    "save_format": skip("one format here, with the keys that ComfyUI and diffusers load"),
    "push_to_hub": _push,
    "hf_repo_id": _belongs_to_push("save.push_to_hub.repo"),
    "hf_private": _belongs_to_push("save.push_to_hub.private"),
}
