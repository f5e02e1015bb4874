"""Reading values as other trainers write them: numbers in quotes, data types by many names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipstream.config.quantization import ELSEWHERE

_DTYPES = {
    "bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "float16": "fp16", "half": "fp16", "float": "fp32",
    "fp32": "fp32", "float32": "fp32", "no": "fp32",
}  # fmt: skip


def number(value: Any) -> Any:
    """A number that may stand in quotes; anything else as it is, for the config's own check to refuse."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def count(value: Any) -> int:
    """A whole number from 1; 1 for anything else, which the config's own check refuses where it is a setting."""
    found = number(value)
    return max(1, found) if isinstance(found, int) else 1


def text(value: Any) -> Any:
    """Text; false and null, which some write for `none`, are empty."""
    return "" if value is None or value is False else value


def dtype(value: Any) -> Any:
    """A data type by any of its names, as `bf16`, `fp16` or `fp32`."""
    return _DTYPES.get(str(value).lower().removeprefix("torch."), value)


def weight_format(value: Any) -> str | None:
    """The nearest weight format of ours, or None for a name that is not known."""
    name = str(value).lower().partition("|")[0]
    return next((here for here, names in ELSEWHERE.items() if name == here or name in names), None)


def multiple_of_16(value: Any) -> Any:
    """A side in pixels rounded down to what the model can draw."""
    side = number(value)
    return max(64, int(side) // 16 * 16) if isinstance(side, int | float) else side


def as_list(value: Any) -> list[Any]:
    """One or several."""
    return list(value) if isinstance(value, list | tuple) else [value]


def group(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The group of settings under a key; an empty one where there is none, or something else."""
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def groups(values: Mapping[str, Any], name: str) -> list[tuple[int, Mapping[str, Any]]]:
    """The groups in the list under a key, with their places; entries of another shape are left out."""
    found = values.get(name)
    items = found if isinstance(found, list) else []
    return [(place, item) for place, item in enumerate(items) if isinstance(item, Mapping)]
