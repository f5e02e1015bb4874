"""`quantization.layer_offloading`: auto, or a percentage of the blocks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

AUTO = "auto"
_EXPECTED = "expected auto, or a percentage of the blocks from 0 to 100"


def _known(value: Any) -> Any:
    """The percentage however it was written; switches and shares of other trainers get an answer."""
    if isinstance(value, bool):
        more = "say how much: 100 offloads every block" if value else "write 0"
        raise ValueError(f"got {str(value).lower()}, {_EXPECTED}: {more}")
    if value == AUTO:
        return value
    number = _number(value)
    if number is None or not 0 <= number <= 100:
        raise ValueError(f"got {value!r}, {_EXPECTED}")
    if 0 < number < 1:
        raise ValueError(f"got {value!r}, {_EXPECTED}: if you mean that share of the blocks, write {number * 100:g}")
    if number != int(number):
        raise ValueError(f"got {value!r}, {_EXPECTED}, a whole number")
    return int(number)


def _number(value: Any) -> float | None:
    """A number, or a text such as `50 %`."""
    if isinstance(value, str):
        try:
            return float(value.strip().removesuffix("%"))
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) else None


LayerOffloading = Annotated[int | str, BeforeValidator(_known)]


def percent_of(value: int | str) -> int:
    """The percentage of a valid value; `auto` offloads nothing."""
    return 0 if isinstance(value, str) else value
