"""Optimizers by name: which class, with which arguments, and what of the settings it cannot use."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch

from slipstream.adapters.branches import ParameterGroup
from slipstream.core.errors import ConfigError, DeviceError
from slipstream.core.quiet import quiet_imports

OptimizerName = Literal[
    "adamw", "adamw8bit", "adafactor", "prodigy", "prodigy_schedulefree", "lion", "lion8bit", "schedulefree_adamw",
    "came", "muon",
]  # fmt: skip
LIBRARY = "pytorch_optimizer"
_NONE: Mapping[str, Any] = MappingProxyType({})
_FROM_PANEL = ("params", "lr", "weight_decay")


@dataclass(frozen=True)
class _Kind:
    """An optimizer with a name of its own: where its class is, what differs from the class's own defaults, and why."""

    module: str
    class_name: str
    why: str
    usual: Mapping[str, Any] = field(default_factory=lambda: _NONE)


_KINDS: Mapping[str, _Kind] = {
    "adamw": _Kind("torch.optim", "AdamW", "state in fp32"),
    "adamw8bit": _Kind("bitsandbytes.optim", "AdamW8bit", "state in 8 bits, a quarter of AdamW's memory"),
    "adafactor": _Kind(
        LIBRARY, "AdaFactor", "second moments by row and column only; fixed rate unless relative_step is set",
        {"betas": (None, 0.999), "relative_step": False, "scale_parameter": False},
    ),
    "prodigy": _Kind(LIBRARY, "Prodigy", "finds its own step size; learning_rate multiplies it",
                     {"safeguard_warmup": True}),
    "prodigy_schedulefree": _Kind(
        "prodigyplus", "ProdigyPlusScheduleFree", "finds its own step size and averages the weights; needs no schedule",
        {"split_groups": False},
    ),
    "lion": _Kind(LIBRARY, "Lion", "steps by the sign of the momentum; wants a third to a tenth of AdamW's rate"),
    "lion8bit": _Kind("bitsandbytes.optim", "Lion8bit", "Lion with its state in 8 bits"),
    "schedulefree_adamw": _Kind(LIBRARY, "ScheduleFreeAdamW", "averages the weights; needs no schedule"),
    "came": _Kind(LIBRARY, "CAME", "Adafactor's memory with a guard against unsteady updates"),
    "muon": _Kind(LIBRARY, "Muon", "steps by orthogonalised momentum, every direction of A and B alike"),
}  # fmt: skip


@dataclass(frozen=True)
class OptimizerSettings:
    """The training panel's share; None = the optimizer's own value."""

    name: str
    learning_rate: float
    weight_decay: float = 0.0
    beta1: float | None = None
    beta2: float | None = None
    eps: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True)
class OptimizerChoice:
    """An optimizer that is settled: its class and arguments, a line that says so, and settings without an effect."""

    name: str
    make: type[torch.optim.Optimizer]
    arguments: Mapping[str, Any]
    line: str
    notes: tuple[str, ...]


def choose_optimizer(settings: OptimizerSettings) -> OptimizerChoice:
    """Find the class and fit the settings to it.

    Raises:
        ConfigError: an unknown name or argument, or a value twice.
        DeviceError: the library that holds the class does not load here.
    """
    make, kind = _find(settings.name)
    known = _parameters(make)
    arguments, notes = _fitted(settings, kind, known)
    shown = ", ".join(f"{name} {_short(value)}" for name, value in arguments.items())
    line = f"optimizer: {settings.name} ({make.__name__} of {make.__module__.split('.')[0]}: {kind.why}); {shown}"
    return OptimizerChoice(settings.name, make, arguments, line, notes)


