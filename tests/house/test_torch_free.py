"""The doors and the control plane answer at once: importing them loads no torch and no model library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import slipstream

SOURCE = Path(slipstream.__file__).parent
HEAVY = ("torch", "diffusers", "transformers", "bitsandbytes", "tensorboard")
LIGHT_ROOMS = ("cli", "web", "experiments", "jobs", "launch", "workflows", "reports", "runs", "config", "core")
RUN_BY_ALEMBIC = "env.py"
"""Runs only while alembic calls it."""
DOORS = ["slipstream.cli.app", "slipstream.worker"]


def modules_of(room: str) -> list[str]:
    """Every module of a room and of the rooms in it, by dotted names."""
    paths = sorted(path for path in (SOURCE / room).rglob("*.py") if path.name != RUN_BY_ALEMBIC)
    return [
        ".".join(("slipstream", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        for path in paths
    ]


def heavy_after(code: str) -> list[str]:
    """Which heavy packages a fresh interpreter has loaded after running the code."""
    ask = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_light_rooms_and_the_worker_import_no_torch():
    modules = [*DOORS, *(name for room in LIGHT_ROOMS for name in modules_of(room))]
    for named in ("config.run_config", "runs.layout", "launch.local", "reports.html", "workflows.plan"):
        assert f"slipstream.{named}" in modules
    assert heavy_after("import importlib\nfor name in " + repr(modules) + ": importlib.import_module(name)") == []


def test_the_measure_sees_torch_where_it_is():
    assert heavy_after("import slipstream.training.step") == ["torch"]


def test_reading_a_config_and_refusing_one_needs_no_torch(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("job: {name: a}\ndatasets: [{path: .}]\n")
    bad.write_text("job: {name: a}\ndatasets: [{path: .}]\ntraining: {stepps: 3}\n")
    code = f"""
from pathlib import Path
from slipstream.config.advice import advise
from slipstream.config.run_config import dump_yaml, load_config
from slipstream.core.errors import ConfigError
config = load_config(Path({str(good)!r}))
dump_yaml(config), list(advise(config, 3))
try:
    load_config(Path({str(bad)!r}))
except ConfigError as error:
    assert "did you mean" in str(error), error
else:
    raise SystemExit("the bad config was taken")
"""
    assert heavy_after(code) == []
