"""Every key of every job file stands in the report, once, and every table leads to settings that exist."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipstream.config.fields import panels_at, settings_of
from slipstream.config.imports.ai_toolkit.job import JOB, PROCESS
from slipstream.config.imports.open import import_file
from slipstream.config.imports.rules import rules_of
from slipstream.config.run_config import RunConfig

JOBS = Path(__file__).parent / "jobs"

FILES = sorted(path.name for path in JOBS.iterdir())
BASE = ["model.name_or_path=Tongyi-MAI/Z-Image-Turbo"]


def keys_in(value: Any, path: str = "") -> list[str]:
    """Paths of all plain values in a file; written independently of the product's own walk."""
    if isinstance(value, dict) and value:
        return [key for name, inner in value.items() for key in keys_in(inner, f"{path}.{name}".lstrip("."))]
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        return [key for number, inner in enumerate(value) for key in keys_in(inner, f"{path}[{number}]")]
    return [path]


def in_one_process(keys: list[str], number: int) -> list[str]:
    """The keys of one training: the process's own, as they are called there, and those around all of them."""
    prefix = f"config.process[{number}]."
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix) or not key.startswith("config.process")]


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_reported_exactly_once(name, workspace):
    path = workspace / "config" / name
    text = path.read_text()
    keys = keys_in(json.loads(text) if name.endswith(".json") else yaml.safe_load(text))
    imported = import_file(path, BASE)
    assert imported
    for number, training in enumerate(imported):
        reported = Counter(entry.key for entry in training.report.entries if entry.outcome != "added")
        assert reported == Counter(in_one_process(keys, number))
        assert all(entry.why for entry in training.report.entries if entry.outcome in ("ignored", "unknown", "added"))


def test_there_are_ten_files_of_different_shapes():
    assert len(FILES) >= 10


def test_only_what_nobody_knows_is_unknown(workspace):
    """The keys of that trainer's own examples and pages are all known here."""
    unknown = {
        entry.key
        for name in FILES
        for training in import_file(workspace / "config" / name, BASE) or []
        for entry in training.report.entries
        if entry.outcome == "unknown"
    }
    assert unknown == {"datasets[0].shuffle_token", "train.autoscale_magic", "monitoring.enabled"}


def test_an_unknown_key_names_its_nearest_relative(workspace):
    (training,) = import_file(workspace / "config/prompts_with_flags.yaml") or []
    entry = next(entry for entry in training.report.entries if entry.key.endswith("shuffle_token"))
    assert "did you mean shuffle_tokens?" in entry.why


def test_every_target_of_the_tables_is_a_setting():
    targets = {target for table in (JOB, PROCESS) for _, rule in rules_of(table) for target in rule.targets}
    settings = settings_of(RunConfig)
    missing = {target for target in targets if target not in settings and not _is_group(target)}
    assert missing == set()


def _is_group(path: str) -> bool:
    return bool(panels_at(RunConfig, tuple(int(part) if part.isdigit() else part for part in path.split("."))))
