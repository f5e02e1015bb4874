"""`slipstream ab` and `slipstream compare` as a user types them, with a queue that nobody works off."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from slipstream.cli import experiments, queueing
from slipstream.cli.app import app
from slipstream.cli.experiment_view import run_table, seconds_left, summary
from slipstream.cli.screen import out
from slipstream.config.run_config import dump_yaml
from slipstream.core.errors import ConfigError, JobError
from slipstream.experiments.experiment import PlannedRun, read_experiment
from slipstream.experiments.standing import Standing
from slipstream.jobs.places import DATABASE_VARIABLE, HOME_VARIABLE
from slipstream.runs.progress import Progress, write_progress

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command without a supervisor, in a folder of its own; what it printed. What is refused is raised."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiments, "ensure_supervisor", lambda: False)
    monkeypatch.setattr(queueing, "find_gpus", lambda: ())

    def call(*arguments: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["slipstream", *arguments])
        result: Result = CliRunner().invoke(app, arguments, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return capsys.readouterr().out + result.output

    return call


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "foxy.yaml"
    path.write_text(yaml.safe_dump({"job": {"name": "foxy"}, "datasets": [{"path": "pictures"}]}))
    return str(path)


def test_a_dry_run_shows_what_differs_and_starts_nothing(run: Run, config: str, tmp_path: Path) -> None:
    said = run("ab", config, "training.timestep_type=sigmoid,linear", "--seeds", "2", "--dry-run")
    assert "sigmoid against linear; seeds 42, 43" in said
    assert "training.timestep_type  sigmoid  linear" in said
    assert "the same noise" in said
    assert "training loss does not measure the same" in said
    assert not (tmp_path / "experiments").exists()


def test_leaving_says_how_to_come_back_and_coming_back_adds_nothing(run: Run, config: str, tmp_path: Path) -> None:
    said = run("ab", config, "target.rank=8,16", "training.steps=9", "--seeds", "2", "--no-wait")
    assert "4 runs put into the queue" in said
    assert "/experiments/foxy_rank_8_vs_rank_16" in said
    assert f"slipstream ab {config} target.rank=8,16 training.steps=9 --seeds 2" in said
    folder = tmp_path / "experiments/foxy_rank_8_vs_rank_16"
    assert (folder / "report.html").is_file()
    assert read_experiment(folder).seeds == (42, 43)
    again = run("ab", config, "target.rank=8,16", "training.steps=9", "--seeds", "3", "--no-wait")
    assert "2 runs put into the queue; 4 were there already" in again
    with pytest.raises(ConfigError, match=r"training.steps was 9, now 2500"):
        run("ab", config, "target.rank=8,16", "--no-wait")


def test_ctrl_c_leaves_the_queue_at_work(run: Run, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "_watch", interrupted)
    said = run("ab", config, "target.rank=8,16", "--seeds", "1")
    assert "the queue goes on with it" in said
    assert f"slipstream ab {config} target.rank=8,16 --seeds 1" in said


def test_it_waits_until_nothing_more_comes_and_tells_what_came_of_it(
    run: Run, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def finish_one(_: float) -> None:
        """What a worker does in the meantime."""
        one = read_experiment(Path("experiments/foxy_rank_8_vs_rank_16").resolve())
        folder = one.run_dir(one.runs[len(looks)])
        folder.path.mkdir(parents=True)
        folder.config.write_text(dump_yaml(one.config(one.runs[len(looks)])))
        folder.metrics.write_text(json.dumps({"step": 1, "loss": 0.5 - 0.1 * len(looks), "seconds": 1.0}))
        folder.lora.write_bytes(b"lora")
        write_progress(folder, Progress(state="finished", step=1, steps=1))
        looks.append(1)

    monkeypatch.setattr(experiments.time, "sleep", finish_one)
    said = run("ab", config, "target.rank=8,16", "--seeds", "1")
    assert "2 finished" in said
    assert "rank 16 ends at a lower training loss than rank 8 in the one seed that has both: −0.1 (−20 %)" in said
    assert "One pair shows what happened once" in said
    assert "0 runs put into the queue; 2 were there already" in run("ab", config, "target.rank=8,16", "--seeds", "1")


def test_programs_get_json(run: Run, config: str) -> None:
    found = json.loads(run("ab", config, "target.rank=8,16", "--seeds", "1", "--no-wait", "--json"))
    assert found["arms"] == ["rank 8", "rank 16"]
    assert found["differences"] == [{"setting": "target.rank", "values": ["8", "16"]}]
    assert [one["state"] for one in found["runs"]] == ["queued", "queued"]
    assert found["limits"] == ["No seed has every arm finished yet, so nothing can be said about differences."]


def test_whole_configs_are_compared(run: Run, config: str, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    value = yaml.safe_load(Path(config).read_text())
    other.write_text(yaml.safe_dump({**value, "job": {"name": "x", "seed": 7}, "training": {"batch_size": 2}}))
    said = run("compare", config, str(other), "training.steps=5", "--seeds", "1", "--dry-run")
    assert "foxy_vs_other" in said
    assert "name different seeds" in said
    assert "other batches (training.batch_size)" in said
    assert "steps" not in said
    with pytest.raises(ConfigError, match="expected two or more"):
        run("compare", config)


def test_what_cannot_be_meant_is_refused(run: Run, config: str) -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        run("ab", config, "target.rank=8")
    with pytest.raises(ConfigError, match="more than 24"):
        run("ab", config, "target.rank=4,8,16", "training.learning_rate=1e-4,2e-4,3e-4")
    with pytest.raises(ConfigError, match="expected 1 or more"):
        run("ab", config, "target.rank=8,16", "--seeds", "0")
    with pytest.raises(JobError, match="no gpu:4"):
        run("ab", config, "target.rank=8,16", "--queue", "gpu:4")


def test_the_live_view_counts_runs_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        Standing(PlannedRun(0, 42, "a"), "finished", 1, Progress(step=100, steps=100, seconds_per_step=0.5)),
        Standing(PlannedRun(1, 42, "b"), "running", 2, Progress(phase="previews", step=40, steps=100, loss=0.25,
                                                                seconds_per_step=1.5, eta_seconds=90)),
        Standing(PlannedRun(0, 43, "c"), "queued", 3, Progress()),
    ]  # fmt: skip
    assert seconds_left(found) == 160.0
    assert summary(found) == "1 finished, 1 running, 1 queued; about 2 min 40 s of training left"
    assert seconds_left(found[2:]) is None
    out.print(run_table(found, ["rank 8", "rank 16"]))
    said = capsys.readouterr().out
    assert "40/100" in said
    assert "previews" in said
    assert "1 min 30 s" in said
