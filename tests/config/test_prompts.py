"""Preview prompts: text, flags, groups and files mean the same picture, and nothing in them is ignored."""

from __future__ import annotations

import json

import pytest

from slipstream.config.prompts import FLAGS, parse_prompt, read_prompts, split_flags
from slipstream.config.run_config import dump_yaml, load_config, parse_config
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError

BASE = {"job": {"name": "a"}, "datasets": [{"path": "p"}]}
FLAGGED = "a fox --w 832 --h 1216 --d 7 --l 2.5 --s 20 --m 0.8 --n blurry, ugly hands"
GROUP = {
    "prompt": "a fox", "width": 832, "height": 1216, "seed": 7, "guidance_scale": 2.5, "steps": 20, "lora_scale": 0.8,
    "negative_prompt": "blurry, ugly hands",
}  # fmt: skip


def config(*prompts, overrides=(), **sample):
    return parse_config({**BASE, "sample": {"prompts": list(prompts), **sample}}, overrides)


def test_flags_and_a_group_are_the_same_prompt():
    assert split_flags(FLAGGED) == GROUP
    by_flags, by_group = config(FLAGGED, GROUP).sample.prompts
    assert by_flags == by_group


@pytest.mark.parametrize(("flag", "setting"), FLAGS.items())
def test_each_flag_sets_its_own_setting_alone(flag, setting):
    assert split_flags(f"a fox --{flag} 64") == {"prompt": "a fox", setting: "64" if flag == "n" else 64}


@pytest.mark.parametrize(
    ("text", "setting"),
    [("--width 64", "width"), ("--seed 64", "seed"), ("--cfg 64", "guidance_scale"), ("--steps 64", "steps"),
     ("--am 64", "lora_scale"), ("--network_multiplier 64", "lora_scale")],
)  # fmt: skip
def test_long_names_of_other_trainers_are_known(text, setting):
    assert split_flags(f"a {text}")[setting] == 64


def test_a_negative_prompt_goes_to_the_next_flag():
    assert split_flags("a --n bad, worse --d 3") == {"prompt": "a", "negative_prompt": "bad, worse", "seed": 3}


@pytest.mark.parametrize("text", ["a -- b", "a --- b", "well-made --5 x", "a semi--colon fox"])
def test_dashes_that_are_no_flag_stay_in_the_prompt(text):
    assert split_flags(text) == {"prompt": text}


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a --q 5", ["sample.prompts.1", "--q is not known", "--w (width)"]),
        ("a --w=512", ["--w=512 is not known"]),
        ("a --g 3", ["embedded guidance", "CFG is --l"]),
        ("a --fs 3", ["shift"]),
        ("a --w", ["sample.prompts.1", "--w ''", "a whole number"]),
        ("a --w big", ["--w 'big'", "a whole number"]),
        ("a --w 512 wide", ["--w '512 wide'"]),
        ("a --d 1.5", ["--d '1.5'", "a whole number"]),
        ("a --l x", ["--l 'x'", "a number"]),
        ("a --w 500", ["sample.prompts.1.width", "a multiple of 16"]),
        ("a --s 0", ["sample.prompts.1.steps", "at least 1"]),
        ("a --d -1", ["sample.prompts.1.seed", "at least 0"]),
        ("a --d 1 --seed 2", ["seed a second time"]),
        ({"prompt": "a --d 3", "seed": 4}, ["sample.prompts.1", "seed is given twice"]),
        ({"prompt": "a", "sead": 4}, ["sample.prompts.1.sead", "did you mean sample.prompts.1.seed"]),
        ({"seed": 4}, ["sample.prompts.1.prompt", "is missing"]),
        (5, ["sample.prompts.1", "got 5", "expected text"]),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(prompt, parts):
    with pytest.raises(ConfigError) as refused:
        config("fine", prompt)
    assert [part for part in parts if part not in str(refused.value)] == []


