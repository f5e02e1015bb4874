"""The datasets panels as the data room gets them: each setting arrives, and nothing else changes with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from slipstream.config.run_config import parse_config
from slipstream.core.errors import ModelError
from slipstream.training.setting import dataset_settings, settle_start
from slipstream.training.shareable import shareable


def test_the_path_of_a_missing_lora_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"there is no LoRA at 'runs/a/a\.safetensors'"):
        settle_start("runs/a/a.safetensors")


def plain_values(panel=None, **others):
    config = parse_config(
        {
            "job": {"name": "a", "trigger_word": "zfox", "seed": 5},
            "datasets": [{"path": "p", **(panel or {})}],
            **others,
        }
    )
    (settings,) = dataset_settings(config)
    values = asdict(settings)
    rule = values.pop("caption_rule")
    return {**values, **{f"rule.{name}": value for name, value in rule.items()}}


@pytest.mark.parametrize(
    ("panel", "expected"),
    [
        ({"captions_file": "captions.json"}, {"captions_file": Path("p/captions.json")}),
        ({"captions_file": "/x/captions.jsonl"}, {"captions_file": Path("/x/captions.jsonl")}),
        ({"caption_extension": "json"}, {"caption_extension": "json"}),
        ({"lora_weight": -1}, {"lora_weight": -1.0}),
        ({"loss_multiplier": 0.5}, {"loss_multiplier": 0.5}),
        ({"regularization": "prior"}, {"regularization": "prior"}),
        ({"trigger_word": " zbear "}, {"trigger_word": "zbear"}),
        ({"trigger_word": ""}, {"trigger_word": ""}),
        ({"caption_shuffle": True}, {"rule.shuffle": True}),
        ({"caption_shuffle": True, "keep_tokens": 2}, {"rule.shuffle": True, "rule.keep_tokens": 2}),
        ({"caption_token_dropout": 0.2}, {"rule.token_dropout": 0.2}),
        ({"caption_separator": ";"}, {"rule.separator": ";"}),
        ({"caption_variants": 3}, {"rule.versions": 3}),
        ({"random_triggers": ["a ", "b"]}, {"rule.random_triggers": ("a", "b")}),
    ],
)
def test_a_setting_of_a_set_arrives_alone(panel, expected):
    plain, changed = plain_values(), plain_values(panel)
    assert {name: value for name, value in changed.items() if value != plain[name]} == expected


def test_what_other_panels_say_arrives_too():
    plain = plain_values()
    assert (plain["path"], plain["trigger_word"], plain["rule.seed"]) == (Path("p"), "zfox", 5)
    assert plain_values(training={"text_encoder": "unload"}) == {**plain, "trigger_only": True}


def test_a_lora_does_not_tell_where_its_captions_lay():
    config = parse_config({"job": {"name": "a"}, "datasets": [{"path": "/x/y", "captions_file": "/home/me/c.json"}]})
    (panel,) = shareable(config).datasets
    assert (panel.path, panel.captions_file) == (Path("y"), Path("c.json"))
