"""TARGET: block ranges, parts, patterns, and shares."""

from __future__ import annotations

import pytest

from slipstream.config.run_config import dump_yaml, parse_config
from slipstream.config.target import TargetPanel, block_numbers
from slipstream.core.errors import ConfigError


def target(**settings) -> TargetPanel:
    return parse_config({"job": {"name": "a"}, "datasets": [{"path": "p"}], "target": settings}).target


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("all", None), ("ALL", None), ("0", {0}), ("0-2", {0, 1, 2}), ("0-1,5, 7 - 8", {0, 1, 5, 7, 8}), ("3,3", {3}),
    ],
)  # fmt: skip
def test_ranges_of_blocks(text, numbers):
    assert block_numbers(text) == (None if numbers is None else frozenset(numbers))
    assert target(blocks=text).blocks == text


def test_a_single_block_may_be_a_number():
    assert target(blocks=5).blocks == "5"


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"blocks": "9-0"}, ["target.blocks", "'9-0'", "lower block first: 0-9"]),
        ({"blocks": "first"}, ["target.blocks", "'first'", "0-9,20-29"]),
        ({"blocks": ""}, ["target.blocks", "expected `all`"]),
        ({"blocks": True}, ["target.blocks", "got true"]),
        ({"parts": []}, ["target.parts", "at least 1"]),
        ({"parts": ["layer"]}, ["target.parts.0", "'layer'", "'layers', 'noise_refiner' or 'context_refiner'"]),
        ({"parts": ["layers", "layers"]}, ["target.parts", "more than once"]),
        ({"exclude_modules": ["a", "a"]}, ["target.exclude_modules", "more than once"]),
        ({"dropout": 1.0}, ["target.dropout", "below 1"]),
        ({"rank_dropout": -0.1}, ["target.rank_dropout", "at least 0"]),
        ({"module_dropout": "some"}, ["target.module_dropout", "a number"]),
        ({"type": "locon"}, ["target.type", "'locon'", "'lora', 'lokr', 'loha', 'dora' or 'oft'"]),
        ({"type": "oft", "rank": 1}, ["target.rank", "at least 2 with type oft"]),
        ({"lokr_factor": 8}, ["target.lokr_factor", "got 8", "target.type lora does not use it (only lokr)"]),
        ({"type": "lokr", "lokr_factor": 1}, ["target.lokr_factor", "at least 2"]),
        ({"type": "loha", "lokr_full_rank": True}, ["target.lokr_full_rank", "only lokr"]),
        ({"type": "oft", "dropout": 0.1}, ["target.dropout", "target.type oft does not use it"]),
        ({"type": "lokr", "rank_dropout": 0.1}, ["target.rank_dropout", "only lora, dora"]),
        ({"init": "gaussian"}, ["target.init", "'gaussian'", "'default', 'orthogonal' or 'pissa'"]),
        ({"type": "dora", "init": "pissa"}, ["target.init", "got pissa", "only lora"]),
        ({"type": "lokr", "init": "orthogonal"}, ["target.init", "only lora, dora"]),
        ({"init": "pissa", "start_from": "a.safetensors"}, ["target.start_from", "target.init is pissa"]),
        ({"start_from": ""}, ["target.start_from", "some text"]),
        ({"lora_plus_ratio": 0.5}, ["target.lora_plus_ratio", "at least 1"]),
        ({"type": "loha", "lora_plus_ratio": 4.0}, ["target.lora_plus_ratio", "only lora, dora"]),
        ({"network_dropout": 0.1}, ["here it is called target.dropout"]),
    ],
)
def test_nonsense_is_refused(settings, parts):
    with pytest.raises(ConfigError) as caught:
        target(**settings)
    text = str(caught.value)
    assert not [part for part in parts if part not in text], text


def test_it_survives_yaml():
    config = parse_config(
        {"job": {"name": "a"}, "datasets": [{"path": "p"}], "target": {"blocks": "0-3", "parts": ["noise_refiner"]}}
    )
    assert "blocks: 0-3" in dump_yaml(config)


def test_settings_of_other_kinds_may_be_off():
    assert target(type="loha", lokr_factor=None, lokr_full_rank=False, rank_dropout=0.0).type == "loha"
    assert target(type="lokr", lokr_factor=8, lokr_full_rank=True, module_dropout=0.1).lokr_factor == 8
