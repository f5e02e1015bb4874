"""The whole config: nine panels, read from YAML with overrides, written back as YAML."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from slipstream.config.advanced import AdvancedPanel
from slipstream.config.combinations import refuse_nonsense
from slipstream.config.datasets import DatasetPanel
from slipstream.config.errors import config_error, describe
from slipstream.config.job import JobPanel
from slipstream.config.model import ModelPanel, TurboModel
from slipstream.config.overrides import apply_overrides, split_override
from slipstream.config.panel import PANEL
from slipstream.config.quantization import QuantizationPanel
from slipstream.config.sample import SamplePanel, with_prompts_file
from slipstream.config.save import SavePanel
from slipstream.config.target import TargetPanel
from slipstream.config.training import TrainingPanel
from slipstream.config.yaml_text import read_yaml, write_yaml
from slipstream.core.errors import ConfigError


class RunConfig(BaseModel):
    """Everything one training is told, in the order of the guide's panels. JOB and DATASETS must be given."""

    model_config = PANEL

    job: JobPanel
    """JOB: what the run is called, its trigger word, and where it runs."""

    model: ModelPanel = TurboModel()
    """MODEL: the base to train, and for Turbo its training adapter."""

    quantization: QuantizationPanel = QuantizationPanel()
    """QUANTIZATION: precision of the frozen weights."""

    target: TargetPanel = TargetPanel()
    """TARGET: rank, alpha and places of the LoRA."""

    save: SavePanel = SavePanel()
    """SAVE: rhythm and format of checkpoints."""

    training: TrainingPanel = TrainingPanel()
    """TRAINING: steps, optimizer, learning rate, loss and noise levels."""

    datasets: Annotated[tuple[DatasetPanel, ...], Field(min_length=1)]
    """DATASETS: one or more folders of pictures, a list."""

    sample: SamplePanel = SamplePanel()
    """SAMPLE: prompts and settings of the previews."""

    advanced: AdvancedPanel = AdvancedPanel()
    """ADVANCED: differential guidance, logging, the cache folder."""

    _makes_sense = model_validator(mode="after")(refuse_nonsense)


def parse_config(
    mapping: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    source: str = "config",
    base_dir: Path | None = None,
) -> RunConfig:
    """A config from plain values; `source` names them in messages.

    Relative paths of datasets, masks and `sample.prompts_file` are resolved against `base_dir` where it is given. A
    panel that is there but empty (`save:` with nothing under it) takes its defaults.

    Raises:
        ConfigError: with every setting that is wrong.
    """
    if not any(text.startswith("sample.prompts_file") for text in overrides):
        mapping = with_prompts_file(mapping, base_dir)  # first, so that overrides reach the prompts of the file
    given = with_prompts_file(apply_overrides(mapping, overrides), base_dir)
    filled = {name: value for name, value in given.items() if value is not None}
    try:
        config = RunConfig.model_validate(filled)
    except ValidationError as error:
        raise config_error(error, RunConfig, source, (split_override(text)[0] for text in overrides)) from error
    return config if base_dir is None else _anchored(config, base_dir)


def _anchored(config: RunConfig, base_dir: Path) -> RunConfig:
    """The config with absolute paths, so that it means the same from any directory."""
    datasets = tuple(_anchored_dataset(panel, base_dir) for panel in config.datasets)
    names = ("name_or_path", "extras_from", "training_adapter")
    files = {name: _found(value, base_dir) for name in names if (value := getattr(config.model, name, None))}
    update: dict[str, Any] = {"datasets": datasets, "model": config.model.model_copy(update=files)}
    if config.target.start_from is not None:
        update["target"] = config.target.model_copy(update={"start_from": _found(config.target.start_from, base_dir)})
    if (validation := config.training.validation) is not None and validation.path is not None:
        path = (base_dir / validation.path.expanduser()).resolve()
        moved = validation.model_copy(update={"path": path})
        update["training"] = config.training.model_copy(update={"validation": moved})
    if config.advanced.cache_dir is not None:
        cache_dir = config.advanced.cache_dir.expanduser().resolve()
        update["advanced"] = config.advanced.model_copy(update={"cache_dir": cache_dir})
    return config.model_copy(update=update)


def _anchored_dataset(panel: DatasetPanel, base_dir: Path) -> DatasetPanel:
    folder = (base_dir / panel.path.expanduser()).resolve()
    update: dict[str, Any] = {"path": folder}
    if panel.captions_file is not None:
        candidates = [start / panel.captions_file.expanduser() for start in (folder, base_dir)]
        update["captions_file"] = next((path for path in candidates if path.exists()), candidates[0]).resolve()
    if panel.mask is not None and panel.mask.path is not None:
        path = (base_dir / panel.mask.path.expanduser()).resolve()
        update["mask"] = panel.mask.model_copy(update={"path": path})
    return panel.model_copy(update=update)


def _found(name: str, base_dir: Path) -> str:
    """A name that is a path on this machine, from the current directory or from `base_dir`, as an absolute one."""
    path = Path(name).expanduser()
    for candidate in (path, base_dir / path):
        if candidate.exists():
            return str(candidate.resolve())
    return name


def load_config(path: Path, overrides: Sequence[str] = (), base_dir: Path | None = None) -> RunConfig:
    """A config from a YAML file.

    Relative paths of datasets and of `sample.prompts_file`, overridden ones too, start at `base_dir`, by default the
    file's folder; a model or adapter that is a path may start there or at the current directory; `job.output_dir` and
    `advanced.cache_dir` start at the current directory.

    Raises:
        ConfigError: the file is missing, not YAML, or settings are wrong.
    """
    path = path.expanduser()
    value = read_yaml(read_config_text(path), str(path))
    if value is None:
        raise ConfigError(
            "the file is empty, expected at least the panels `job` and `datasets`", where=str(path),
            fix="start from a preset: `slipstream presets` lists them.",
        )  # fmt: skip
    if not isinstance(value, dict):
        raise ConfigError(
            f"got {describe(value)}, expected panels (job, model, datasets, ...) with settings under them",
            where=str(path), fix="begin with a line `job:` and indent `name: my_lora` under it.",
        )  # fmt: skip
    return parse_config(value, overrides, source=str(path), base_dir=base_dir or path.resolve().parent)


def read_config_text(path: Path) -> str:
    """The text of a config file.

    Raises:
        ConfigError: it is missing (with the nearest name), or no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError("there is no such file", where=str(path), fix=_similar_file(path)) from error
    except IsADirectoryError as error:
        raise ConfigError(
            "this is a folder, expected a YAML file", where=str(path), fix="give the file in it."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"this is not UTF-8 text (byte {error.start})",
            where=str(path),
            fix="save it as UTF-8 in your editor.",
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read: {error}", where=str(path), fix="check path and permissions.") from error


def _similar_file(path: Path) -> str:
    names = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"did you mean {path.with_name(close[0])}?" if close else "check the path."


def config_from_run(run_yaml: Path) -> RunConfig:
    """The resolved config that a run folder holds.

    Raises:
        ConfigError: it is missing or was damaged.
    """
    return load_config(run_yaml)


def dump_yaml(config: RunConfig) -> str:
    """The config as YAML with every setting, panels in the guide's order; reading it gives an equal
    config."""
    return write_yaml(config.model_dump(mode="json"))
