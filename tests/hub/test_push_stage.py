"""The push at the end of a run: what happens there is a line in the log, and the training stays finished."""

from __future__ import annotations

import pytest
from fake_hub import TOKEN, FakeHub

from slipstream.config.run_config import RunConfig, parse_config
from slipstream.runs.layout import RunDir
from slipstream.training.push_stage import push_if_asked
from slipstream.training.reporter import Reporter

REPO = "anna/my_style"


def config(**panel: object) -> RunConfig:
    save = {"push_to_hub": {"repo": REPO, **panel}}
    return parse_config({"job": {"name": "my_style"}, "datasets": [{"path": "p"}], "save": save})


def reporter(run: RunDir) -> Reporter:
    return Reporter(run, steps=1, log_every=0, tensorboard=False, memory_gib=lambda: 0.0)


def written_by(run: RunDir) -> str:
    """Everything that the run's text files say."""
    return "".join(path.read_text(errors="replace") for path in run.path.rglob("*") if path.is_file())


def test_a_finished_run_goes_to_the_hub_where_it_is_asked_to(hub: FakeHub, run: RunDir) -> None:
    push_if_asked(parse_config({"job": {"name": "a"}, "datasets": [{"path": "p"}]}), run, reporter(run))
    assert hub.requests == []
    assert not run.log.exists()
    push_if_asked(config(private=False), run, reporter(run))
    assert "my_style.safetensors" in hub.repositories[REPO]
    assert hub.private == {REPO: False}
    assert f"pushed to {hub.endpoint}/{REPO}" in run.log.read_text()


def test_a_failure_is_a_warning_with_the_way_to_try_again(hub: FakeHub, run: RunDir) -> None:
    hub.refusing = 401
    push_if_asked(config(), run, reporter(run))
    assert "warning: the LoRA is not on the hub" in run.log.read_text()
    assert f"slipstream push {run.path}" in run.log.read_text()
    assert TOKEN not in written_by(run)


def test_a_stop_while_it_is_pushed_is_one_too(hub: FakeHub, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", stop)
    push_if_asked(config(), run, reporter(run))
    assert "stopped while it was pushed" in run.log.read_text()


def test_a_push_leaves_no_trace_of_the_token(hub: FakeHub, run: RunDir) -> None:
    push_if_asked(config(), run, reporter(run))
    assert TOKEN not in written_by(run)
    assert all(TOKEN.encode() not in content for content in hub.repositories[REPO].values())


def test_repositories_are_private_unless_said_otherwise() -> None:
    panel = config().save.push_to_hub
    assert panel is not None
    assert panel.private
