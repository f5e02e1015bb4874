"""Optimizer, learning rate and schedule in a job file's `train:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipstream.config.imports.reading import as_list, group, number
from slipstream.config.imports.rules import Draft, Group, Spot, Table, decide, skip, take

DEFAULT_OPTIMIZER = "adamw"
ADAM_EPS = 1e-6
"""What that trainer gives to Adam and Prodigy where the file says nothing."""

_NAMES = {
    "adamw": "adamw", "adamw8bit": "adamw8bit", "adafactor": "adafactor", "lion": "lion", "lion8bit": "lion8bit",
    "prodigy": "prodigy", "prodigyopt": "prodigy", "prodigyschedulefree": "prodigy_schedulefree", "came": "came",
    "prodigyplusschedulefree": "prodigy_schedulefree", "schedulefreeadamw": "schedulefree_adamw",
    "adamwschedulefree": "schedulefree_adamw", "muon": "muon",
}  # fmt: skip
_NEAREST = {
    "adam": ("adamw", "Adam; AdamW differs only in how weight decay acts"),
    "adam8bit": ("adamw8bit", "Adam; AdamW differs only in how weight decay acts"),
    "adam8": ("adamw8bit", "Adam in 8 bits; AdamW differs only in how weight decay acts"),
    "adamw8": ("adamw8bit", "the same in another package"),
    "prodigy8bit": ("prodigy", "Prodigy with its state in full precision"),
    "dadaptation": ("prodigy", "D-Adaptation; Prodigy is its successor"),
    "dadaptationadam": ("prodigy", "D-Adaptation; Prodigy is its successor"),
    "dadaptadam": ("prodigy", "D-Adaptation; Prodigy is its successor"),
    "dadaptationlion": ("prodigy", "D-Adaptation; Prodigy is its successor"),
    "dadaptlion": ("prodigy", "D-Adaptation; Prodigy is its successor"),
    "ademamix8bit": ("pytorch_optimizer/AdEMAMix", "the same with its state in full precision"),
    "adagrad": ("adamw", "Adagrad is not here"),
}
_AUTOMAGIC = "Automagic adapts a rate per weight; Adafactor, which it grew from, is the nearest and keeps to one rate"

_DECAYS = {"adamw": 0.01, "adamw8bit": 0.01, "prodigy": 0.0, "adafactor": 0.0, "lion": 0.0, "lion8bit": 0.0}
"""Weight decay of their packages' own defaults, which hold there where the file names none."""

_ARGUMENTS: Mapping[str, Mapping[str, str | None]] = {
    "prodigy": {"decouple": "weight_decouple", "use_bias_correction": "bias_correction", "slice_p": None,
                "fsdp_in_use": None},
    "adamw8bit": {"percentile_clipping": None, "block_wise": None, "decouple": None},
    "lion": {"use_triton": None},
    "lion8bit": {"percentile_clipping": None, "block_wise": None},
}  # fmt: skip
"""Arguments that the packages here call otherwise, or (None) do without."""

_SCHEDULES = {"constant": "constant", "cosine": "cosine", "polynomial": "polynomial", "rex": "rex"}


def _plain(name: Any) -> str:
    return str(name).lower().replace("_", "").replace("-", "")


def optimizer_of(train: Mapping[str, Any]) -> str:
    """Our optimizer for the file's."""
    name = _plain(train.get("optimizer", DEFAULT_OPTIMIZER))
    if name.startswith("automagic"):
        return "adafactor"
    nearest = _NEAREST.get(name)
    return nearest[0] if nearest else _NAMES.get(name, "adamw8bit")


@decide("training.optimizer")
def _optimizer(spot: Spot) -> None:
    name, found = _plain(spot.value), optimizer_of(spot.group)
    if name in _NAMES:
        return spot.put("training.optimizer", found, "" if found == spot.value else "the same by our name")
    if name in _NEAREST:
        return spot.put("training.optimizer", found, _NEAREST[name][1], matters=name in ("adagrad",))
    why = _AUTOMAGIC if name.startswith("automagic") else f"{spot.value!r} is not known here"
    spot.put("training.optimizer", found, why, matters=True)


