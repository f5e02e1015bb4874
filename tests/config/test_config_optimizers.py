"""The optimizer's settings as a config gives them: names, arguments, patterns, averages, and advice."""

from __future__ import annotations

import pytest

from slipstream.config.advice import advise
from slipstream.config.run_config import RunConfig, dump_yaml, parse_config
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError


def config(**training) -> RunConfig:
    return parse_config({"job": {"name": "a"}, "datasets": [{"path": "p"}], "training": training})


def told(**training) -> str:
    return "\n".join(line for line in advise(config(**training), None) if line.startswith("training."))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("AdamW8Bit", "adamw8bit"), ("adafactr", "adafactor"), ("adamvv", "adamw"), ("Adam", "adamw"),
        ("ProdigyPlusScheduleFree", "prodigy_schedulefree"), ("AdamWScheduleFree", "schedulefree_adamw"),
    ],
)  # fmt: skip
def test_a_misspelt_optimizer_is_refused_with_the_nearest(name, near):
    with pytest.raises(ConfigError, match=rf"training\.optimizer: got '{name}', .*did you mean '{near}'\?"):
        config(optimizer=name)


def test_any_name_of_the_library_is_left_to_training():
    assert config(optimizer="pytorch_optimizer/NoSuchThing").training.optimizer == "pytorch_optimizer/NoSuchThing"
    with pytest.raises(ConfigError, match="expected adamw"):
        config(optimizer="pytorch_optimizer/")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lr": 1e-3}, r"got 'lr', which is set by training\.learning_rate"),
        ({"weight_decay": 0.1}, r"set by training\.weight_decay"),
        ({"betas": {"a": 1}}, "expected a number, text, true, false"),
        ({"x": [[1, 2]]}, "expected a number, text, true, false"),
    ],
)
def test_arguments_are_plain_and_have_no_setting_of_their_own(arguments, words):
    with pytest.raises(ConfigError, match=words):
        config(optimizer_args=arguments)


def test_arguments_and_patterns_survive_the_yaml():
    before = config(
        optimizer="prodigy", learning_rate=1.0, optimizer_args={"d_coef": 2.0, "betas": [0.9, 0.99], "beta3": None},
        module_learning_rates={"to_q": 0.5}, ema={"warmup": 20}, max_loss=2.5,
    )  # fmt: skip
    assert parse_config(read_yaml(dump_yaml(before), "yaml")) == before


def test_one_argument_can_be_set_from_the_command_line():
    changed = parse_config(
        {"job": {"name": "a"}, "datasets": [{"path": "p"}]}, ["training.optimizer_args.relative_step=true"]
    )
    assert changed.training.optimizer_args == {"relative_step": True}


@pytest.mark.parametrize("rates", [{"": 0.5}, {"to_q": -1.0}, {"to_q": "fast"}])
def test_rates_by_module_are_refused_where_they_make_no_sense(rates):
    with pytest.raises(ConfigError, match=r"training\.module_learning_rates"):
        config(module_learning_rates=rates)


@pytest.mark.parametrize("warmup", [0, -3, 1.5, "yes", None])
def test_the_averages_warm_up_is_a_switch_or_a_length(warmup):
    with pytest.raises(ConfigError, match=r"training\.ema\.warmup: got .*, expected true, false, or a number of steps"):
        config(ema={"warmup": warmup})


def test_each_kind_of_optimizer_gets_its_advice():
    assert told() == ""
    assert "Use 1.0" in told(optimizer="prodigy")
    assert told(optimizer="prodigy", learning_rate=1.0) == ""
    assert "use 1e-5 to 3e-5" in told(optimizer="lion8bit")
    assert told(optimizer="lion", learning_rate=2e-5) == ""
    free = told(optimizer="schedulefree_adamw", lr_schedule="cosine", ema={})
    assert "Use constant" in free
    assert "Leave ema out" in free
    assert "Use 0." in told(optimizer="prodigy_schedulefree", learning_rate=1.0)
    assert "restarts confuse" in told(optimizer="prodigy", learning_rate=1.0, lr_schedule="cosine_restarts")
    assert "Use 0.0003" in told(optimizer="muon")
    assert told(optimizer="muon", learning_rate=3e-4) == ""
    assert "warmup_steps of 50" in told(optimizer="came")
    assert told(optimizer="came", learning_rate=2e-5, warmup_steps=50) == ""
    assert "Use 1.0" in told(optimizer="pytorch_optimizer/DAdaptAdam")
