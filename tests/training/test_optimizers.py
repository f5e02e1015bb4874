"""Optimizers by name: all step on the CPU, take what they are told, and say what they cannot use."""

from __future__ import annotations

import math
import sys
from typing import get_args

import pytest
import torch
from torch import nn

from slipstream.adapters.branches import ParameterGroup
from slipstream.core.errors import ConfigError, DeviceError
from slipstream.training.optimizer_groups import module_factors
from slipstream.training.optimizer_rehearsal import rehearse
from slipstream.training.optimizer_state import averaged, is_averaging
from slipstream.training.optimizers import (
    OptimizerName,
    OptimizerSettings,
    build_optimizer,
    choose_optimizer,
    current_rate,
)

CPU = torch.device("cpu")
NAMES = get_args(OptimizerName)
RATES = {"prodigy": 1.0, "prodigy_schedulefree": 1.0, "muon": 0.05}


def build(name: str, parameters: list[nn.Parameter], **settings) -> torch.optim.Optimizer:
    settings.setdefault("learning_rate", RATES.get(name, 0.01))
    choice = choose_optimizer(OptimizerSettings(name, **settings))
    return build_optimizer(choice, [ParameterGroup("all", tuple(parameters), 1.0)], CPU)


@pytest.mark.parametrize("name", ["adamw", "adamw8bit"])
@pytest.mark.parametrize("size", [64, 8192], ids=["small", "large"])
def test_the_first_step_moves_by_the_learning_rate_against_the_gradient(name, size):
    """Adam's first step is lr * g / (|g| + eps), and AdamW first shrinks the weight by lr * weight_decay."""
    weight = nn.Parameter(torch.linspace(-1, 1, size))
    before = weight.detach().clone()
    gradient = torch.linspace(1, 2, size) * torch.where(torch.arange(size) % 2 == 0, 1.0, -1.0)
    optimizer = build(name, [weight], weight_decay=0.5)
    weight.grad = gradient
    optimizer.step()
    expected = before * (1 - 0.01 * 0.5) - 0.01 * gradient.sign()
    torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=2e-4 if name == "adamw8bit" else 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_finds_a_minimum(name):
    """A matrix and a vector, because some optimizers treat them apart."""
    generator = torch.Generator().manual_seed(0)
    targets = [torch.randn(64, 128, generator=generator) * 0.1, torch.randn(256, generator=generator) * 0.1]
    weights = [nn.Parameter(torch.zeros_like(target)) for target in targets]
    optimizer = build(name, weights)
    start = math.sqrt(sum(target.square().mean() for target in targets))

    def distance() -> float:
        with averaged(optimizer):
            pairs = zip(weights, targets, strict=True)
            return math.sqrt(sum((weight.detach() - target).square().mean() for weight, target in pairs))

    for _ in range(150):
        optimizer.zero_grad()
        sum((w - t).square().mean() for w, t in zip(weights, targets, strict=True)).backward()
        optimizer.step()
    assert distance() < 0.4 * start
    assert all(weight.dtype == torch.float32 for weight in weights)


def test_large_8bit_states_are_bytes_and_adamw_states_are_fp32():
    sizes = {}
    for name in ("adamw", "adamw8bit", "lion8bit"):
        weight = nn.Parameter(torch.zeros(8192))
        optimizer = build(name, [weight])
        weight.grad = torch.ones(8192)
        optimizer.step()
        states = [s for s in optimizer.state[weight].values() if isinstance(s, torch.Tensor) and s.numel() == 8192]
        sizes[name] = [s.element_size() for s in states]
    assert sizes == {"adamw": [4, 4], "adamw8bit": [1, 1], "lion8bit": [1]}


def test_left_out_values_are_the_optimizers_own_and_given_ones_take_their_place():
    weight = nn.Parameter(torch.zeros(4, 4))
    assert build("adamw", [weight]).param_groups[0]["betas"] == (0.9, 0.999)
    assert build("lion", [weight]).param_groups[0]["betas"] == (0.9, 0.99)
    assert build("came", [weight], beta2=0.99).param_groups[0]["betas"] == (0.9, 0.99, 0.9999)
    assert build("adafactor", [weight]).param_groups[0]["betas"] == (None, 0.999)
    assert build("adafactor", [weight], beta1=0.9).param_groups[0]["betas"] == (0.9, 0.999)
    group = build("adamw8bit", [weight], beta1=0.8, eps=1e-6, weight_decay=0.2).param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"], group["lr"]) == ((0.8, 0.999), 1e-6, 0.2, 0.01)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("lion", {"eps": 1e-6}, ["training.eps 1e-06 has no effect"]),
        ("lion8bit", {"eps": 1e-6}, ["training.eps 1e-06 has no effect"]),
        ("adafactor", {"eps": 1e-6}, ["training.eps", "eps1, eps2"]),
        ("muon", {"beta1": 0.8}, ["training.beta1 0.8 has no effect", "momentum"]),
        ("adafactor", {"arguments": {"relative_step": True}}, ["training.learning_rate and its schedule"]),
        ("pytorch_optimizer/SignSGD", {"beta2": 0.5}, ["training.beta2 0.5 has no effect"]),
        ("adamw", {"eps": 1e-6, "beta1": 0.8, "beta2": 0.9}, []),
    ],
)
def test_a_setting_without_an_effect_is_told(name, settings, words):
    notes = choose_optimizer(OptimizerSettings(name, 1e-4, **settings)).notes
    assert len(notes) == bool(words)
    assert all(word in notes[0] for word in words)


