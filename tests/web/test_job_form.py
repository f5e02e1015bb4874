"""The form of a new job without its looks: it is the schema, and its YAML says what was entered."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from slipstream.config.fields import optional_groups_of, settings_of
from slipstream.config.presets import PRESETS, preset_text
from slipstream.config.run_config import RunConfig, dump_yaml, parse_config
from slipstream.core.errors import ConfigError, SlipstreamError
from slipstream.web.services.configs import read_config, read_values
from slipstream.web.services.drafts import list_drafts, read_kept, remove_draft, save_draft
from slipstream.web.services.form.checking import check_draft
from slipstream.web.services.form.draft import changed, draft_of, left_out, long_rows, moved, read_draft
from slipstream.web.services.form.entering import entered, shown
from slipstream.web.services.form.layout import SUGGESTED, is_common, suggestions
from slipstream.web.services.form.schema import Group, Node, Rows, Setting, form, settings_in
from slipstream.web.services.form.starting import (
    as_copy,
    free_name,
    from_preset,
    preset_choices,
    shortened,
    with_variant,
)
from slipstream.web.services.form.values import MISSING, at, given

SETTINGS = {setting.path: setting for panel in form() for setting in settings_in(panel)}


def groups_in(node: Node) -> list[Group | Rows]:
    if isinstance(node, Setting):
        return []
    inner = node.nodes if isinstance(node, Rows) else [one for nodes in node.forms.values() for one in nodes]
    return [node, *(found for one in inner for found in groups_in(one))]


def test_the_panels_are_the_guides_in_its_order():
    assert [panel.path for panel in form()] == [
        "job", "model", "quantization", "target", "save", "training", "datasets", "sample", "advanced"
    ]  # fmt: skip


def test_every_setting_of_every_panel_is_in_the_form_once():
    listed = [setting.path for panel in form() for setting in settings_in(panel)]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(settings_of(RunConfig))
    optional = {
        node.path for panel in form() for node in groups_in(panel) if isinstance(node, Group) and node.may_be_off
    }
    assert optional == set(optional_groups_of(RunConfig))
    assert all(setting.help for setting in SETTINGS.values())


def test_a_group_that_is_one_of_several_panels_has_a_form_for_each():
    found = {node.path: node for panel in form() for node in groups_in(panel) if isinstance(node, Group) and node.tag}
    assert {path: (node.tag, list(node.forms)) for path, node in found.items()} == {
        "model": ("variant", ["turbo", "de_turbo", "base"]),
        "training.preservation": ("kind", ["class_word", "blank_prompt"]),
    }
    names = {tag: [node.name for node in nodes] for tag, nodes in found["model"].forms.items()}
    assert "training_adapter" in names["turbo"]
    assert "training_adapter" not in names["de_turbo"] + names["base"]


@pytest.mark.parametrize(
    ("path", "kind", "default"),
    [
        ("training.steps", "whole", 2500), ("training.learning_rate", "number", 1e-4),
        ("target.alpha", "number", None), ("save.dtype", "choice", "bf16"), ("sample.at_start", "switch", True),
        ("datasets.0.resolutions", "list", [512, 768, 1024]), ("training.optimizer_args", "table", {}),
        ("quantization.layer_offloading", "free", "auto"), ("advanced.vram_limit", "number", None),
        ("datasets.0.path", "path", None), ("job.name", "text", None),
    ],
)  # fmt: skip
def test_a_setting_is_entered_as_its_type_asks(path, kind, default):
    assert (SETTINGS[path].kind, SETTINGS[path].default) == (kind, default)


def test_what_is_shown_at_once_and_what_is_suggested_exists():
    assert all(suggestions(path) for path in SUGGESTED)
    assert set(SUGGESTED) <= set(SETTINGS)
    common = [path for path, setting in SETTINGS.items() if is_common(setting)]
    assert {"training.steps", "target.rank", "job.name", "datasets.0.path"} <= set(common)
    assert len(common) < len(SETTINGS) / 2


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_through_the_form_is_the_preset(name):
    """Every value is entered as text, one after the other, into an empty config; YAML and back give the same."""
    values = long_rows(read_values(preset_text(name)))
    draft = read_draft("")
    for path in given(values):
        pattern = ".".join("0" if isinstance(part, int) else part for part in path)
        setting, dotted = SETTINGS[pattern], ".".join(map(str, path))
        value = at(values, path)
        kept = value if setting.kind == "switch" else entered(setting, shown(setting, value))
        assert kept == value, dotted
        draft = changed(draft, dotted, kept)
    again = read_draft(draft.text)
    assert again.values == draft.values
    base = Path("/base")
    whole = parse_config(read_values(preset_text(name)), base_dir=base)
    assert parse_config(again.values, base_dir=base) == whole
    assert read_config(draft_of(read_values(dump_yaml(whole))).text, base) == whole
    short = shortened(read_draft(dump_yaml(whole)))
    assert read_config(short.text, base) == whole
    assert len(short.text) < len(dump_yaml(whole)) / 2


@pytest.mark.parametrize("name", PRESETS[::3])
def test_edits_change_one_value_and_keep_comments_and_order(name):
    draw = random.Random(name)
    draft = read_draft(preset_text(name))
    comments = draft.text.count("#")
    values = [7, "a: b # c", True, [1, 2], ["a b", "it's"], {}, {"k": 1.5}, "", "{", "- x", "1e-4", None, "a\nb\n"]
    for _ in range(30):
        path = draw.choice(list(SETTINGS)).replace(".0.", f".{draw.choice([0, 0, 1])}.")
        draft = changed(draft, path, draw.choice(values)) if draw.random() < 0.7 else left_out(draft, path)
        assert read_values(draft.text) == draft.values, path
        assert not draft.comments_lost
    assert draft.text.count("#") > comments / 2


def test_an_edit_leaves_every_other_line_alone():
    text = preset_text("turbo_style")
    after = changed(read_draft(text), "training.steps", 1800).text
    assert after == text.replace("steps: 3000 ", "steps: 1800 ")
    assert left_out(read_draft(after), "training.steps").given("training.steps") is MISSING
    assert changed(left_out(read_draft(text), "target.rank"), "target.rank", 8).given("target") == {"rank": 8}


def test_prompts_are_short_until_they_have_settings_of_their_own():
    draft = read_draft("sample:\n  prompts:\n    - a fox  # hi\n    - a dog\n")
    longer = changed(draft, "sample.prompts.1.width", 512)
    assert longer.values["sample"]["prompts"] == ["a fox", {"prompt": "a dog", "width": 512}]
    assert left_out(longer, "sample.prompts.1.width").values == draft.values
    assert changed(draft, "sample.prompts.0.prompt", "a cat").text.splitlines()[2] == "    - a cat  # hi"
    assert moved(draft, "sample.prompts", 0, 1).values["sample"]["prompts"] == ["a dog", "a fox"]
    assert left_out(draft, "sample.prompts.0").values["sample"]["prompts"] == ["a dog"]


def test_a_group_that_is_on_by_being_there_stays_on_without_settings():
    draft = changed(read_draft("training: {steps: 5}\n"), "training.ema", {})
    with_decay = changed(draft, "training.ema.decay", 0.9)
    assert left_out(with_decay, "training.ema.decay").given("training.ema") == {}
    assert left_out(draft, "training.ema").values == {"training": {"steps": 5}}


@pytest.mark.parametrize("text", ["job: [", "job: {name: a}\njob: {name: b}", "just words", "a: &x 1\nb: *x"])
def test_yaml_that_cannot_be_read_is_kept_and_not_changed(text):
    draft = read_draft(text)
    assert draft.text == text
    assert draft.unreadable is not None
    with pytest.raises(ConfigError, match="cannot be read"):
        changed(draft, "training.steps", 5)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("training.learning_rate", "1e-4", 1e-4), ("training.learning_rate", "0,0002", 0.0002),
        ("training.steps", "many", "many"), ("training.steps", "", MISSING), ("training.steps", "2.5", 2.5),
        ("quantization.layer_offloading", "50", 50), ("quantization.layer_offloading", "auto", "auto"),
        ("datasets.0.resolutions", "512, 768", [512, 768]), ("sample.lora_scales", "", []),
        ("training.optimizer_args", "d_coef: 2.0", {"d_coef": 2.0}), ("target.alpha", "", MISSING),
    ],
)  # fmt: skip
def test_what_is_entered_is_what_it_means(path, text, value):
    found = entered(SETTINGS[path], text)
    assert found is value if value is MISSING else found == value


def test_the_switch_of_bases_follows_the_table_of_variants():
    turbo = from_preset("turbo_style")
    de_turbo = with_variant(turbo, "de_turbo")
    assert de_turbo.given("model") == {"variant": "de_turbo", "name_or_path": "ostris/Z-Image-De-Turbo"}
    assert (de_turbo.given("sample.steps"), de_turbo.given("sample.guidance_scale")) == (25, 2.5)
    assert "what Turbo will be used with" not in de_turbo.text
    assert "2500-3000 for 10-30 pictures" in de_turbo.text
    back = with_variant(de_turbo, "turbo")
    assert (back.given("sample.steps"), back.given("sample.guidance_scale")) == (8, 0)
    tiny = with_variant(from_preset("tiny_demo"), "base")
    assert tiny.given("model.name_or_path") == "tiny/base"
    assert tiny.given("sample.steps") is MISSING


def test_a_preset_keeps_what_a_person_chose_and_takes_a_free_name():
    mine = changed(changed(from_preset("turbo_style"), "datasets.0.path", "/p"), "job.trigger_word", "zfoxy")
    other = from_preset("vram_8gb", keep=mine, taken=["my_lora"])
    assert (other.given("datasets.0.path"), other.given("job.trigger_word")) == ("/p", "zfoxy")
    assert other.given("job.name") == "my_lora_2"
    named = from_preset("vram_8gb", keep=changed(mine, "job.name", "anna"))
    assert named.given("job.name") == "anna"
    assert free_name("anna_2", ["anna_2", "anna"]) == "anna_3"
    assert all(choice.title for choice in preset_choices())
    assert as_copy("job: {name: a, output_dir: /x}\n", ["a"]).values == {"job": {"name": "a_2"}}


def test_a_draft_is_checked_with_what_it_names_on_this_machine(settings):
    draft = from_preset("tiny_demo")
    assert [problem.path for problem in check_draft(settings, draft).problems] == ["datasets.0.path"]
    (settings.datasets_dir / "foxes").mkdir()
    draft = changed(draft, "datasets.0.path", "foxes")
    assert "no pictures" in check_draft(settings, draft).problems[0].message
    (settings.datasets_dir / "foxes/a.png").touch()
    assert check_draft(settings, draft).valid
    taken = settings.runs_dir / "tiny_demo/checkpoints"
    taken.mkdir(parents=True)
    (taken / "state_000000001.pt").touch()
    (taken.parent / "config.yaml").touch()
    assert [problem.path for problem in check_draft(settings, draft).problems] == ["job.name"]


def test_drafts_are_kept_as_they_are_and_stay_in_their_folder(settings):
    save_draft(settings.home, "foxes", "job: [")
    save_draft(settings.home, "foxes", "job: [ # not done")
    assert [one.name for one in list_drafts(settings.home)] == ["foxes"]
    assert read_kept(settings.home, "foxes") == "job: [ # not done"
    for name in ("../foxes", "", "a/b", "x" * 300):
        with pytest.raises(SlipstreamError):
            save_draft(settings.home, name, "")
    remove_draft(settings.home, "foxes")
    assert list_drafts(settings.home) == []


def test_what_says_nothing_is_left_out_and_what_is_unknown_is_kept():
    values = {
        "job": {"name": "a", "seed": 42}, "model": {"variant": "base", "name_or_path": "tiny/base"},
        "training": {"ema": {"decay": 0.99}, "validation": None, "stepps": 5}, "save": {"every": 250}, "own": 1,
    }  # fmt: skip
    assert shortened(draft_of(values)).values == {
        "job": {"name": "a"}, "model": {"variant": "base", "name_or_path": "tiny/base"},
        "training": {"ema": {}, "stepps": 5}, "own": 1,
    }  # fmt: skip
