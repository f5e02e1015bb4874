"""`resume` with settings: a finished run goes on for longer; patterns that mean nothing are told before loading."""

from __future__ import annotations

import pytest

from slipstream.cli import training as door
from slipstream.config.run_config import dump_yaml, load_config, parse_config
from slipstream.core.errors import AdapterError, ConfigError
from slipstream.runs.create import create_run
from slipstream.runs.progress import Progress, write_progress


@pytest.fixture
def finished(tmp_path):
    config = parse_config({"job": {"name": "done", "output_dir": str(tmp_path)}, "datasets": [{"path": str(tmp_path)}]})
    run, _ = create_run(tmp_path, "done", dump_yaml(config))
    write_progress(run, Progress(state="finished", step=2500, steps=2500))
    return run


def test_a_finished_run_says_how_to_go_on(finished, capsys, monkeypatch):
    monkeypatch.setattr(door, "_work", lambda run: pytest.fail("there is nothing to do"))
    assert door.resume_command(finished.path, []) == 0
    assert "training.steps=5000" in capsys.readouterr().out.replace("\n", "")


def test_more_steps_are_written_into_the_run_and_trained(finished, monkeypatch):
    monkeypatch.setattr(door, "_work", lambda run, device: 7)
    assert door.resume_command(finished.path, ["training.steps=3000"]) == 7
    assert load_config(finished.config).training.steps == 3000


def test_a_wrong_setting_changes_nothing(finished):
    before = finished.config.read_text()
    for wrong in ("training.stepz=3", "job.name=other"):
        with pytest.raises(ConfigError):
            door.resume_command(finished.path, [wrong])
    assert finished.config.read_text() == before


@pytest.mark.parametrize(
    "override",
    ["target.target_modules=[attention.to_w]", "target.blocks=0-9", "training.module_learning_rates={w9: 2.0}"],
)
def test_plan_refuses_patterns_that_mean_nothing(override):
    from pathlib import Path

    from slipstream.workflows.plan import make_plan

    config = load_config(Path(__file__).parents[2] / "examples/style.yaml", [override])
    with pytest.raises((AdapterError, ConfigError)):
        make_plan(config)
