"""What `slipstream drift LORA` means: a file, a run's newest LoRA or all of them, and the base of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.errors import ConfigError
from slipstream.core.tensor_file import read_header
from slipstream.drawings.request import Base
from slipstream.evaluation.drift_findings import Training
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import read_progress

RUNS = Path("runs")
"""Where a run's name is looked for, `job.output_dir`'s default."""
_LABEL = re.compile(r"_(\d{9})\.safetensors$")
_RATE = re.compile(r"^\s+learning_rate:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class LoraPlace:
    """A LoRA file and the updates it was trained for, None where nothing says it."""

    path: Path
    step: int | None


@dataclass(frozen=True)
class Target:
    """What is measured. `base` None: neither file nor run names one that is known here. `variant`: its kind."""

    name: str
    loras: tuple[LoraPlace, ...]
    base: Base | None
    variant: str | None
    training: Training


def find_target(text: str, *, all_checkpoints: bool) -> Target:
    """A LoRA file, a run folder, or the name of a run in `runs/`.

    Raises:
        ConfigError: there is no such thing, or no LoRA in it.
    """
    path = Path(text).expanduser()
    if not path.exists() and (RUNS / text / "config.yaml").is_file():
        path = RUNS / text
    if path.is_dir():
        return _of_run(RunDir(path.resolve()), all_checkpoints=all_checkpoints)
    if not path.is_file():
        raise ConfigError(
            f"there is no LoRA file, run folder or run called {text!r}", where="drift",
            fix="give a .safetensors file, a run folder such as runs/my_style, or a run's name.",
        )  # fmt: skip
    if all_checkpoints:
        raise ConfigError(
            "a single file has no checkpoints", where="--all", fix="give the run's folder, or leave --all out."
        )
    metadata = read_header(path).metadata
    return Target(path.stem, (LoraPlace(path, _step(metadata)),), *_base_of(metadata), _training(metadata))


def _of_run(run: RunDir, *, all_checkpoints: bool) -> Target:
    found = {
        int(match[1]): path for path in run.checkpoints.glob("*.safetensors") if (match := _LABEL.search(path.name))
    }
    if run.lora.is_file():
        found[_step(read_header(run.lora).metadata) or _last_step(run)] = run.lora
    if not found:
        raise ConfigError(
            "the run has no LoRA yet", where=str(run.path),
            fix="wait for its first checkpoint, or ask for one with `slipstream save`.",
        )  # fmt: skip
    steps = sorted(found)[0 if all_checkpoints else -1 :]
    places = tuple(LoraPlace(found[step], step) for step in steps)
    metadata = read_header(places[-1].path).metadata
    return Target(run.name, places, *(_base_of_run(run) or _base_of(metadata)), _training(metadata))


def _last_step(run: RunDir) -> int:
    progress = read_progress(run)
    return 0 if progress is None else progress.step


def _base_of_run(run: RunDir) -> tuple[Base, str] | None:
    """The base that the run's config names, and its variant; None where the folder has no config."""
    from slipstream.config.run_config import config_from_run
    from slipstream.config.variants import extras_source

    if not run.config.is_file():
        return None
    config = config_from_run(run.config)
    panel = config.quantization
    base = Base(config.model.name_or_path, extras_source(config.model), panel.transformer, panel.text_encoder)
    return base, config.model.variant


def _base_of(metadata: Mapping[str, str]) -> tuple[Base | None, str | None]:
    """The base that a file names, where that name means the same to everybody, and its variant."""
    from slipstream.config.variants import variant_named

    name = metadata.get("base_model", "")
    variant = variant_named(name)
    return (None, None) if variant is None else (base_called(name), variant)


def base_called(name: str) -> Base:
    """A base by name, folder or hub id, its missing parts from where its variant has them."""
    from slipstream.config.variants import extras_for

    return Base(name, extras_for(name))


def _step(metadata: Mapping[str, str]) -> int | None:
    steps = metadata.get("steps", "")
    return int(steps) if steps.isdecimal() else None


def _training(metadata: Mapping[str, str]) -> Training:
    """What a file of slipstream's says about itself; of others only what they happen to say alike."""
    rate = _RATE.search(metadata.get("config", ""))
    try:
        learning_rate = float(rate[1]) if rate else None
    except ValueError:
        learning_rate = None
    adapter = metadata.get("training_adapter")
    trained_on_turbo = metadata.get("modelspec.architecture") == "z-image-turbo/lora"
    return Training(
        base=metadata.get("base_model"),
        adapter=adapter if adapter is None or trained_on_turbo else "",
        learning_rate=learning_rate,
        trigger_word=metadata.get("modelspec.trigger_phrase", ""),
    )
