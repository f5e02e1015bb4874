"""A job file of ai-toolkit, YAML or JSON, as our config: its shape, its processes, and what it leaves to defaults."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from slipstream.config.imports.ai_toolkit.datasets import DATASET
from slipstream.config.imports.ai_toolkit.model import MODEL, is_z_image, refuse_family, variant_of_job
from slipstream.config.imports.ai_toolkit.optimizer import add_defaults
from slipstream.config.imports.ai_toolkit.output import DEFAULT_RANK, NETWORK, SAVE
from slipstream.config.imports.ai_toolkit.sample import SAMPLE, tidy_prompts
from slipstream.config.imports.ai_toolkit.steps import updates
from slipstream.config.imports.ai_toolkit.train import TRAIN
from slipstream.config.imports.imported import Imported
from slipstream.config.imports.reading import group, groups, number, text
from slipstream.config.imports.report import Report
from slipstream.config.imports.rules import Draft, Group, Items, Rule, Spot, Table, decide, lacking, skip, take, walk
from slipstream.config.job import folder_name
from slipstream.config.variants import VARIANTS
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError

FORMAT = "ai-toolkit"
TRAINERS = ("sd_trainer", "diffusion_trainer", "ui_trainer")
"""Types of a process that train a LoRA."""

_JOBS = ("extension", "train")
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


@decide("job.name")
def _name(spot: Spot) -> None:
    name = folder_name(str(spot.value))
    spot.put("job.name", name, "a name that can be a folder" if name != spot.value else "")


@decide("job.device")
def _device(spot: Spot) -> None:
    device = str(spot.value).lower()
    if device in ("cuda", "cuda:0", "mps"):
        return spot.put("job.device", "auto", "the first GPU if there is one")
    spot.put("job.device", device)


_FOR_OTHERS = lacking("another kind of training")
_LOGGING: Table = {
    "log_every": take("advanced.log_every", number),
    "verbose": skip("printing only"),
    "use_wandb": lacking("curves are in the report, in metrics.jsonl and in TensorBoard files"),
    "use_ui_logger": skip("for that trainer's own pages"),
    "project_name": skip("for a logging service"),
    "run_name": skip("for a logging service"),
}

PROCESS: Table = {
    "type": skip("training a LoRA is what this program does"),
    "training_folder": take("job.output_dir"),
    "device": _device,
    "trigger_word": take("job.trigger_word", text),
    "training_seed": take("job.seed", number),
    "performance_log_every": skip("the report and metrics.jsonl tell how long steps take"),
    "sqlite_db_path": skip("for that trainer's own pages"),
    "log_dir": skip("TensorBoard files lie in the run's folder"),
    "network": Group(NETWORK, "target"),
    "save": Group(SAVE, "save"),
    "datasets": Items(DATASET, "datasets"),
    "train": Group(TRAIN, "training"),
    "model": Group(MODEL, "model"),
    "sample": Group(SAMPLE, "sample"),
    "first_sample": lacking("the first previews are drawn like the others"),
    "logging": Group(_LOGGING, "advanced"),
    "slider": _FOR_OTHERS,
    "embedding": _FOR_OTHERS,
    "adapter": _FOR_OTHERS,
    "decorator": _FOR_OTHERS,
    "guidance": _FOR_OTHERS,
}

JOB: Table = {
    "job": skip("the kind of job: a training"),
    "config": Group(
        {
            "name": _name,
            "training_folder": take("job.output_dir"),
            "device": _device,
            "training_seed": take("job.seed", number),
            "log_dir": skip("TensorBoard files lie in the run's folder"),
            "base_model": lacking("the model is in the process's model.name_or_path"),
            "is_v2": skip("for another model family"),
            "performance_log_every": skip("the report and metrics.jsonl tell how long steps take"),
        }
    ),
    "meta": Rule(lambda spot: spot.ignore("free notes; a LoRA made here holds its own metadata")),
}


def is_job(value: Any) -> bool:
    """Whether a file's content is a job file: our own configs have no list `config.process`."""
    if not isinstance(value, Mapping):
        return False
    config = value.get("config")
    return isinstance(value.get("job"), str) or (isinstance(config, Mapping) and "process" in config)


def read_job(content: str, where: str) -> Any:
    """The value that a YAML or JSON text holds, with `${VARIABLE}` filled in from the environment.

    Raises:
        ConfigError: it is neither, or a variable is not set.
    """
    filled = _VARIABLE.sub(lambda match: _variable(match.group(1), where), content)
    if not filled.lstrip().startswith("{"):
        return read_yaml(filled, where)
    try:
        return json.loads(filled)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"this is not JSON: {error.msg}", where=f"{where}, line {error.lineno}, column {error.colno}",
            fix="check brackets, commas and quotes.",
        ) from error  # fmt: skip


