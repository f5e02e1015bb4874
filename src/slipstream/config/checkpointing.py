"""`training.gradient_checkpointing`: none, auto, full, or an amount of memory."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

MODES = ("none", "auto", "full")
_EXPECTED = "expected none, auto, full, or an amount of memory for activations such as 12 GiB"
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(gib|gb|g)", re.IGNORECASE)


def _known(value: Any) -> Any:
    """The mode, or `12 GiB` however it was written; switches of other trainers get an answer."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        raise ValueError(
            f"got {str(value).lower()}, {_EXPECTED}: {'full' if value else 'none'} is what you mean"
            + (", or auto, which keeps what fits" if value else "")
        )
    if isinstance(value, int | float):
        raise ValueError(f"got {value:g}, {_EXPECTED}: write the unit too, {value:g} GiB")
    if not isinstance(value, str):
        raise ValueError(f"got {value!r}, {_EXPECTED}")
    if value in MODES:
        return value
    if amount := _AMOUNT.fullmatch(value.strip()):
        if float(amount[1]) == 0:
            raise ValueError(f"got {value!r}, {_EXPECTED}: full keeps the least")
        return f"{float(amount[1]):g} GiB"
    if value.strip().lower() in ("selective", "partial"):
        raise ValueError(f"got {value!r}, {_EXPECTED}: auto chooses what each block keeps")
    raise ValueError(f"got {value!r}, {_EXPECTED}")


GradientCheckpointing = Annotated[str, BeforeValidator(_known)]


def budget_gib(mode: str) -> float | None:
    """The amount of memory that a valid mode names; None for none, auto and full."""
    return None if mode in MODES else float(mode.removesuffix(" GiB"))