def test_written_configs_hold_text_where_text_says_all_and_read_back_equal():
    before = config("plain: text", FLAGGED, {"prompt": "x", "lora_scale": 0.0})
    written = read_yaml(dump_yaml(before), "written")["sample"]["prompts"]
    assert written == ["plain: text", GROUP, {"prompt": "x", "lora_scale": 0.0}]
    assert parse_config(read_yaml(dump_yaml(before), "written")) == before


def test_overrides_reach_into_prompts_whatever_their_form():
    overrides = ["0.seed=3", "1.width=64", "2=c --s 4", "2.height=64"]
    prompts = config(
        "a fox --d 1", {"prompt": "b"}, overrides=[f"sample.prompts.{override}" for override in overrides]
    ).sample.prompts
    assert [prompt.model_dump() for prompt in prompts] == [
        {"prompt": "a fox", "seed": 3},
        {"prompt": "b", "width": 64},
        {"prompt": "c", "height": 64, "steps": 4},
    ]
    with pytest.raises(ConfigError, match=r"--q is not known"):
        config("a --q 5", overrides=["sample.prompts.0.seed=3"])


TEXT_FILE = "# prompts of the style\n\n  a fox --d 3  \n#a cat\na dog, # not a comment\n"


def test_a_file_of_prompts_lies_in_the_config_when_it_is_loaded(tmp_path):
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "prompts.txt").write_text("\ufeff" + TEXT_FILE, encoding="utf-8")
    path = folder / "run.yaml"
    path.write_text("job: {name: a}\ndatasets: [{path: p}]\nsample: {prompts: [first], prompts_file: prompts.txt}\n")
    loaded = load_config(path, ["sample.prompts.1.width=64"])
    assert [prompt.model_dump() for prompt in loaded.sample.prompts] == [
        "first", {"prompt": "a fox", "width": 64, "seed": 3}, "a dog, # not a comment",
    ]  # fmt: skip
    assert loaded.sample.prompts_file is None
    (folder / "prompts.txt").unlink()
    path.write_text(dump_yaml(loaded))
    assert load_config(path) == loaded
    (folder / "others.txt").write_text("another")
    assert len(load_config(path, ["sample.prompts_file=others.txt"]).sample.prompts) == 4


def test_lists_in_json_and_yaml_mean_the_same(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(["a --d 3", {"prompt": "b", "seed": 4}]))
    (tmp_path / "p.yaml").write_text("- a --d 3\n- {prompt: b, seed: 4}\n")
    assert read_prompts(tmp_path / "p.json") == read_prompts(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("p.txt", "a\n\na --q 3\n", ["p.txt, line 3", "--q is not known"]),
        ("p.txt", "a --w 500\n", ["p.txt, line 1", "width: got 500", "multiple of 16"]),
        ("p.txt", "# nothing\n", ["no prompt in this file"]),
        ("p.json", "{", ["p.json", "not JSON"]),
        ("p.json", '{"prompt": "a"}', ["no list of prompts"]),
        ("p.yaml", "- {prompt: a, sede: 3}\n", ["p.yaml, prompt 1", "sede", "did you mean seed"]),
        ("p.yaml", "- {seed: 3}\n", ["p.yaml, prompt 1", "prompt is missing"]),
        ("p.txt", None, ["no such file of prompts"]),
    ],
)
def test_a_file_that_is_not_understood_is_one_message(tmp_path, name, text, parts):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_prompts(tmp_path / name)
    assert [part for part in parts if part not in str(refused.value)] == []


def test_prompts_of_the_command_line_are_parsed_alike():
    assert parse_prompt(FLAGGED, "prompt 1").model_dump() == GROUP
    with pytest.raises(ConfigError, match="prompt 2: --q"):
        parse_prompt("a --q 3", "prompt 2")


@pytest.mark.parametrize("scales", [[0.4, 0.4], [-0.1], [2.5], ["0.4"]])
def test_weights_of_the_sweep_are_numbers_each_once(scales):
    with pytest.raises(ConfigError, match=r"sample\.lora_scales"):
        config(lora_scales=scales)


def test_weights_of_the_sweep_rise():
    assert config(lora_scales=[1, 0.4]).sample.lora_scales == (0.4, 1.0)