def _variable(name: str, where: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise ConfigError(f"the variable {name} is not set", where=where, fix=f"run `export {name}=...` first.")
    return value


def import_job(job: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> list[Imported]:
    """One config for every training in the file, with its report.

    Args:
        job: the file's content.
        source: the file's path: relative folders are looked for around it, and messages name it.
        overrides: what the command line sets; a base named there lets jobs of other model families through.

    Raises:
        ConfigError: the file trains nothing, trains another model family, or has another shape.
    """
    config = job.get("config")
    if not isinstance(config, Mapping) or (job.get("job") is not None and job["job"] not in _JOBS):
        raise ConfigError(
            f"this is a job of the kind {job.get('job')!r}, expected a training (job: extension)", where=source,
            fix="give a job file with config.process.",
        )  # fmt: skip
    processes = config.get("process")
    processes = processes if isinstance(processes, list) else [processes]
    processes = [process for process in processes if isinstance(process, Mapping)]
    if not processes:
        raise ConfigError("config.process is empty", where=source, fix="a job file has one training there, or more.")
    filled = [_with_name(process, str(config.get("name", ""))) for process in processes]
    return [
        _import_process(job, process, source, overrides, None if len(filled) == 1 else number_)
        for number_, process in enumerate(filled, 1)
    ]


def _with_name(value: Any, name: str) -> Any:
    """`[name]` in any text replaced by the job's name."""
    if isinstance(value, str):
        return value.replace("[name]", name)
    if isinstance(value, Mapping):
        return {key: _with_name(inner, name) for key, inner in value.items()}
    return [_with_name(inner, name) for inner in value] if isinstance(value, list) else value


def _import_process(
    job: Mapping[str, Any], process: Mapping[str, Any], source: str, overrides: Sequence[str], place: int | None
) -> Imported:
    """The config of one process."""
    kind = process.get("type", TRAINERS[0])
    if kind not in TRAINERS:
        raise ConfigError(
            f"got a process of the type {kind!r}, expected one that trains a LoRA: {', '.join(TRAINERS)}",
            where=source, fix="sliders, extraction and the like are not in this version.",
        )  # fmt: skip
    model = group(process, "model")
    if not is_z_image(model) and not _names_a_base(overrides):
        raise refuse_family(model, source)
    draft = Draft(Report(source, FORMAT))
    outer = dict(job, config={key: value for key, value in job["config"].items() if key != "process"})
    walk(outer, JOB, draft, root=process)
    walk(process, PROCESS, draft, root=process)
    if place is not None and "job.name" in draft.written:
        draft.set("job.name", f"{draft.settings['job']['name']}_{place}", "config.name")
    _add_defaults(draft, process)
    tidy_prompts(draft.settings)
    return Imported(draft.settings, draft.report, dict(draft.written))


def _names_a_base(overrides: Sequence[str]) -> bool:
    return any(override.startswith(("model.name_or_path=", "model.variant=")) for override in overrides)


def _add_defaults(draft: Draft, process: Mapping[str, Any]) -> None:
    """Write down what that trainer does where the file says nothing, if ours would be something else."""
    train, model = group(process, "train"), group(process, "model")
    there = "the default there"
    draft.add("train.steps", "training.steps", updates(process, 1000), there)
    add_defaults(draft, train)
    draft.add("train.timestep_type", "training.timestep_type", "sigmoid", there)
    draft.add("network.linear", "target.rank", DEFAULT_RANK, there)
    draft.add("save.save_every", "save.every", updates(process, 1000), there)
    draft.add("save.max_step_saves_to_keep", "save.keep", 5, there)
    for place, _ in groups(process, "datasets"):
        where, here = f"datasets[{place}]", f"datasets.{place}"
        draft.add(f"{where}.resolution", f"{here}.resolutions", [512], there)
        draft.add(f"{where}.caption_dropout_rate", f"{here}.caption_dropout", 0.0, there)
    for key, target, value in (
        ("sample_every", "every", updates(process, 100)), ("width", "width", 512), ("height", "height", 512),
        ("seed", "seed", 0),
    ):  # fmt: skip
        draft.add(f"sample.{key}", f"sample.{target}", value, there)
    if is_z_image(model):
        _add_model_defaults(draft, model)


def _add_model_defaults(draft: Draft, model: Mapping[str, Any]) -> None:
    variant = variant_of_job(model)
    facts = VARIANTS[variant]
    if variant == "turbo" and "model.training_adapter" not in draft.written:
        why = "the file trains Turbo without an adapter, which undoes its 8 steps; `none` does so all the same"
        draft.add("model.assistant_lora_path", "model.training_adapter", "v2", why, matters=True)
    if model.get("quantize") and "model.quantize_te" not in draft.written:
        draft.add("model.quantize_te", "quantization.text_encoder", draft.settings["quantization"]["transformer"],
                  "like quantize, by default there")  # fmt: skip
    for key, target, own in (
        ("sample.sample_steps", "sample.steps", facts.preview_steps),
        ("sample.guidance_scale", "sample.guidance_scale", facts.guidance_scale),
    ):
        if target not in draft.written:
            draft.remark(key, "sample", f"{own:g}, right for {facts.label}; the default there is for another model")