def _finds_its_own_rate(optimizer: str) -> bool:
    return optimizer.startswith("prodigy")


@decide("training.learning_rate")
def _rate(spot: Spot) -> None:
    if spot.name == "lr" and "unet_lr" in spot.group:
        return spot.ignore("unet_lr stands beside it and decides")
    rate, optimizer = number(spot.value), optimizer_of(spot.group)
    if _finds_its_own_rate(optimizer) and isinstance(rate, int | float) and rate < 0.1:
        return spot.put("training.learning_rate", 1.0, f"{optimizer} finds its rate; below 0.1 means 1 there too")
    spot.put("training.learning_rate", rate)


@decide("training.beta1", "training.beta2")
def _betas(spot: Spot) -> None:
    betas = [number(value) for value in as_list(spot.value)]
    if len(betas) != 2:
        return spot.put("training.optimizer_args.betas", betas)
    spot.put("training.beta1", betas[0], "betas are beta1 and beta2 here")
    spot.also("training.beta2", betas[1])


@decide("training.optimizer_args", "training.eps")
def _eps(spot: Spot) -> None:
    if isinstance(spot.value, list) and len(spot.value) == 2:
        spot.also("training.optimizer_args.eps2", number(spot.value[1]))
        return spot.put("training.optimizer_args.eps1", number(spot.value[0]), "eps1 and eps2 here")
    spot.put("training.eps", number(spot.value))


@decide("training.optimizer_args")
def _argument(spot: Spot) -> None:
    optimizer = optimizer_of(_train(spot))
    if _plain(_train(spot).get("optimizer")).startswith("automagic"):
        return spot.ignore("an option of Automagic alone", matters=True)
    name = _ARGUMENTS.get(optimizer, {}).get(spot.name, spot.name)
    if name is None:
        return spot.ignore("a way of computing, with the same result")
    why = "" if name == spot.name else f"called {name} by the package used here"
    spot.put(f"training.optimizer_args.{name}", spot.value, why)


def _train(spot: Spot) -> Mapping[str, Any]:
    return group(spot.root, "train")


def _plan(spot: Spot) -> Mapping[str, Any]:
    return group(_train(spot), "lr_scheduler_params")


@decide("training.lr_schedule", "training.min_lr_fraction", "training.warmup_steps", "training.lr_restarts")
def _schedule(spot: Spot) -> None:
    name, plan = str(spot.value).lower(), _plan(spot)
    if name in _SCHEDULES:
        return spot.put("training.lr_schedule", _SCHEDULES[name])
    if name == "constant_with_warmup":
        if "num_warmup_steps" not in plan:
            spot.also("training.warmup_steps", _below_steps(spot, 1000))
        return spot.put("training.lr_schedule", "constant", "with training.warmup_steps")
    if name in ("cosine_with_restarts", "cosine_restarts"):
        return _restarts(spot, plan)
    if name == "linear":
        return _linear(spot, plan)
    spot.put("training.lr_schedule", "constant", f"{spot.value!r} is not here", matters=True)


def _restarts(spot: Spot, plan: Mapping[str, Any]) -> None:
    steps, period = _steps(spot), number(plan.get("T_0") or plan.get("total_iters") or 0)
    if not isinstance(period, int | float) or period <= 0 or period >= steps:
        why = "its first period is the whole training there, so it never restarts: a cosine"
        return spot.put("training.lr_schedule", "cosine", why)
    spot.put("training.lr_schedule", "cosine_restarts", "with T_0")
    spot.also("training.lr_restarts", max(1, round(steps / period) - 1))  # between periods


