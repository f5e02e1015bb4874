"""`slipstream preserve`: a LoRA written anew that does less on unrelated prompts."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from typer.testing import CliRunner

from slipstream.adapters.files import load_lora, save_lora
from slipstream.adapters.inject import inject_fresh, inject_lora, select_targets
from slipstream.adapters.kinds import Recipe
from slipstream.cli.app import app
from slipstream.core.errors import AdapterError, ConfigError
from slipstream.evaluation.unrelated import prompts_to_hold, unrelated_prompts
from slipstream.training import preserve as bench
from slipstream.workflows.preserve import PreserveRequest, preserve


@pytest.fixture
def lora(tmp_path, fresh_transformer):
    """A LoRA of noise on two linears of every block."""
    names = select_targets(fresh_transformer, "layers", ("to_q", "w2"))
    branches = inject_lora(fresh_transformer, names, rank=2, alpha=2.0, seed=1)
    for branch in branches.branches.values():
        torch.nn.init.normal_(branch.b, std=0.1)
    path = tmp_path / "noise.safetensors"
    save_lora(path, branches, torch.bfloat16, {"base_model": "tiny/turbo", "steps": "7"})
    return path


@pytest.fixture
def prompts(tmp_path):
    """Files with prompts of the concept and unrelated ones."""
    asked, others = tmp_path / "asked.txt", tmp_path / "others.txt"
    asked.write_text("a felt emoji of robot\nrobot, felt style\n")
    others.write_text("a noto emoji of anchor\n")
    return asked, others


def test_a_preserved_lora_is_a_file_of_its_own_that_does_less_on_unrelated_prompts(lora, prompts, monkeypatch):
    monkeypatch.setattr(bench, "_MOST_BYTES", 2**23)  # several groups
    asked, others = map(str, prompts)
    before = lora.read_bytes()
    done = CliRunner().invoke(
        app, ["preserve", str(lora), "--prompts-file", asked, "--unrelated-file", others, "--amount", "3", "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    out = lora.with_name("noise_preserved.safetensors")
    assert told["path"] == str(out)
    assert told["modules"] == 10
    assert 0 < told["unrelated_kept"] < told["concept_kept"] < 1
    assert lora.read_bytes() == before
    old, new = load_file(lora), load_file(out)
    assert {key: (t.shape, t.dtype) for key, t in old.items()} == {key: (t.shape, t.dtype) for key, t in new.items()}
    assert all(torch.equal(new[key], tensor) for key, tensor in old.items() if "lora_B" in key)
    with safe_open(out, "pt") as handle:
        assert handle.metadata() | {"turbo_preserved": "amount 3, weight 1", "steps": "7"} == handle.metadata()


def test_amount_0_leaves_the_lora_and_a_weight_scales_it(lora, tmp_path):
    request = PreserveRequest(
        lora, tmp_path / "out.safetensors", ("a felt emoji of robot",), ("a noto emoji of anchor",), None, 0.0, 2.0,
        "cpu",
    )  # fmt: skip
    done = preserve(request, lambda line: None, lambda *told: None)
    assert done.unrelated_kept == pytest.approx(2.0, rel=1e-3)
    old, new = load_lora(lora).pairs, load_lora(done.path).pairs
    for name, (a, _) in old.items():
        torch.testing.assert_close(new[name][0].float(), 2 * a.float(), rtol=0.02, atol=1e-3)


def test_what_cannot_be_done_is_said(lora, tmp_path, fresh_transformer):
    def refused(error, match, **changes):
        request = PreserveRequest(**{"target": lora, "concept": ("a",), "unrelated": ("b",), "device": "cpu"} | changes)
        with pytest.raises(error, match=match):
            preserve(request, lambda line: None, lambda *told: None)

    refused(ConfigError, "does not say what asks", concept=())
    refused(ConfigError, "there is no LoRA", target=tmp_path / "nothing.safetensors")
    refused(ConfigError, "is the LoRA itself", out=lora)
    names = select_targets(fresh_transformer, "layers", ("to_k",))
    other = inject_fresh(fresh_transformer, names, Recipe("loha", 2, 2.0), seed=1, role="other")
    save_lora(tmp_path / "loha.safetensors", other, torch.bfloat16, {"base_model": "tiny/turbo"})
    refused(AdapterError, "no plain LoRA", target=tmp_path / "loha.safetensors")


@pytest.mark.parametrize("is_tiny", [True, False])
def test_held_prompts_are_others_than_those_that_drift_is_measured_on(is_tiny):
    held, measured = prompts_to_hold(is_tiny=is_tiny), unrelated_prompts(is_tiny=is_tiny).prompts
    assert len(set(held)) == len(held) >= 24
    assert not set(held) & set(measured)
    assert prompts_to_hold(is_tiny=is_tiny, own=("mine",)) == ("mine",)