def test_the_choice_says_in_one_line_what_and_why():
    line = choose_optimizer(OptimizerSettings("prodigy", 1.0, arguments={"d_coef": 2.0})).line
    assert line.startswith("optimizer: prodigy (Prodigy of pytorch_optimizer: finds its own step size")
    assert "d_coef 2" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("settings", "message", "fix"),
    [
        (OptimizerSettings("lino", 1e-4), "unknown optimizer 'lino'", None),
        (OptimizerSettings("pytorch_optimizer/Adbelief", 1e-4), "has no optimizer 'Adbelief'", "AdaBelief"),
        (OptimizerSettings("adamw", 1e-4, arguments={"amsgard": True}), "no argument 'amsgard'", "amsgrad"),
        (OptimizerSettings("prodigy", 1.0, arguments={"foo": 1}), "no argument 'foo'", "d_coef"),
        (OptimizerSettings("adamw", 1e-4, eps=1e-6, arguments={"eps": 1e-8}), "eps stands in", "keep one"),
        (OptimizerSettings("came", 1e-4, beta1=0.5, arguments={"betas": [0.9, 0.9, 0.9]}), "betas stands in", None),
    ],
)
def test_what_is_wrong_is_refused_with_what_is_known(settings, message, fix):
    with pytest.raises(ConfigError, match=message) as caught:
        choose_optimizer(settings)
    assert fix is None or fix in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("pytorch_optimizer/LBFGS", {}, "cannot be made with these settings"),
        ("pytorch_optimizer/BSAM", {}, "num_data"),
        ("pytorch_optimizer/AdaHessian", {}, "cannot train a LoRA here"),
        ("adamw", {"betas": "high"}, "cannot train a LoRA here|cannot be made"),
        ("prodigy", {"d0": "small"}, "cannot train a LoRA here"),
    ],
)
def test_what_plain_updates_cannot_drive_is_refused_before_anything_loads(name, arguments, words):
    choice = choose_optimizer(OptimizerSettings(name, 1e-3, arguments=arguments))
    with pytest.raises(ConfigError, match=words):
        rehearse(choice, several_rates=False)


@pytest.mark.parametrize("name", [*NAMES, "pytorch_optimizer/AdEMAMix", "pytorch_optimizer/muon"])
def test_a_rehearsal_leaves_no_trace_and_several_rates_are_refused_where_they_have_no_effect(name, capfd):
    choice = choose_optimizer(OptimizerSettings(name, RATES.get(name, 1e-3)))
    before = torch.random.get_rng_state()
    assert rehearse(choice, several_rates=False) == []
    if name == "prodigy":
        with pytest.raises(ConfigError, match="one rate"):
            rehearse(choice, several_rates=True)
    else:
        assert rehearse(choice, several_rates=True) == []
    assert torch.equal(before, torch.random.get_rng_state())
    assert capfd.readouterr().out == ""


def test_missing_bitsandbytes_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(DeviceError, match="bitsandbytes") as caught:
        build("adamw8bit", [nn.Parameter(torch.zeros(2))])
    assert "adamw" in (caught.value.fix or "")


MODULES = ("layers.0.attention.to_q", "layers.0.feed_forward.w1", "layers.10.attention.to_q")


def test_factors_of_patterns_that_fit_multiply():
    factor = module_factors(MODULES, {"to_q": 0.5, "layers.0.*": 0.1})
    assert [factor(module) for module in MODULES] == [0.05, 0.1, 0.5]


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"'attention\.to_p' fits no module") as caught:
        module_factors(MODULES, {"attention.to_p": 0.5})
    assert "attention.to_q" in (caught.value.fix or "")


def test_every_group_has_its_rate_and_the_log_shows_the_base(small):
    choice = choose_optimizer(OptimizerSettings("adamw", 1e-3))
    groups = small().lora.parameter_groups(module_factors(["0", "2"], {"0": 0.1}), lora_plus_ratio=4.0)
    optimizer = build_optimizer(choice, groups, CPU)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-4, 4e-4, 1e-3, 4e-3])
    assert current_rate(optimizer) == pytest.approx(1e-3)


def test_the_rate_in_effect_holds_what_prodigy_found():
    weight = nn.Parameter(torch.ones(4, 4))
    optimizer = build("prodigy", [weight], learning_rate=1.0)
    assert current_rate(optimizer) == pytest.approx(1e-6)
    optimizer.param_groups[0]["d"] = 3e-4
    assert current_rate(optimizer) == pytest.approx(3e-4)


@pytest.mark.parametrize("name", NAMES)
def test_looking_at_averaged_weights_changes_no_bit_of_training(name):
    weight = nn.Parameter(torch.linspace(-1, 1, 64).reshape(8, 8))
    optimizer = build(name, [weight], learning_rate=RATES.get(name, 0.05))
    for step in range(5):
        weight.grad = torch.randn(8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.step()
    before = weight.detach().clone()
    with averaged(optimizer):
        used = weight.detach().clone()
    assert torch.equal(weight, before)
    assert torch.equal(used, before) is (not is_averaging(optimizer))
    assert is_averaging(optimizer) is ("schedulefree" in name)
    assert all(group.get("train_mode", True) for group in optimizer.param_groups)
