"""Names of optimizers and their arguments, as a config may give them. What a name stands for is known in training."""

from __future__ import annotations

import difflib
from typing import Any, Literal, get_args

OptimizerName = Literal[
    "adamw", "adamw8bit", "adafactor", "prodigy", "prodigy_schedulefree", "lion", "lion8bit", "schedulefree_adamw",
    "came", "muon",
]  # fmt: skip
LIBRARY_PREFIX = "pytorch_optimizer/"
"""What a name from the pytorch-optimizer library begins with."""

_OTHER_NAMES = {
    "adam": "adamw", "adam8bit": "adamw8bit", "prodigyplusschedulefree": "prodigy_schedulefree",
    "prodigy_plus_schedule_free": "prodigy_schedulefree", "adamwschedulefree": "schedulefree_adamw",
    "adamw_schedulefree": "schedulefree_adamw", "schedulefree": "schedulefree_adamw",
}  # fmt: skip


def known_optimizer(name: str) -> str:
    """The name, where it can be one; whether the library has a `pytorch_optimizer/<Name>` is checked later.

    Raises:
        ValueError: it is none of ours and has no prefix.
    """
    choices = get_args(OptimizerName)
    if name in choices or (name.startswith(LIBRARY_PREFIX) and len(name) > len(LIBRARY_PREFIX)):
        return name
    plain = name.lower().replace("-", "_").replace(" ", "_")
    close = [plain] if plain in choices else difflib.get_close_matches(plain, choices, n=1, cutoff=0.7)
    near = _OTHER_NAMES.get(plain) or (close[0] if close else None)
    hint = f"; did you mean {near!r}?" if near else ""
    raise ValueError(f"got {name!r}, expected {', '.join(choices)}, or {LIBRARY_PREFIX}<Name>{hint}")


def finds_its_rate(name: str) -> bool:
    """Whether the optimizer estimates the step size itself, so that the learning rate is a factor around 1."""
    plain = name.removeprefix(LIBRARY_PREFIX).lower()
    return plain.startswith(("prodigy", "dadapt"))


def is_schedule_free(name: str) -> bool:
    """Whether the optimizer averages its weights instead of letting the rate fall."""
    return "schedulefree" in name.lower()


def plain_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, once each is a plain value or a list of them.

    Raises:
        ValueError: one is a mapping or another kind of value, or has a setting of its own.
    """
    for name, value in arguments.items():
        if name in ("lr", "weight_decay", "params"):
            own = {"lr": "training.learning_rate", "weight_decay": "training.weight_decay"}.get(name)
            raise ValueError(f"got {name!r}, " + (f"which is set by {own}" if own else "which the LoRA provides"))
        values = value if isinstance(value, list | tuple) else [value]
        if not all(one is None or isinstance(one, bool | int | float | str) for one in values):
            raise ValueError(f"got {value!r} for {name!r}, expected a number, text, true, false, or a list of them")
    return arguments
