"""Ten job files of different shapes train on the tiny family, straight from the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipstream.config.imports.open import import_file, open_config

JOBS = sorted(path.name for path in (Path(__file__).parent / "jobs").iterdir())
ONE_TRAINING = [name for name in JOBS if name != "two_trainings.yaml"]
BASES = {"deturbo_long.yaml": "tiny/de-turbo", "base_prodigy.yaml": "tiny/base", "prompts_with_flags.yaml": "tiny/base"}
"""Files that do not train Turbo -> the tiny model of their kind."""


SMALL_PREVIEW = {"width": 64, "height": 64, "steps": 1}


def small(name: str, root: Path, settings: dict[str, Any]) -> list[str]:
    """What makes a training short: the tiny model, two steps, small pictures, prompts with sizes of their own too."""
    prompts = settings.get("sample", {}).get("prompts", [])
    return [
        f"model.name_or_path={BASES.get(name, 'tiny/turbo')}",
        "training.steps=2", "training.warmup_steps=0", "training.batch_size=1", "training.gradient_accumulation=1",
        *(f"datasets.{number}.resolutions=[64]" for number in range(len(settings["datasets"]))),
        *(f"sample.{key}={value}" for key, value in SMALL_PREVIEW.items()),
        *(
            f"sample.prompts.{number}.{key}={value}"
            for number, prompt in enumerate(prompts)
            for key, value in SMALL_PREVIEW.items()
            if key in prompt and not isinstance(prompt, str)
        ),
        "sample.every=0", "sample.at_start=false",
        "save.push_to_hub=null", "job.device=cpu", f"job.output_dir={root / 'runs'}",
    ]  # fmt: skip


def runs_in(root: Path) -> list[Path]:
    return [path.parent for path in (root / "runs").glob("*/config.yaml")]


def train_in_this_process(config: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """`slipstream train` with a worker that is no process of its own."""
    from slipstream import worker
    from slipstream.cli import training as door

    class Here:
        def __init__(self, run) -> None:
            self.run = run

        def wait(self, seconds: float) -> int:
            return worker.work(self.run)

    monkeypatch.setattr(door, "start_worker", Here)
    return door.train_command(config, overrides, fresh=False)


def overrides_for(name: str, root: Path) -> list[str]:
    path = root / "config" / name
    (training,) = import_file(path, ["model.name_or_path=tiny/turbo"]) or []
    return small(name, root, training.settings)


@pytest.mark.parametrize("name", ONE_TRAINING)
def test_a_job_file_trains(name, workspace, monkeypatch, capsys):
    overrides = overrides_for(name, workspace)
    assert train_in_this_process(workspace / "config" / name, overrides, monkeypatch) == 0
    (run,) = runs_in(workspace)
    assert (run / f"{run.name}.safetensors").is_file()
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2]
    assert "imported" in capsys.readouterr().out


def test_two_trainings_in_one_file_become_two_configs_that_train(workspace, monkeypatch):
    from slipstream.cli.imports import import_command

    import_command(workspace / "config/two_trainings.yaml", workspace / "config/my.yaml", [])
    for number in (1, 2):
        path = workspace / f"config/my_{number}.yaml"
        overrides = small("", workspace, {"datasets": [{}]})
        assert train_in_this_process(path, overrides, monkeypatch) == 0
    assert {run.name for run in runs_in(workspace)} == {"two_trainings_1", "two_trainings_2"}


def test_what_is_written_is_what_is_trained_directly(workspace):
    """The YAML with comments reads back as the same config."""
    from slipstream.cli.imports import import_command

    for name in ONE_TRAINING:
        path, written = workspace / "config" / name, workspace / "config" / f"{name}.ours.yaml"
        overrides = overrides_for(name, workspace)
        import_command(path, written, overrides)
        assert open_config(written).config == open_config(path, overrides).config
