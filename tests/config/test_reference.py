from __future__ import annotations

from pathlib import Path

import pytest

from slipstream.config.fields import settings_of, split_help
from slipstream.config.reference import explanations, find_setting, markdown, shown
from slipstream.config.run_config import RunConfig
from slipstream.core.errors import ConfigError


def test_every_setting_is_explained():
    known = explanations()
    assert set(known) == set(settings_of(RunConfig))
    assert [path for path, one in known.items() if not one.help or not one.accepts] == []


def test_labelled_paragraphs_are_taken_apart():
    text = "Help over\ntwo lines.\n\nFormula: a * b\n+ c\nCareful: it bites: really."
    assert split_help(text) == ("Help over two lines.", {"Formula": "a * b + c", "Careful": "it bites: really."})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("training.steps", ["training.steps"]),
        ("steps", ["training.steps", "sample.prompts.0.steps", "sample.steps"]),
        ("datasets.path", ["datasets.0.path"]),
        ("training.ema.decay", ["training.ema.decay"]),
        ("sample.prompts.width", ["sample.prompts.0.width"]),
        ("Linear Rank", ["target.rank"]),
        ("GPU ID", ["job.device"]),
        ("Training Name", ["job.name"]),
        ("Model Architecture", ["model.variant"]),
        ("Do Differential Guidance", ["advanced.differential_guidance", "advanced.differential_guidance.scale"]),
    ],
)
def test_a_setting_is_found_by_path_and_by_name(name, expected):
    assert [one.path for one in find_setting(name)] == expected


def test_a_panel_means_all_its_settings():
    for name in ("save", "SAVE"):
        assert {one.path.partition(".")[0] for one in find_setting(name)} == {"save"}


def test_names_of_other_trainers_and_misspelt_ones_are_answered():
    assert [one.path for one in find_setting("content_or_style")] == ["training.timestep_bias"]
    assert find_setting("dop") == find_setting("training.preservation")
    with pytest.raises(ConfigError, match="no setting") as done_otherwise:
        find_setting("low_vram")
    assert "quantization" in str(done_otherwise.value)
    assert "remove this line" not in str(done_otherwise.value)
    with pytest.raises(ConfigError) as misspelt:
        find_setting("training.learnin_rate")
    assert "training.learning_rate" in str(misspelt.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("training.learning_rate", ("a number", "above 0", "to 1")),
        ("sample.width", ("multiple of 16", "from 64")),
        ("training.loss_type", ("`mse`", "`mae`", "`huber`")),
        ("sample.steps", ("whole number", "nothing", "to 200")),
        ("datasets.0.resolutions", ("a list of", "whole number")),
    ],
)
def test_limits_and_choices_come_from_the_schema(path, words):
    assert all(word in explanations()[path].accepts for word in words)


def test_the_reference_has_every_setting_once():
    text = markdown()
    assert [text.count(f"### `{shown(path)}`\n") for path in explanations()] == [1] * len(explanations())


def test_every_setting_says_when_to_change_it_or_what_to_mind():
    known = explanations()
    bare = [path for path, one in known.items() if not {"Change it when", "Careful"} & one.details.keys()]
    assert bare == []


def test_a_group_is_explained_before_its_settings():
    found = find_setting("advanced.differential_guidance")
    assert [one.path for one in found] == ["advanced.differential_guidance", "advanced.differential_guidance.scale"]
    assert "max_grad_norm" in found[0].details["Careful"]


def test_the_reference_in_the_docs_is_the_schema_s():
    text = (Path(__file__).parents[2] / "docs/settings.md").read_text(encoding="utf-8")
    assert text == markdown(), "run: slipstream explain --markdown > docs/settings.md"
