"""Keys that users bring along from other trainers, as hints; what they mean is declared once, in `imports/`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from slipstream.config.imports import diffusers_script, musubi
from slipstream.config.imports.ai_toolkit.job import JOB, PROCESS
from slipstream.config.imports.flags import Epochs
from slipstream.config.imports.rules import Rule, rules_of

ALSO = {
    "training_name": "job.name",
    "gpu_id": "job.device",
    "gpu_ids": "job.device",
    "gpu": "job.device",
    "model_architecture": "model.variant",
    "target_type": "target.type",
    "data_type": "save.dtype",
    "max_step_saves": "save.keep",
    "num_steps": "training.steps",
    "batch": "training.batch_size",
    "max_norm": "training.max_grad_norm",
    "optimizer_kwargs": "training.optimizer_args",
    "noise_scheduler": "training.timestep_type",
    "ema_config": "training.ema",
    "output_preservation": "training.preservation",
    "dop": "training.preservation",
    "differential_output_preservation": "training.preservation",
    "do_differential_guidance": "advanced.differential_guidance",
    "unload_te": "training.text_encoder",
    "network": "target",
    "network_type": "target.type",
    "linear_rank": "target.rank",
    "loraplus_lr_ratio": "target.lora_plus_ratio",
    "samples": "sample.prompts",
    "guidance": "sample.guidance_scale",
    "cfg": "sample.guidance_scale",
    "shuffle_caption": "datasets.0.caption_shuffle",
    "caption_tag_dropout_rate": "datasets.0.caption_token_dropout",
    "bucket_reso_steps": "datasets.0.bucket_step",
    "in_json": "datasets.0.captions_file",
    "training_adapter_path": "model.training_adapter",
    "save_total_limit": "save.keep",
    "discrete_flow_shift": "training.shift",
    "logit_std": "training.logit_scale",
}
"""Names of guides, forms and other trainers that no imported file has as a key of its own, or has as a group."""

_NO_TOKEN = "a token never stands in a config: use `hf auth login`, or HF_TOKEN in the environment"
NOT_HERE = {
    "disable_sampling": "no previews at all are `sample: {every: 0}`",
    "token": _NO_TOKEN,
    "hf_token": _NO_TOKEN,
    "hub_token": _NO_TOKEN,
    "huggingface_token": _NO_TOKEN,
    "epochs": "the length is given in training.steps; `slipstream plan` shows how many epochs they are",
}
"""Names for what is done otherwise here."""


@cache
def renamed() -> dict[str, str]:
    """Foreign name -> our setting by dotted path."""
    found = {name: rule.targets[0].replace("datasets.1", "datasets.0") for name, rule in _rules() if rule.targets}
    return {**found, **ALSO}


@cache
def absent() -> dict[str, str]:
    """Foreign name -> why nothing here is called so."""
    return {**{name: rule.why for name, rule in _rules() if rule.why and not rule.targets}, **NOT_HERE}


def _rules() -> Iterator[tuple[str, Rule]]:
    """Every foreign key with its rule; of trainers that share a name the most used comes last and counts."""
    for table in (diffusers_script.table(Epochs(None)), musubi.DATASET, musubi.table(Epochs(None)), JOB, PROCESS):
        yield from rules_of(table)


def hint_for(key: str) -> str | None:
    """One clause for a key known from elsewhere, or None."""
    name = key.lower()
    if name in renamed():
        return f"here it is called {renamed()[name]}"
    if name in absent():
        return f"{absent()[name]}; remove this line"
    return None
