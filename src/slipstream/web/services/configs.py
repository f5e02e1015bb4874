"""Configs: checking them while they are written, presets, files of other trainers, and plans."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipstream.config.advice import advise
from slipstream.config.errors import SettingsError
from slipstream.config.imports.commented import commented_yaml
from slipstream.config.imports.open import Origin, check, import_file
from slipstream.config.run_config import RunConfig, dump_yaml, parse_config
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError, DataError
from slipstream.data.images import EXTENSIONS
from slipstream.data.listing import list_files
from slipstream.web.services.child import ask_child

MOST_CHARACTERS = 100_000
_DEEPEST = 40
_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SECONDS_TO_PLAN = 120.0
_SOURCE = "config"


@dataclass(frozen=True)
class SettingProblem:
    """One thing wrong with a config. `path` is the setting, "" where it is the text as a whole."""

    path: str
    message: str
    fix: str | None


@dataclass(frozen=True)
class Checked:
    """What is wrong with a config, or the config itself, with every setting, and advice on it."""

    valid: bool
    problems: tuple[SettingProblem, ...]
    advice: tuple[str, ...]
    config: dict[str, Any] | None
    yaml: str | None


@dataclass(frozen=True)
class ConvertedKey:
    """What became of one key of another trainer's file."""

    key: str
    value: Any
    outcome: str
    panel: str
    target: str | None
    result: Any
    why: str
    matters: bool


@dataclass(frozen=True)
class Converted:
    """One training of another trainer's file as our config, commented, and what became of every key."""

    yaml: str
    format: str
    summary: str
    keys: tuple[ConvertedKey, ...]


def read_config(given: Any, base_dir: Path) -> RunConfig:
    """A config from YAML text or plain values; relative paths of datasets start at `base_dir`.

    Raises:
        ConfigError: with every setting that is wrong.
    """
    value = read_values(given) if isinstance(given, str) else given
    if not isinstance(value, Mapping):
        raise ConfigError(
            "got no panels, expected at least `job` and `datasets`", where=_SOURCE, fix="start from a preset."
        )
    return parse_config(value, source=_SOURCE, base_dir=base_dir)


def check_config(given: str | Mapping[str, Any], base_dir: Path) -> Checked:
    """What is wrong with a config, or what it says in full."""
    try:
        config = read_config(given, base_dir)
    except SettingsError as error:
        problems = tuple(SettingProblem(one.path, one.text, one.remedy) for one in error.problems)
        return Checked(False, problems, (), None, None)
    except ConfigError as error:
        return Checked(False, (SettingProblem("", str(error).partition("\n")[0], error.fix),), (), None, None)
    advice = tuple(advise(config, count_pictures(config)))
    return Checked(True, (), advice, config.model_dump(mode="json"), dump_yaml(config))


def count_pictures(config: RunConfig) -> int | None:
    """How many pictures the LoRA would learn from, by their names alone; None where a folder cannot be listed."""
    try:
        return sum(
            path.suffix.lower() in EXTENSIONS
            for panel in config.datasets
            if panel.regularization is None
            for path in list_files(panel.path)
        )
    except DataError:
        return None


def convert(text: str, file_name: str, origin: Origin | None) -> list[Converted]:
    """The trainings in another trainer's file.

    Raises:
        ConfigError: it is none, or cannot be imported.
    """
    _refuse_long(text)
    _refuse_traps(text)
    with tempfile.TemporaryDirectory() as folder:
        # the name's ending says what it may be; nothing else of it is used
        suffix = Path(file_name).suffix.lower()
        path = Path(folder) / f"import{suffix if suffix in ('.yaml', '.yml', '.json', '.sh', '.bat', '.txt') else ''}"
        path.write_text(text, encoding="utf-8")
        try:
            imported = import_file(path, (), origin)
            if imported is None:
                raise ConfigError(
                    "this is no file of another trainer", where=file_name[:120],
                    fix="open a job file of ai-toolkit, or a command of musubi-tuner or diffusers.",
                )  # fmt: skip
            for one in imported:
                check(one, path)
        except SettingsError as error:
            raise SettingsError(error.problems, file_name[:120]) from error
        except ConfigError as error:
            where = (error.where or "").replace(str(path), file_name[:120])
            raise ConfigError(error.message, where=where, fix=error.fix) from error
    return [
        Converted(
            commented_yaml(one), one.report.format, one.report.summary(),
            tuple(ConvertedKey(**vars(entry)) for entry in one.report.entries),
        )
        for one in imported
    ]  # fmt: skip


def plan(config: RunConfig, *, download: bool) -> dict[str, Any]:
    """What a training would do (`slipstream plan`), from a process of its own.

    Raises:
        SlipstreamError: whatever would stop the training before its first step.
        RefusedError: the plan took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(dump_yaml(config), encoding="utf-8")
        answer: dict[str, Any] = ask_child(
            ["plan", str(path), "--json"], seconds=_SECONDS_TO_PLAN, offline=not download
        )  # fmt: skip
        return answer


def read_values(text: str) -> Any:
    """What a YAML text says, before anything of it is checked.

    Raises:
        ConfigError: it cannot be read, or is a trap.
    """
    _refuse_long(text)
    _refuse_traps(text)
    return read_yaml(text, _SOURCE)


def _refuse_long(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"the text has {len(text):,} characters, at most {MOST_CHARACTERS:,} are read", where=_SOURCE,
            fix="put long lists of prompts into a file: sample.prompts_file.",
        )  # fmt: skip


def _refuse_traps(text: str) -> None:
    """A few lines with aliases of aliases stand for gigabytes, and deep nesting takes minutes to read; no config needs
    either. Only looked at: what the text means is read later."""
    depth = 0
    try:
        for event in yaml.parse(text, _Parser):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError("aliases (*name) are not read here", where=_SOURCE, fix="write the value out.")
            if depth > _DEEPEST:
                raise ConfigError("the groups are nested too deeply", where=_SOURCE, fix="close the brackets.")
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # no YAML: whoever reads it says so
