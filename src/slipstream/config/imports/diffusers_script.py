"""Flags of diffusers' DreamBooth LoRA script for Z-Image (`train_dreambooth_lora_z_image.py`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipstream.config.imports.flags import (
    Epochs,
    adapter_by_name,
    cycles,
    found_here,
    num_pictures,
    read_command,
    schedule,
    variant_by_name,
    with_dashes,
)
from slipstream.config.imports.imported import Imported
from slipstream.config.imports.reading import count
from slipstream.config.imports.report import Report
from slipstream.config.imports.rules import Draft, Rule, Spot, Table, decide, lacking, skip, take, walk
from slipstream.config.job import folder_name
from slipstream.core.errors import ConfigError

FORMAT = "diffusers"
SCRIPT = "train_dreambooth_lora_z_image"
DEFAULT_MODULES = ["attention.to_k", "attention.to_q", "attention.to_v", "attention.to_out.0"]
ALL_PARTS = ["layers", "noise_refiner", "context_refiner"]
SCHEDULER_SHIFT = 3.0

_LOGGING = skip("curves are in the report, in metrics.jsonl and in TensorBoard files")
_OTHER_HARDWARE = lacking("one CUDA GPU, or the CPU, trains here", -1)


@decide("model.name_or_path", "model.variant")
def _model(spot: Spot) -> None:
    name = str(spot.value)
    revision = spot.group.get("revision")
    spot.also("model.variant", variant_by_name(name))
    full = f"{name}@{revision}" if revision else name
    spot.put("model.name_or_path", full, "with --revision" if revision else "")


@decide("job.output_dir", "job.name")
def _output(spot: Spot) -> None:
    path = Path(str(spot.value))
    spot.also("job.name", folder_name(path.name))
    spot.put("job.output_dir", str(path.parent), "its last part is the run's name")


@decide("datasets.0.path")
def _data(spot: Spot) -> None:
    found = found_here(str(spot.value), spot.draft.report.source)
    spot.put("datasets.0.path", found, "" if found == spot.value else "found here")


@decide("datasets.1.path", "datasets.1.regularization", "datasets.1.default_caption")
def _class_data(spot: Spot) -> None:
    if not spot.group.get("with_prior_preservation"):
        return spot.ignore("--with_prior_preservation is off")
    found = found_here(str(spot.value), spot.draft.report.source)
    spot.put("datasets.1.path", found, "a regularization set", matters=not Path(found).is_dir())
    spot.also("datasets.1.regularization", "pictures")
    spot.also("datasets.1.default_caption", str(spot.group.get("class_prompt", "")))


def _of_class_data(target: str) -> Rule:
    def act(spot: Spot) -> None:
        if not spot.group.get("with_prior_preservation"):
            return spot.ignore("--with_prior_preservation is off")
        spot.put(target, spot.value)

    return decide(target)(act)


@decide("target.target_modules", "target.parts")
def _layers(spot: Spot) -> None:
    names = [name.strip() for name in str(spot.value).split(",") if name.strip()]
    spot.also("target.parts", ALL_PARTS)
    spot.put("target.target_modules", names, "in all blocks, the refiners too")


@decide("training.optimizer")
def _optimizer(spot: Spot) -> None:
    name = str(spot.value).lower()
    if name == "prodigy":
        return spot.put("training.optimizer", "prodigy")
    found = "adamw8bit" if spot.group.get("use_8bit_adam") else "adamw"
    spot.put("training.optimizer", found, "with --use_8bit_adam" if found != name else "", matters=name != "adamw")


@decide("training.optimizer")
def _eight_bits(spot: Spot) -> None:
    if str(spot.group.get("optimizer", "adamw")).lower() != "adamw":
        return spot.ignore("only with AdamW")
    spot.put("training.optimizer", "adamw8bit", "AdamW with its state in 8 bits")


def _of_prodigy(argument: str) -> Rule:
    target = f"training.optimizer_args.{argument}"

    def act(spot: Spot) -> None:
        if str(spot.group.get("optimizer", "")).lower() != "prodigy":
            return spot.ignore("only with Prodigy")
        spot.put(target, spot.value)

    return decide("training.optimizer_args")(act)


@decide("training.timestep_type", "training.logit_mean", "training.logit_scale")
def _weighting(spot: Spot) -> None:
    if spot.value == "none":
        why = f"levels are drawn from the model's own schedule there, which has a shift of {SCHEDULER_SHIFT:g}"
        return spot.put("training.timestep_type", "shift", why)
    if spot.value == "logit_normal":
        mean = math.log(SCHEDULER_SHIFT) - float(spot.group.get("logit_mean", 0.0))
        spot.also("training.logit_mean", round(mean, 6))
        spot.also("training.logit_scale", float(spot.group.get("logit_std", 1.0)))
        why = "the schedule's shift s is a mean of ln s here, and a higher mean there is less noise"
        return spot.put("training.timestep_type", "logit_normal", why)
    spot.put("training.timestep_type", "shift", f"{spot.value!r} is not here", matters=True)


def _belongs_to_weighting(target: str) -> Rule:
    def act(spot: Spot) -> None:
        if spot.group.get("weighting_scheme") != "logit_normal":
            return spot.ignore("only with --weighting_scheme logit_normal")
        spot.merged(target, spot.draft.settings.get("training", {}).get(target.rpartition(".")[2]), "with the shift")

    return decide(target)(act)


@decide("training.warmup_steps")
def _warmup(spot: Spot) -> None:
    if spot.group.get("lr_scheduler", "constant") == "constant":
        return spot.ignore("constant has no warm-up there")
    spot.put("training.warmup_steps", spot.value)


@decide("datasets.0.crop", "datasets.0.square")
def _buckets(spot: Spot) -> None:
    spot.put("datasets.0.square", False, "pictures keep their aspect ratio, as they do by default here")


@decide("sample.prompts.0.prompt")
def _prompt(spot: Spot) -> None:
    if spot.name == "final_validation_prompt" and "validation_prompt" in spot.group:
        return spot.ignore("--validation_prompt stands beside it")
    spot.put("sample.prompts.0.prompt", str(spot.value))


@decide("quantization.transformer")
def _fp8(spot: Spot) -> None:
    spot.put("quantization.transformer", "float8", "the frozen weights; the LoRA is trained in fp32")


@decide("training.max_grad_norm")
def _clip(spot: Spot) -> None:
    spot.put("training.max_grad_norm", spot.value)


def table(epochs: Epochs) -> Table:
    """The rules for every flag."""
    return {
        "pretrained_model_name_or_path": _model,
        "revision": skip("part of the model's name"),
        "variant": lacking("the usual files of the base are read"),
        "instance_data_dir": _data,
        "dataset_name": lacking("a set on the hub; download it and give its folder as datasets.0.path"),
        "dataset_config_name": lacking("a set on the hub"),
        "image_column": skip("for a set on the hub"),
        "caption_column": lacking("captions lie beside the pictures or in a metadata.jsonl"),
        "instance_prompt": take("datasets.0.default_caption"),
        "repeats": take("datasets.0.num_repeats"),
        "resolution": take("datasets.0.resolutions", lambda side: [side], "a list"),
        "center_crop": skip("crops are centred by default here"),
        "random_flip": take("datasets.0.flip_horizontal"),
        "use_aspect_ratio_buckets": _buckets,
        "aspect_ratio_buckets": lacking("buckets follow from resolutions and the pictures"),
        "cache_latents": take("datasets.0.cache_latents"),
        "with_prior_preservation": skip("a regularization set, with --class_data_dir"),
        "class_data_dir": _class_data,
        "class_prompt": _of_class_data("datasets.1.default_caption"),
        "prior_loss_weight": _of_class_data("datasets.1.loss_multiplier"),
        "num_class_images": lacking("class pictures are not drawn here; put them into the folder"),
        "sample_batch_size": skip("for drawing class pictures"),
        "prior_generation_precision": skip("for drawing class pictures"),
        "rank": take("target.rank"),
        "lora_alpha": take("target.alpha"),
        "lora_dropout": take("target.dropout"),
        "lora_layers": _layers,
        "output_dir": _output,
        "seed": take("job.seed"),
        "cache_dir": take("advanced.cache_dir"),
        "train_batch_size": take("training.batch_size"),
        "max_train_steps": take("training.steps"),
        "num_train_epochs": epochs.rule("training.steps", beaten_by="max_train_steps"),
        "gradient_accumulation_steps": take("training.gradient_accumulation"),
        "gradient_checkpointing": take("training.gradient_checkpointing", lambda on: "auto" if on else "none"),
        "learning_rate": take("training.learning_rate"),
        "scale_lr": lacking("the learning rate is what training.learning_rate says"),
        "lr_scheduler": Rule(schedule.act, schedule.targets),
        "lr_warmup_steps": _warmup,
        "lr_num_cycles": Rule(cycles.act, cycles.targets),
        "lr_power": take("training.lr_power"),
        "optimizer": _optimizer,
        "use_8bit_adam": _eight_bits,
        "adam_beta1": take("training.beta1"),
        "adam_beta2": take("training.beta2"),
        "adam_weight_decay": take("training.weight_decay"),
        "adam_epsilon": take("training.eps"),
        "prodigy_beta3": _of_prodigy("beta3"),
        "prodigy_decouple": _of_prodigy("weight_decouple"),
        "prodigy_use_bias_correction": _of_prodigy("bias_correction"),
        "prodigy_safeguard_warmup": _of_prodigy("safeguard_warmup"),
        "max_grad_norm": _clip,
        "weighting_scheme": _weighting,
        "logit_mean": _belongs_to_weighting("training.logit_mean"),
        "logit_std": _belongs_to_weighting("training.logit_scale"),
        "mode_scale": skip("belongs to --weighting_scheme mode"),
        "guidance_scale": skip("for a guidance embedding, which Z-Image has not"),
        "max_sequence_length": lacking("512 tokens, as the model was trained", 512),
        "validation_prompt": _prompt,
        "final_validation_prompt": _prompt,
        "num_validation_images": lacking("one picture a prompt; write the prompt again with another seed", 1),
        "validation_epochs": epochs.rule("sample.every"),
        "skip_final_inference": lacking("the last previews are always drawn"),
        "checkpointing_steps": take("save.every"),
        "checkpoints_total_limit": take("save.keep"),
        "resume_from_checkpoint": skip("`slipstream resume` goes on with a run"),
        "push_to_hub": skip("with --hub_model_id"),
        "hub_model_id": take("save.push_to_hub.repo"),
        "hub_token": skip("a secret; log in with `hf auth login`"),
        "mixed_precision": lacking("fp16 overflows in Z-Image; bf16 on a GPU", "bf16", "no"),
        "do_fp8_training": _fp8,
        "bnb_quantization_config_path": lacking("quantization.transformer: nf4 or int8"),
        "upcast_before_saving": take("save.dtype", lambda on: "fp32" if on else "bf16"),
        "text_encoder_lr": skip("the text encoder is never trained here"),
        "adam_weight_decay_text_encoder": skip("the text encoder is never trained here"),
        "offload": skip("parts are loaded when they are needed here, and freed afterwards"),
        "allow_tf32": skip("a way of computing, with the same result"),
        "dataloader_num_workers": skip("loading only"),
        "local_rank": _OTHER_HARDWARE,
        "enable_npu_flash_attention": _OTHER_HARDWARE,
        "fsdp_text_encoder": _OTHER_HARDWARE,
        "logging_dir": _LOGGING,
        "report_to": _LOGGING,
    }


def import_command(content: str, source: str) -> Imported:
    """The config of a command, with its report.

    Raises:
        ConfigError: there is no such command in the text, or it names no data.
    """
    flags = read_command(content, SCRIPT, source)
    if "instance_data_dir" not in flags and "dataset_name" not in flags:
        raise ConfigError("the command names no pictures", where=source, fix="give --instance_data_dir.")
    draft = Draft(Report(source, FORMAT))
    walk(flags, table(_epochs(flags, source)), draft)
    _add_defaults(draft, flags)
    return Imported(draft.settings, with_dashes(draft.report, flags), dict(draft.written))


def _epochs(flags: Mapping[str, Any], source: str) -> Epochs:
    folder = found_here(str(flags.get("instance_data_dir", "")), source)
    pictures = num_pictures(folder) * count(flags.get("repeats"))
    batches = pictures // count(flags.get("train_batch_size", 4))
    return Epochs(max(1, batches // count(flags.get("gradient_accumulation_steps"))) if pictures else None)


def _add_defaults(draft: Draft, flags: Mapping[str, Any]) -> None:
    there = "the default there"
    if flags.get("lr_scheduler", "constant") != "constant":
        draft.add("--lr_warmup_steps", "training.warmup_steps", 500, there)
    if "use_aspect_ratio_buckets" not in flags:
        draft.add(
            "--use_aspect_ratio_buckets", "datasets.0.square", True, "off there: every picture is cut to a square"
        )
    if "center_crop" not in flags:
        draft.add("--center_crop", "datasets.0.crop", "random", "off there: crops are random")
    for key, target, value in (
        ("output_dir", "job.name", "z-image-dreambooth-lora"), ("rank", "target.rank", 4),
        ("lora_alpha", "target.alpha", 4), ("lora_layers", "target.target_modules", DEFAULT_MODULES),
        ("lora_layers", "target.parts", ALL_PARTS), ("train_batch_size", "training.batch_size", 4),
        ("optimizer", "training.optimizer", "adamw"), ("checkpointing_steps", "save.every", 500),
        ("checkpoints_total_limit", "save.keep", 0), ("resolution", "datasets.0.resolutions", [512]),
        ("weighting_scheme", "training.timestep_type", "shift"),
    ):  # fmt: skip
        draft.add(f"--{key}", target, value, there)
    draft.add("(captions)", "datasets.0.caption_dropout", 0.0, "captions are never dropped there")
    if draft.settings.get("model", {}).get("variant") == "turbo":
        why = "the script trains Turbo without an adapter, which undoes its 8 steps; `none` does so all the same"
        draft.add("(adapter)", "model.training_adapter", adapter_by_name("v2"), why, matters=True)
