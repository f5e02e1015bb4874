"""Opening any config: our own panels, or a file of another trainer, which is imported on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipstream.config.imports import diffusers_script, musubi
from slipstream.config.imports.ai_toolkit import job as ai_toolkit
from slipstream.config.imports.imported import Imported
from slipstream.config.imports.report import Report
from slipstream.config.run_config import RunConfig, load_config, parse_config, read_config_text
from slipstream.core.errors import ConfigError

Origin = Literal["ai-toolkit", "musubi", "diffusers"]


@dataclass(frozen=True)
class Opened:
    """A config, and the report where it came from another trainer's file."""

    config: RunConfig
    report: Report | None = None


def open_config(path: Path, overrides: Sequence[str] = ()) -> Opened:
    """A config from a YAML file of ours or from a job file of ai-toolkit.

    Raises:
        ConfigError: the file is missing or wrong, holds several trainings, or trains another model family.
    """
    imported = import_file(path, overrides)
    if imported is None:
        return Opened(load_config(path, overrides))
    if len(imported) > 1:
        raise ConfigError(
            f"this file holds {len(imported)} trainings (config.process), expected one", where=str(path),
            fix=f"`slipstream import {path} --out my.yaml` writes one config for each.",
        )  # fmt: skip
    return Opened(check(imported[0], path, overrides), imported[0].report)


def check(imported: Imported, path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The config of an imported training.

    Raises:
        ConfigError: with every setting that does not fit.
    """
    source = f"{path} (imported from {imported.report.format})"
    base_dir = path.expanduser().resolve().parent
    return parse_config(imported.settings, overrides, source=source, base_dir=base_dir)


def import_file(path: Path, overrides: Sequence[str] = (), origin: Origin | None = None) -> list[Imported] | None:
    """The trainings in another trainer's file, or None for a config of our own (or for no mapping at all).

    Args:
        path: the file; overrides: what the command line sets.
        origin: whose file it is; None finds out.

    Raises:
        ConfigError: it is such a file, and cannot be read or trains something else.
    """
    path = path.expanduser()
    content = read_config_text(path)
    origin = origin or _origin(path, content)
    if origin == "musubi":
        return [musubi.import_command(content, str(path))]
    if origin == "diffusers":
        return [diffusers_script.import_command(content, str(path))]
    if origin is None:
        return None
    job = ai_toolkit.read_job(content, str(path))
    if not ai_toolkit.is_job(job):
        return None
    return ai_toolkit.import_job(job, str(path), overrides)


def _origin(path: Path, content: str) -> Origin | None:
    """Whose file it looks like."""
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        if musubi.SCRIPT in content:
            return "musubi"
        if diffusers_script.SCRIPT in content:
            return "diffusers"
    return "ai-toolkit" if "config" in content or "job" in content else None
