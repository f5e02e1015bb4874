"""Run folders to report on."""

import pytest
from fake_run import fill

from slipstream.runs.layout import RunDir


@pytest.fixture
def empty_run(tmp_path) -> RunDir:
    run = RunDir(tmp_path / "runs" / "my_style")
    run.path.mkdir(parents=True)
    return run


@pytest.fixture
def full_run(empty_run) -> RunDir:
    fill(empty_run)
    return empty_run