def build_optimizer(
    choice: OptimizerChoice, groups: list[ParameterGroup], device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer over the groups, each at the learning rate times its `lr_factor`.

    Raises:
        ConfigError: an argument has a value that the optimizer refuses.
    """
    arguments = dict(choice.arguments)
    if choice.make is torch.optim.AdamW:
        arguments.setdefault("fused", device.type == "cuda")
    rate = arguments.get("lr")
    given: list[dict[str, Any]] = [
        {"params": list(group.parameters), "lr_factor": group.lr_factor}
        | ({} if rate is None else {"lr": rate * group.lr_factor})
        for group in groups
    ]
    if _by_matrix(choice.make):
        given = [part for group in given for part in _matrices_apart(group, arguments)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return choice.make(given, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{choice.name} cannot be made with these settings: {error}", where="training.optimizer_args",
            fix="correct or leave out the argument it names, or choose another optimizer.",
        ) from error  # fmt: skip


def current_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate in effect: where the optimizer finds its own step size d, d times the rate."""
    groups = optimizer.param_groups
    group = next((one for one in groups if one.get("lr_factor", 1.0) > 0), groups[0])
    return float(group["lr"]) * float(group.get("d", 1.0)) / (group.get("lr_factor") or 1.0)


def _by_matrix(make: type) -> bool:
    """Whether it treats matrices and other parameters differently and wants to be told which are which."""
    return "muon" in make.__name__.lower() or make.__name__ == "AdaGO"


def _matrices_apart(group: dict[str, Any], arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The group in two. Its AdamW share (vectors) reads other arguments, so groups carry the common settings."""
    own = {key: arguments[key] for key in ("weight_decay",) if key in arguments}
    parts = {flat: [one for one in group["params"] if (one.ndim == 2) is flat] for flat in (True, False)}
    return [{**group, **own, "params": params, "use_muon": flat} for flat, params in parts.items() if params]


def _find(name: str) -> tuple[type[torch.optim.Optimizer], _Kind]:
    if name in _KINDS:
        kind = _KINDS[name]
        return getattr(_library(kind.module, name), kind.class_name), kind
    if not name.startswith(f"{LIBRARY}/"):
        raise ConfigError(f"unknown optimizer {name!r}; known: {', '.join(get_args(OptimizerName))}",
                          where="training.optimizer")  # fmt: skip
    library, wanted = _library(LIBRARY, name), name.partition("/")[2]
    known = library.get_supported_optimizers()
    if wanted.lower() not in known:
        names = {library.load_optimizer(one).__name__ for one in known}
        by_lower = {one: one for one in known} | {one.lower(): one for one in sorted(names)}
        near = [by_lower[one] for one in difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.6)]
        near = list(dict.fromkeys(near))
        fix = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(sorted(names))}."
        raise ConfigError(f"{LIBRARY} has no optimizer {wanted!r}", where="training.optimizer", fix=fix)
    make = library.load_optimizer(wanted)
    return make, _Kind(LIBRARY, make.__name__, "as that library has it")


def _library(module: str, name: str) -> Any:
    package = {"prodigyplus": "prodigy-plus-schedule-free", LIBRARY: "pytorch-optimizer"}.get(
        module, module.split(".")[0]
    )
    with quiet_imports():
        try:
            return importlib.import_module(module)
        except (ImportError, OSError, RuntimeError) as error:
            raise DeviceError(
                f"{name} needs {package}, which does not load here ({error})", where="training.optimizer",
                fix=f"pip install {package}, or set training.optimizer=adamw.",
            ) from error  # fmt: skip


def _parameters(make: type) -> dict[str, Any]:
    """The constructor's arguments with their defaults; those that have none are not listed by libraries we use."""
    parameters = inspect.signature(make).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {one.name: one.default for one in parameters if one.kind in kinds}


def _fitted(
    settings: OptimizerSettings, kind: _Kind, known: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(constructor arguments, one line per setting that has no effect)."""
    _require_known(settings, known)
    own = {**kind.usual, **settings.arguments}
    notes: list[str] = []
    arguments: dict[str, Any] = {}
    if "lr" in known:
        arguments["lr"] = settings.learning_rate
    if "lr" not in known or own.get("relative_step", known.get("relative_step", False)):
        notes.append("training.learning_rate and its schedule have no effect: it sets its own rate")
    if "weight_decay" in known:
        arguments["weight_decay"] = settings.weight_decay
    elif settings.weight_decay:
        notes.append(f"training.weight_decay {settings.weight_decay:g} has no effect: it has none")
    arguments |= {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}
    betas, unused = _betas(settings, own, known)
    notes += unused
    if betas is not None:
        arguments["betas"] = betas
    if settings.eps is not None:
        if "eps" in known:
            arguments["eps"] = settings.eps
        else:
            others = [name for name in known if "eps" in name]
            instead = f"; its own are {', '.join(others)} in training.optimizer_args" if others else ""
            notes.append(f"training.eps {settings.eps:g} has no effect: it has no such argument{instead}")
    return arguments, tuple(f"{settings.name}: {note}" for note in notes)


def _betas(
    settings: OptimizerSettings, own: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[tuple[Any, ...] | None, list[str]]:
    """(the betas to give, or None to leave them as they are; settings without an effect)."""
    given = {"beta1": settings.beta1, "beta2": settings.beta2}
    if all(value is None for value in given.values()):
        return None, []
    if isinstance(default := own.get("betas", known.get("betas")), list | tuple):
        betas = tuple(default)
        places = (settings.beta1, settings.beta2)
        return tuple(
            value if place >= len(places) or places[place] is None else places[place]
            for place, value in enumerate(betas)
        ), []
    instead = "; see momentum in training.optimizer_args" if "momentum" in known else ""
    return None, [
        f"training.{name} {value:g} has no effect: it has no such argument{instead}"
        for name, value in given.items()
        if value is not None
    ]


def _require_known(settings: OptimizerSettings, known: Mapping[str, Any]) -> None:
    usable = [name for name in known if name not in _FROM_PANEL]
    for name in settings.arguments:
        if name not in usable:
            close = difflib.get_close_matches(name, usable, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ConfigError(
                f"{settings.name} has no argument {name!r}", where="training.optimizer_args",
                fix=f"{hint}It knows {', '.join(usable)}.",
            )  # fmt: skip
    twice = {"betas": ("beta1", "beta2"), "eps": ("eps",)}
    for name, fields in twice.items():
        if name in settings.arguments and any(getattr(settings, one) is not None for one in fields):
            raise ConfigError(
                f"{name} stands in training.optimizer_args and as training.{fields[0]}",
                where="training.optimizer_args", fix="keep one of the two.",
            )  # fmt: skip


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
