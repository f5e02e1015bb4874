"""LoRAs that can be drawn with: those of runs, and files in a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from slipstream.config.run_config import RunConfig, config_from_run
from slipstream.config.variants import extras_source, variant_named, variant_of
from slipstream.core.errors import SlipstreamError
from slipstream.core.tensor_file import read_header
from slipstream.runs.layout import RunDir
from slipstream.web.problems import missing
from slipstream.web.services.checkpoints import Checkpoint, checkpoint_path, list_checkpoints
from slipstream.web.services.places import below
from slipstream.web.services.playground.form import LoraForm
from slipstream.web.services.runs import find_run

SUFFIX = ".safetensors"
MOST_FILES = 2000
_DEEPEST = 4


@dataclass(frozen=True)
class RunBase:
    """What a run trained on, as its config says."""

    model: str
    variant: str
    extras_from: str
    precision: str


@dataclass(frozen=True)
class RunLoras:
    """The LoRAs of a run. `base` is None where its config cannot be read any more."""

    name: str
    trigger_word: str
    base: RunBase | None
    prompts: tuple[str, ...]
    """The run's own preview prompts, `[trigger]` filled in."""
    width: int
    height: int
    checkpoints: tuple[Checkpoint, ...]


@dataclass(frozen=True)
class FileLora:
    """A LoRA file: what it says of itself. `base` is None where it names no model that everybody knows."""

    trigger_word: str
    base: RunBase | None


def runs_with_loras(runs_dir: Path) -> list[str]:
    """Names of the runs that have a LoRA, the last changed first."""
    found = []
    try:
        folders = list(os.scandir(runs_dir))
    except OSError:
        return []
    for folder in folders:
        if folder.name.startswith(".") or not folder.is_dir(follow_symlinks=False):
            continue
        run = RunDir(Path(folder.path))
        if run.lora.is_file() or next(run.checkpoints.glob(f"*{SUFFIX}"), None) is not None:
            found.append((run.lora.stat().st_mtime if run.lora.is_file() else folder.stat().st_mtime, folder.name))
    return [name for _, name in sorted(found, reverse=True)]


def loras_of_run(runs_dir: Path, name: str) -> RunLoras:
    """A run's LoRAs, and what its config says of them.

    Raises:
        RefusedError: there is no such run (404).
    """
    run = find_run(runs_dir, name)
    config = _config(run)
    checkpoints = tuple(list_checkpoints(run))
    if config is None:
        return RunLoras(run.name, "", None, (), 1024, 1024, checkpoints)
    sample = config.sample
    return RunLoras(
        run.name, config.job.trigger_word, _base_of(config), tuple(one.prompt for one in sample.prompts),
        sample.width, sample.height, checkpoints,
    )  # fmt: skip


def base_of_run(run: RunDir) -> RunBase | None:
    """What the run trains on."""
    config = _config(run)
    return None if config is None else _base_of(config)


def _base_of(config: RunConfig) -> RunBase:
    model = config.model
    return RunBase(model.name_or_path, model.variant, extras_source(model), config.quantization.transformer)


def _config(run: RunDir) -> RunConfig | None:
    try:
        return _config_at(run.config, run.config.stat().st_mtime_ns)
    except (OSError, SlipstreamError):
        return None


@lru_cache(maxsize=256)
def _config_at(path: Path, time_ns: int) -> RunConfig:
    return config_from_run(path)


def files_in(folder: Path) -> list[str]:
    """Paths of the LoRA files below a folder, with slashes, in order; links and hidden ones are left out."""
    found: list[str] = []
    _walk(folder, "", 0, found)
    return sorted(found, key=str.casefold)


def _walk(folder: Path, before: str, depth: int, found: list[str]) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.is_symlink() or len(found) >= MOST_FILES:
            continue
        if entry.is_dir() and depth < _DEEPEST:
            _walk(Path(entry.path), f"{before}{entry.name}/", depth + 1, found)
        elif entry.name.endswith(SUFFIX) and entry.is_file():
            found.append(before + entry.name)


def file_facts(path: Path) -> FileLora:
    """What a LoRA file says of itself; nothing where it cannot be read, which drawing with it tells."""
    try:
        said = read_header(path).metadata
    except SlipstreamError:
        return FileLora("", None)
    name = str(said.get("base_model", ""))
    known = variant_named(name)
    base = None if known is None else RunBase(name, variant_of(name), "", "auto")
    return FileLora(str(said.get("modelspec.trigger_phrase", ""))[:100], base)


def lora_path(runs_dir: Path, loras_dir: Path, lora: LoraForm) -> Path:
    """The file that is meant: one of the run's list, or one below the folder of LoRAs.

    Raises:
        RefusedError: there is none (404).
    """
    if lora.run:
        return checkpoint_path(find_run(runs_dir, lora.run), lora.file)
    path = below(loras_dir, lora.file, "LoRA")
    if path.suffix != SUFFIX or not path.is_file():
        raise missing("LoRA of this name in the folder", where=lora.file[:200], fix=f"put it into {loras_dir}.")
    return path


def trigger_of(runs_dir: Path, lora: LoraForm, path: Path) -> str:
    """The trigger word of a LoRA: its run's, or the one that its file names; empty where there is none."""
    own = loras_of_run(runs_dir, lora.run).trigger_word if lora.run else ""
    return own or file_facts(path).trigger_word
