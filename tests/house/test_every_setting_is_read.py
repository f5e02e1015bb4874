"""Every setting of a config is read by the code that trains: none is accepted and then forgotten.

A whole training runs here in one process, from the command to the report, while every attribute that is read from a
panel is written down together with the module that reads it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from PIL import Image
from pydantic import BaseModel

import slipstream
from slipstream.config.advice import advise
from slipstream.config.fields import panels_at, panels_in, settings_of
from slipstream.config.run_config import RunConfig, dump_yaml, load_config

SOURCE = Path(slipstream.__file__).parent
CARRIERS = (
    "flow/densities.py", "objectives/settings.py", "data/settings.py", "previews/render.py",
    "training/checkpoint.py", "training/loop.py", "training/step.py",
    "workflows/sample.py",
)  # fmt: skip
"""Modules whose dataclasses carry settings as plain values."""

READ_WHILE_LOADING = {"sample.prompts_file"}
"""Settings that loading a config turns into others: none is left for the training (tests/config/test_prompts.py)."""

PRESERVATION = {
    "turbo": "{class_word: picture}",
    "de_turbo": "{kind: blank_prompt}",
    "base": "{kind: blank_prompt, multiplier: 0.5}",
}
"""Each of the panels that may stand there, by the variant whose config holds it."""

Reads = set[tuple[type[BaseModel], str]]
CONFIG = """\
job: {{name: all_read, trigger_word: felt, output_dir: {output}}}
model: {{variant: {variant}, name_or_path: {model}}}
target: {{rank: 1, target_modules: [attention.to_q]}}
training: {{steps: 2, optimizer: adamw, loss_type: huber, ema: {{decay: 0.5}}, validation: {{fraction: 0.5}},
  preservation: {preservation}, contrastive_guidance: {{scale: 2.0}}}}
save: {{push_to_hub: {{repo: anna/all_read}}}}
datasets: [{{path: {data}, resolutions: [64], mask: {{source: alpha}}}}]
sample: {{every: 0, at_start: false, width: 64, height: 64, steps: 1, prompts: ["a [trigger] emoji of fox"]}}
advanced: {{differential_guidance: {{scale: 2.0}}}}
"""


def panels_below(root: type[BaseModel]) -> set[type[BaseModel]]:
    """A panel and all that it may hold, at any depth."""
    inner = {panel for field in root.model_fields.values() for panel in panels_in(field.annotation)}
    return {root}.union(*(panels_below(panel) for panel in inner))


def is_use(frame: FrameType | None) -> bool:
    """Whether a read in this frame is a use: what config/ does for itself (checks, advice, paths) is none.

    `variants` answers questions about a config, so there it matters who asks.
    """
    while frame is not None and frame.f_globals.get("__name__") == "slipstream.config.variants":
        frame = frame.f_back
    module = "" if frame is None else frame.f_globals.get("__name__", "")
    return module.startswith("slipstream.") and not module.startswith("slipstream.config.")


@contextmanager
def recorded() -> Iterator[Reads]:
    """What is read from any panel by the product's own modules while the block runs."""
    reads: Reads = set()

    def read(self: BaseModel, name: str) -> Any:
        if is_use(sys._getframe(1)):
            reads.add((type(self), name))
        return object.__getattribute__(self, name)

    with pytest.MonkeyPatch.context() as patch:
        for panel in panels_below(RunConfig):
            patch.setattr(panel, "__getattribute__", read, raising=False)
        yield reads


def unread(reads: Reads) -> list[str]:
    """Settings by dotted path that some panel at their place offers and nobody read there."""
    missing = []
    for path in settings_of(RunConfig):
        *group, leaf = path.split(".")
        panels = panels_at(RunConfig, tuple(int(part) if part.isdigit() else part for part in group))
        missing += [
            f"{path} ({panel.__name__})"
            for panel in panels
            if leaf in panel.model_fields and (panel, leaf) not in reads and path not in READ_WHILE_LOADING
        ]
    return missing


@pytest.fixture
def write_config(tmp_path: Path):
    """A maker of config files, one for each variant of the tiny family, on two plain pictures."""
    data = tmp_path / "pictures"
    data.mkdir()
    for name, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        Image.new("RGBA", (80, 80), colour).save(data / f"{name}.png")

    def write(variant: str) -> Path:
        path = tmp_path / f"{variant}.yaml"
        model = "tiny/" + variant.replace("_", "-")
        path.write_text(
            CONFIG.format(
                output=tmp_path / "runs", variant=variant, model=model, data=data, preservation=PRESERVATION[variant]
            )
        )
        return path

    return write


def train_in_this_process(config: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """`slipstream train` with a worker that is no process of its own."""
    from slipstream import worker
    from slipstream.cli import training as door

    class Here:
        def __init__(self, run: Any) -> None:
            self.run = run

        def wait(self, seconds: float) -> int:
            return worker.work(self.run)

    monkeypatch.setattr(door, "start_worker", Here)
    return door.train_command(config, [], fresh=False)


def test_a_training_reads_every_setting(write_config, tmp_path, monkeypatch):
    from slipstream.training.objective_settings import objective_settings
    from slipstream.training.setting import settle

    with recorded() as reads:
        assert train_in_this_process(write_config("turbo"), monkeypatch) == 0
        for variant in ("de_turbo", "base"):
            config = load_config(write_config(variant))
            settle(config).describe()
            objective_settings(config)
    assert (tmp_path / "runs/all_read/all_read.safetensors").is_file()
    assert unread(reads) == []


def test_writing_checking_and_advising_is_not_reading(write_config):
    """So the test above cannot be satisfied by what every config goes through anyway."""
    with recorded() as reads:
        config = load_config(write_config("turbo"))
        dump_yaml(config)
        config.model_dump()
        advise(config, 2)
    assert reads == set()
    assert {line.split(" ")[0] for line in unread(reads)} == set(settings_of(RunConfig)) - READ_WHILE_LOADING


def dataclass_fields(module: str) -> set[str]:
    """`Class.field` of every dataclass in a module of the product."""
    tree = ast.parse((SOURCE / module).read_text(encoding="utf-8"))
    return {
        f"{node.name}.{line.target.id}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(d) for d in node.decorator_list)
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }


def test_plain_values_that_settings_become_are_read_too():
    """A setting that reaches a dataclass and ends there would be as dead as one that nobody reads."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")]
    used = {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    declared = set().union(*map(dataclass_fields, CARRIERS))
    assert {
        "ObjectiveSettings.huber_delta",
        "NoiseLevels.logit_mean",
        "DatasetSettings.caption_dropout",
        "Picture.negative_prompt",
    } <= declared
    assert sorted(name for name in declared if name.split(".")[1] not in used) == []