def _linear(spot: Spot, plan: Mapping[str, Any]) -> None:
    start, end = number(plan.get("start_factor", 1 / 3)), number(plan.get("end_factor", 1.0))
    if end < start:
        spot.also("training.min_lr_fraction", end / start)
        return spot.put("training.lr_schedule", "linear", "with start_factor and end_factor")
    spot.put(
        "training.lr_schedule", "constant",
        f"there it RISES, from {start:g} to {end:g} of the rate over the whole run, and never falls; constant is the "
        "nearest. If a decay was meant, set training.lr_schedule=linear", matters=True,
    )  # fmt: skip


def _steps(spot: Spot) -> int:
    steps = number(_train(spot).get("steps", 1000))
    return steps if isinstance(steps, int) else 1000


def _below_steps(spot: Spot, warmup: Any) -> Any:
    """A warm-up that ends before the training does, as ours has to."""
    return min(warmup, _steps(spot) - 1) if isinstance(warmup, int) else warmup


@decide("training.warmup_steps")
def _warmup(spot: Spot) -> None:
    warmup = number(spot.value)
    found = _below_steps(spot, warmup)
    spot.put("training.warmup_steps", found, "" if found == warmup else "as long as the training allows")


@decide("training.min_lr_fraction")
def _floor(spot: Spot) -> None:
    rate, floor = number(_train(spot).get("lr", 1e-4)), number(spot.value)
    if not isinstance(rate, int | float) or not isinstance(floor, int | float) or not rate:
        return spot.ignore("not a number", matters=True)
    spot.put("training.min_lr_fraction", min(1.0, floor / rate), "a share of the learning rate here")


@decide("training.lr_restarts")
def _period(spot: Spot) -> None:
    restarts = spot.draft.settings.get("training", {}).get("lr_restarts")
    if restarts is None:
        return spot.ignore("as long as the training")
    spot.merged("training.lr_restarts", restarts, "how often it begins anew")


_LENGTH = skip("a schedule lasts as long as the training here")
_OF_LINEAR = skip("read with lr_scheduler")

_PARAMS: Table = {
    "num_warmup_steps": _warmup,
    "warmup_steps": _warmup,
    "eta_min": _floor,
    "lr_end": _floor,
    "power": take("training.lr_power", number),
    "T_0": _period,
    "total_iters": _LENGTH,
    "T_max": _LENGTH,
    "max_iterations": _LENGTH,
    "num_training_steps": _LENGTH,
    "cosine_decay_steps": _LENGTH,
    "steps": _LENGTH,
    "last_epoch": _LENGTH,
    "start_factor": _OF_LINEAR,
    "end_factor": _OF_LINEAR,
    "factor": _OF_LINEAR,
}

OPTIMIZER: Table = {
    "optimizer": _optimizer,
    "lr": _rate,
    "unet_lr": _rate,
    "optimizer_params": Group(
        {
            "weight_decay": take("training.weight_decay", number),
            "betas": _betas,
            "eps": _eps,
        },
        rest=_argument,
    ),
    "lr_scheduler": _schedule,
    "lr_scheduler_params": Group(_PARAMS),
    "text_encoder_lr": skip("the text encoder is never trained here"),
    "refiner_lr": skip("for another model family"),
    "embedding_lr": skip("no embeddings are trained here"),
    "adapter_lr": skip("no other adapters are trained here"),
}


def add_defaults(draft: Draft, train: Mapping[str, Any]) -> None:
    """What the optimizer gets there without being asked, where it differs from ours."""
    optimizer = optimizer_of(train)
    draft.add("train.optimizer", "training.optimizer", optimizer, "the default there")
    if _finds_its_own_rate(optimizer):
        draft.add("train.lr", "training.learning_rate", 1.0, f"{optimizer} finds its rate; 1 is the default there too")
    if "training.learning_rate" not in draft.written:
        draft.remark("train.lr", "training", "its default there, 1e-6, learns nothing; here it is 0.0001")
    decay = _DECAYS.get(optimizer)
    if decay is not None:
        draft.add(
            "train.optimizer_params.weight_decay", "training.weight_decay", decay, f"default of {optimizer} there"
        )
    if optimizer.startswith(("adamw", "prodigy")):
        draft.add("train.optimizer_params.eps", "training.eps", ADAM_EPS, "always so there")
