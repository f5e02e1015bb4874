"""The target panel as plain values, and the LoRA it makes beside a transformer."""

from __future__ import annotations

from torch import nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.dropout import Dropout
from slipstream.adapters.inject import inject_fresh, linears_of
from slipstream.adapters.kinds import Recipe
from slipstream.adapters.patterns import places
from slipstream.training.setting import Setting
from slipstream.training.targets import chosen_linears

KIND_LABELS = {"lora": "LoRA", "lokr": "LoKr", "loha": "LoHa", "dora": "DoRA", "oft": "OFT"}


def new_lora(setting: Setting, transformer: nn.Module) -> BranchSet:
    """The trainable LoRA of TARGET.

    Raises:
        AdapterError: a pattern, a part or a block means nothing in this model, or the kind does not fit a linear.
    """
    target = setting.config.target
    names = chosen_linears(setting.config, list(linears_of(transformer)))
    recipe = Recipe(
        kind=target.type,
        rank=target.rank,
        alpha=alpha_of(setting),
        dropout=Dropout(target.dropout, target.rank_dropout, target.module_dropout),
        init=target.init,
        lokr_factor=target.lokr_factor,
        lokr_full_rank=target.lokr_full_rank,
    )
    return inject_fresh(transformer, names, recipe, seed=setting.config.job.seed)


def describe_lora(setting: Setting, lora: BranchSet) -> str:
    """One line: kind, number of modules, rank, alpha, parameters, and where they are."""
    target = setting.config.target
    count = sum(parameter.numel() for parameter in lora.parameters())
    strength = "no limit" if target.type == "oft" and target.alpha is None else f"alpha {alpha_of(setting):g}"
    init = "" if target.init == "default" else f", init {target.init}"
    return (
        f"{KIND_LABELS[target.type]}: {len(lora.branches)} modules, rank {target.rank}, {strength}{init}, "
        f"{count:,} parameters ({places(lora.branches)})"
    )


def alpha_of(setting: Setting) -> float:
    """The LoRA's alpha; unset it is the rank, which makes the scale 1, and for an OFT 0, which is no limit."""
    target = setting.config.target
    if target.alpha is None:
        return 0.0 if target.type == "oft" else float(target.rank)
    return target.alpha
