"""Flags of musubi-tuner's Z-Image trainer (`zimage_train_network.py`) and its dataset TOML."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipstream.config.imports.ai_toolkit.sample import with_flags
from slipstream.config.imports.flags import (
    Epochs,
    cycles,
    found_here,
    num_pictures,
    read_command,
    schedule,
    unless,
    with_dashes,
)
from slipstream.config.imports.imported import Imported
from slipstream.config.imports.musubi_model import base_weights, dit, extras
from slipstream.config.imports.reading import as_list, count, dtype, number
from slipstream.config.imports.report import Report
from slipstream.config.imports.rules import Draft, Rule, Spot, Table, decide, lacking, skip, take, walk
from slipstream.config.job import folder_name
from slipstream.core.errors import ConfigError

FORMAT = "musubi-tuner"
SCRIPT = "zimage_train_network"

_LOGGING = skip("curves are in the report, in metrics.jsonl and in TensorBoard files")
_SPEED = skip("a way of computing, with the same result")
_LOADING = skip("loading only")
_BLOCKS = 30
_SWAPPING = skip("blocks come from pinned memory, to the GPU only, through a ring of two")
_HUB = skip("with --huggingface_repo_id")
_KINDS = {"lora_zimage": "lora", "lora": "lora", "loha": "loha", "lokr": "lokr"}
_OPTIMIZERS = {
    "": "adamw", "adamw": "adamw", "adamw8bit": "adamw8bit", "adafactor": "adafactor", "lion": "lion",
    "lion8bit": "lion8bit", "prodigy": "prodigy", "came": "came", "prodigyplusschedulefree": "prodigy_schedulefree",
    "schedulefree": "schedulefree_adamw", "adamwschedulefree": "schedulefree_adamw",
}  # fmt: skip


@decide("job.name")
def _name(spot: Spot) -> None:
    spot.put("job.name", folder_name(str(spot.value)))


@decide("target.type")
def _module(spot: Spot) -> None:
    kind = _KINDS.get(str(spot.value).rpartition(".")[2])
    if kind is None:
        return spot.put("target.type", "lora", f"{spot.value!r} is not known here", matters=True)
    spot.put("target.type", kind, "the same by our name")


@decide("target.lora_plus_ratio", "target.rank_dropout", "target.module_dropout", "target.lokr_factor", "target.parts",
        "target.exclude_modules")  # fmt: skip
def _network_args(spot: Spot) -> None:
    targets = {
        "loraplus_lr_ratio": "target.lora_plus_ratio", "rank_dropout": "target.rank_dropout",
        "module_dropout": "target.module_dropout", "factor": "target.lokr_factor",
    }  # fmt: skip
    left = []
    written = {}
    for name, value in _pairs(spot.value):
        if name == "include_refiner" and str(value).lower() == "true":
            written["target.parts"] = ["layers", "noise_refiner", "context_refiner"]
        elif name in targets:
            written[targets[name]] = value
        else:
            left.append(name)
    for target, value in written.items():
        spot.also(target, value)
    note = f"not carried over: {', '.join(left)}" if left else ""
    if not written:
        return spot.ignore(note or "empty", matters=bool(left))
    first = next(iter(written))
    spot.put(first, written[first], "; ".join(filter(None, (", ".join(written), note))), matters=bool(left))


def _pairs(value: Any) -> list[tuple[str, Any]]:
    found = [str(item).partition("=") for item in as_list(value)]
    return [(name, number(text)) for name, equals, text in found if equals]


@decide("training.optimizer")
def _optimizer(spot: Spot) -> None:
    name = str(spot.value).rpartition(".")[2].lower().replace("_", "")
    found = _OPTIMIZERS.get(name)
    if found is None:
        return spot.put("training.optimizer", "adamw8bit", f"{spot.value!r} is not known here", matters=True)
    spot.put("training.optimizer", found, "" if found == spot.value else "the same by our name")


@decide("training.weight_decay", "training.beta1", "training.beta2", "training.eps", "training.optimizer_args")
def _optimizer_args(spot: Spot) -> None:
    names = {"decouple": "weight_decouple", "use_bias_correction": "bias_correction"}
    written: dict[str, Any] = {}
    for name, value in _pairs(spot.value):
        read = {"true": True, "false": False}.get(str(value).lower(), value)
        if name == "betas":
            first, _, second = str(read).strip("()[] ").partition(",")
            written |= {"training.beta1": number(first.strip()), "training.beta2": number(second.strip(" ,)"))}
        elif name in ("weight_decay", "eps"):
            written[f"training.{name}"] = read
        else:
            written[f"training.optimizer_args.{names.get(name, name)}"] = read
    for target, value in written.items():
        spot.also(target, value)
    if not written:
        return spot.ignore("empty")
    first = next(iter(written))
    spot.put(first, written[first], ", ".join(written))


@decide("training.timestep_type", "training.logit_mean", "training.logit_scale", "training.shift")
def _sampling(spot: Spot) -> None:
    kind, shift = str(spot.value), float(spot.group.get("discrete_flow_shift", 1.0))
    scale = float(spot.group.get("sigmoid_scale", 1.0))
    if kind == "uniform":
        return spot.put("training.timestep_type", "linear", "all levels alike")
    if kind in ("flux_shift", "qwen_shift", "flux2_shift"):
        return spot.put("training.timestep_type", "resolution_shift", "a shift that depends on the resolution")
    if kind == "sigma":
        return _from_schedule(spot, shift)
    mean = math.log(shift) if kind == "shift" else 0.0
    if kind not in ("sigmoid", "shift"):
        return spot.put("training.timestep_type", "sigmoid", f"{kind!r} is not here", matters=True)
    if mean == 0 and scale == 1:
        return spot.put(
            "training.timestep_type", "sigmoid", "" if kind == "sigmoid" else "a shift of 1 changes nothing"
        )
    spot.also("training.logit_mean", round(mean, 6))
    spot.also("training.logit_scale", scale)
    spot.put("training.timestep_type", "logit_normal", "a sigmoid shifted by s is a logit-normal with the mean ln s")


def _from_schedule(spot: Spot, shift: float) -> None:
    scheme = spot.group.get("weighting_scheme", "none")
    if scheme == "logit_normal":
        spot.also("training.logit_mean", round(math.log(shift) - float(spot.group.get("logit_mean", 0.0)), 6))
        spot.also("training.logit_scale", float(spot.group.get("logit_std", 1.0)))
        why = "the shift s is a mean of ln s here, and a higher mean there is less noise"
        return spot.put("training.timestep_type", "logit_normal", why)
    spot.also("training.shift", shift)
    spot.put("training.timestep_type", "shift", "levels of its schedule, with --discrete_flow_shift",
             matters=scheme != "none")  # fmt: skip


def _bound(target: str) -> Rule:
    return decide(target)(lambda spot: spot.put(target, float(spot.value) / 1000, "a share of pure noise here"))


@decide("training.warmup_steps")
def _warmup(spot: Spot) -> None:
    value = number(spot.value)
    if isinstance(value, str) and value.endswith("%"):
        value = float(value[:-1]) / 100
    if 0 < value < 1:
        steps = spot.draft.settings.get("training", {}).get("steps") or spot.group.get("max_train_steps", 1600)
        return spot.put("training.warmup_steps", round(value * steps), "a share of the steps there")
    spot.put("training.warmup_steps", int(value))


@decide("save.keep")
def _keep(spot: Spot) -> None:
    if spot.name == "save_last_n_epochs":
        return spot.put("save.keep", spot.value)
    every = int(spot.group.get("save_every_n_steps", spot.value))
    spot.put("save.keep", max(1, int(spot.value) // max(1, every)), "a number of checkpoints here")


@decide("sample.prompts")
def _prompts(spot: Spot) -> None:
    path = Path(found_here(str(spot.value), spot.draft.report.source))
    if not path.is_file():
        return spot.ignore("a file of prompts that is not there; set sample.prompts", matters=True)
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    # guidance in this trainer's prompt files is CFG already, so no variant's translation of it
    found = [with_flags(line, None) for line in lines if line and not line.startswith("#")]
    plain = [one["prompt"] if list(one) == ["prompt"] else one for one in found]
    spot.put("sample.prompts", plain, "the prompts of that file, their flags as settings")


def _on(target: str, value: str, why: str) -> Rule:
    return decide(target)(lambda spot: spot.put(target, value, why))


def table(epochs: Epochs) -> Table:
    """The rules for every flag."""
    return {
        "dit": dit,
        "base_weights": base_weights,
        "base_weights_multiplier": lacking("a training adapter acts at full strength", 1, 1.0),
        "vae": extras,
        "text_encoder": extras,
        "vae_dtype": skip("comes with the base"),
        "dataset_config": skip("its keys stand below"),
        "config_file": lacking("flags in a file; write them into the command"),
        "fp8_base": _on("quantization.transformer", "float8", "with a scale for every row"),
        "fp8_scaled": _on("quantization.transformer", "float8", "with a scale for every row"),
        "fp8_llm": _on("quantization.text_encoder", "float8", "with a scale for every row"),
        "blocks_to_swap": _swap,
        "gradient_checkpointing_cpu_offload": lacking("activations stay on the GPU; checkpointing keeps fewer of them"),
        "gradient_checkpointing": _on("training.gradient_checkpointing", "auto", "keeps what fits"),
        "mixed_precision": lacking("fp16 overflows in Z-Image; bf16 on a GPU", "bf16", "no"),
        "network_module": _module,
        "network_dim": take("target.rank"),
        "network_alpha": take("target.alpha"),
        "network_dropout": take("target.dropout"),
        "network_args": _network_args,
        "network_weights": take("target.start_from"),
        "dim_from_weights": lacking("target.rank is what it says; another rank is converted"),
        "scale_weight_norms": lacking("weights are not rescaled"),
        "output_dir": take("job.output_dir"),
        "output_name": _name,
        "seed": take("job.seed"),
        "max_train_steps": unless("max_train_epochs", take("training.steps")),
        "max_train_epochs": epochs.rule("training.steps"),
        "gradient_accumulation_steps": take("training.gradient_accumulation"),
        "learning_rate": take("training.learning_rate"),
        "max_grad_norm": take("training.max_grad_norm"),
        "optimizer_type": _optimizer,
        "optimizer_args": _optimizer_args,
        "lr_scheduler": Rule(schedule.act, schedule.targets),
        "lr_warmup_steps": _warmup,
        "lr_decay_steps": lacking("a schedule falls over the whole training"),
        "lr_scheduler_num_cycles": Rule(cycles.act, cycles.targets),
        "lr_scheduler_power": take("training.lr_power"),
        "lr_scheduler_min_lr_ratio": take("training.min_lr_fraction"),
        "lr_scheduler_timescale": lacking("a schedule that is not here"),
        "lr_scheduler_type": lacking("a schedule of one's own"),
        "lr_scheduler_args": lacking("arguments of a schedule that is not here"),
        "timestep_sampling": _sampling,
        "discrete_flow_shift": skip("read with --timestep_sampling"),
        "sigmoid_scale": skip("read with --timestep_sampling"),
        "logit_mean": skip("read with --timestep_sampling"),
        "logit_std": skip("read with --timestep_sampling"),
        "weighting_scheme": lacking("a loss weight per level; training.timestep_type weighted has one", "none",
                                    "logit_normal"),
        "mode_scale": skip("belongs to --weighting_scheme mode"),
        "min_timestep": _bound("training.min_noise"),
        "max_timestep": _bound("training.max_noise"),
        "preserve_distribution_shape": skip("levels beyond the bounds are never drawn here either"),
        "num_timestep_buckets": take("training.stratified", bool, "levels spread evenly over a step's samples"),
        "show_timesteps": skip("printing only"),
        "save_every_n_steps": take("save.every"),
        "save_every_n_epochs": epochs.rule("save.every"),
        "save_last_n_epochs": _keep,
        "save_last_n_steps": _keep,
        "save_precision": take("save.dtype", dtype),
        "sample_prompts": _prompts,
        "sample_every_n_steps": unless("sample_every_n_epochs", take("sample.every")),
        "sample_every_n_epochs": epochs.rule("sample.every"),
        "sample_at_first": take("sample.at_start"),
        "huggingface_repo_id": take("save.push_to_hub.repo"),
        "huggingface_repo_visibility": take("save.push_to_hub.private", lambda word: word != "public"),
        "huggingface_token": skip("a secret; log in with `hf auth login`"),
        **dict.fromkeys(("huggingface_repo_type", "huggingface_path_in_repo", "async_upload"), _HUB),
        **dict.fromkeys(
            ("save_state", "save_state_on_train_end", "save_last_n_epochs_state", "save_last_n_steps_state",
             "save_state_to_huggingface", "resume", "resume_from_huggingface"),
            skip("the state is always saved here; `slipstream resume` goes on with a run"),
        ),
        **dict.fromkeys(
            ("logging_dir", "log_with", "log_prefix", "log_tracker_name", "wandb_run_name", "log_tracker_config",
             "wandb_api_key", "log_config", "log_grad_metrics"),
            _LOGGING,
        ),
        **dict.fromkeys(
            ("no_metadata", "training_comment", "metadata_title", "metadata_author", "metadata_description",
             "metadata_license", "metadata_tags", "metadata_reso", "metadata_arch"),
            skip("a LoRA made here holds its own metadata"),
        ),
        **dict.fromkeys(
            ("sdpa", "flash_attn", "sage_attn", "xformers", "flash3", "split_attn", "compile", "compile_backend",
             "compile_mode", "compile_dynamic", "compile_fullgraph", "compile_cache_size_limit", "cuda_allow_tf32",
             "cuda_cudnn_benchmark", "dynamo_backend", "dynamo_mode", "dynamo_fullgraph", "dynamo_dynamic",
             "ddp_timeout", "ddp_gradient_as_bucket_view", "ddp_static_graph"),
            _SPEED,
        ),
        **dict.fromkeys(
            ("max_data_loader_n_workers", "persistent_data_loader_workers", "disable_numpy_memmap",
             "img_in_txt_in_offloading"),
            _LOADING,
        ),
        **dict.fromkeys(
            ("use_pinned_memory_for_block_swap", "block_swap_h2d_only", "block_swap_ring_size"), _SWAPPING
        ),
    }  # fmt: skip


@decide("quantization.layer_offloading")
def _swap(spot: Spot) -> None:
    """`--blocks_to_swap`: so many of the main blocks in host memory."""
    blocks = int(number(spot.value or 0))
    if not blocks:
        return spot.ignore("off in the command too")
    if _KINDS.get(str(spot.group.get("network_module", "lora")).rpartition(".")[2], "lora") != "lora":
        return spot.ignore("blocks stream here with a plain LoRA only", matters=True)
    why = f"{min(blocks, _BLOCKS)} of {_BLOCKS} blocks as a percentage, streamed ahead of their use"
    spot.put("quantization.layer_offloading", round(100 * min(blocks, _BLOCKS) / _BLOCKS), why)


@decide("datasets.0.resolutions")
def _resolution(spot: Spot) -> None:
    sides = [int(number(side)) for side in as_list(spot.value)]
    side = round(math.sqrt(sides[0] * sides[-1]) / 16) * 16
    why = "the same area; pictures keep their aspect ratio" if len(sides) > 1 else "a list"
    spot.put("datasets.0.resolutions", [side], why)


@decide("datasets.0.path")
def _folder(spot: Spot) -> None:
    found = found_here(str(spot.value), spot.draft.report.source)
    spot.put("datasets.0.path", found, "" if found == spot.value else "found here")


@decide("datasets.0.captions_file", "datasets.0.path")
def _jsonl(spot: Spot) -> None:
    found = found_here(str(spot.value), spot.draft.report.source)
    spot.also("datasets.0.captions_file", found)
    spot.put(
        "datasets.0.path", str(Path(found).parent), "the file's folder, with the file as captions_file", matters=True
    )


@decide("datasets.0.square")
def _bucket(spot: Spot) -> None:
    spot.put("datasets.0.square", not spot.value, "" if not spot.value else "buckets are what is used by default here")


_VIDEO = lacking("for video models")
DATASET: Table = {
    "image_directory": _folder,
    "image_jsonl_file": _jsonl,
    "cache_directory": skip("advanced.cache_dir holds what is encoded; files cannot be mixed up there"),
    "caption_extension": take("datasets.0.caption_extension", lambda text: str(text).removeprefix(".")),
    "resolution": _resolution,
    "num_repeats": take("datasets.0.num_repeats"),
    "batch_size": take("training.batch_size"),
    "enable_bucket": _bucket,
    "bucket_no_upscale": skip("pictures are never enlarged here"),
    "multiple_target": lacking("for other models"),
    "control_directory": lacking("training with reference pictures"),
    **dict.fromkeys(
        ("video_directory", "video_jsonl_file", "target_frames", "frame_extraction", "frame_stride", "frame_sample",
         "max_frames", "source_fps"),
        _VIDEO,
    ),
}  # fmt: skip


def import_command(content: str, source: str) -> Imported:
    """The config of a command and the dataset file that it names, with its report.

    Raises:
        ConfigError: there is no such command in the text, or its dataset file cannot be read.
    """
    flags = read_command(content, SCRIPT, source)
    data = _dataset_file(flags, source)
    datasets = [{**data.get("general", {}), **dataset} for dataset in data.get("datasets", [])]
    draft = Draft(Report(source, FORMAT))
    walk(flags, table(_epochs(flags, datasets, source)), draft)
    for place, dataset in enumerate(datasets):
        walk(dataset, DATASET, draft, path=f"datasets[{place}]", panel="datasets", place=place)
        draft.add("(captions)", f"datasets.{place}.caption_dropout", 0.0, "captions are never dropped there")
        draft.add("enable_bucket", f"datasets.{place}.square", True, "off there: every picture is cut to one size")
    _add_defaults(draft)
    return Imported(draft.settings, with_dashes(draft.report, flags), dict(draft.written))


def _dataset_file(flags: Mapping[str, Any], source: str) -> dict[str, Any]:
    path = Path(found_here(str(flags.get("dataset_config", "")), source))
    if not path.is_file():
        raise ConfigError(
            f"there is no dataset file at {str(flags.get('dataset_config'))!r}", where=source,
            fix="give --dataset_config with a path from here or from the file's folder.",
        )  # fmt: skip
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"this is not TOML: {error}", where=str(path), fix="correct the line.") from error


def _epochs(flags: Mapping[str, Any], datasets: list[dict[str, Any]], source: str) -> Epochs:
    batches = 0
    for dataset in datasets:
        folder = found_here(str(dataset.get("image_directory", "")), source) if "image_directory" in dataset else ""
        pictures = num_pictures(folder) * count(dataset.get("num_repeats")) if folder else 0
        if not pictures:
            return Epochs(None)
        batches += math.ceil(pictures / count(dataset.get("batch_size")))
    accumulated = count(flags.get("gradient_accumulation_steps"))
    return Epochs(math.ceil(batches / accumulated) if batches else None)


def _add_defaults(draft: Draft) -> None:
    there = "the default there"
    for key, target, value in (
        ("output_name", "job.name", "my_lora"), ("max_train_steps", "training.steps", 1600),
        ("network_dim", "target.rank", 4), ("network_alpha", "target.alpha", 1.0),
        ("optimizer_type", "training.optimizer", "adamw"), ("timestep_sampling", "training.timestep_type", "linear"),
        ("save_every_n_steps", "save.every", 0), ("save_last_n_epochs", "save.keep", 0),
        ("sample_every_n_steps", "sample.every", 0), ("sample_at_first", "sample.at_start", False),
    ):  # fmt: skip
        draft.add(f"--{key}", target, value, there)
    if draft.settings["training"]["optimizer"].startswith("adamw"):
        draft.add("--optimizer_args", "training.weight_decay", 0.01, "weight decay of AdamW by default there")
    draft.add("--network_args", "target.exclude_modules", ["*adaLN_modulation*"], "always left out there")
    if "training.learning_rate" not in draft.written:
        draft.remark("--learning_rate", "training", "its default there, 2e-6, learns nothing; here it is 0.0001")
    if draft.settings.get("model", {}).get("variant") == "turbo":
        why = "the command trains Turbo without an adapter, which undoes its 8 steps; `none` does so all the same"
        draft.add("--base_weights", "model.training_adapter", "v2", why, matters=True)
