"""LoRA branches: what they compute, what they leave alone, and what the files hold."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from slipstream.adapters.files import load_lora, save_lora
from slipstream.adapters.inject import inject_lora, inject_weights, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter
from slipstream.core.errors import AdapterError


def small_model() -> nn.Module:
    torch.manual_seed(0)
    block = lambda: nn.ModuleDict({"to_q": nn.Linear(6, 8, bias=False), "to_out": nn.ModuleList([nn.Linear(8, 6)])})  # noqa: E731
    return nn.ModuleDict({"layers": nn.ModuleList([block(), block()]), "other": nn.Linear(6, 6)})


def run(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    for block in model["layers"]:
        x = block["to_out"][0](block["to_q"](x))
    return x


def moved(branches) -> None:
    for index, (_, parameter) in enumerate(branches.named_parameters()):
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(index))


TARGETS = ("to_q", "to_out.0")


def test_a_fresh_lora_changes_nothing_and_a_moved_one_equals_the_formula():
    model, x = small_model(), torch.randn(5, 6)
    before = run(model, x)
    lora = inject_lora(model, select_targets(model, "layers", TARGETS), rank=3, alpha=6.0, seed=1)
    assert torch.equal(run(model, x), before)
    moved(lora)
    layer = model["layers"][0]["to_q"]
    branch = lora.branches["layers.0.to_q"]
    expected = layer.base(x) + 6.0 / 3 * x @ branch.a.T @ branch.b.T
    torch.testing.assert_close(layer(x), expected)
    with lora.disabled():
        assert torch.equal(run(model, x), before)


def test_targets_are_below_the_root_only_and_a_wrong_name_is_explained():
    model = small_model()
    names = select_targets(model, "layers", ("to_q",))
    assert names == ["layers.0.to_q", "layers.1.to_q"]
    with pytest.raises(AdapterError, match="to_q"):
        select_targets(model, "layers", ("to_qq",))


def test_a_file_round_trips_and_carries_alpha_in_b(tmp_path):
    model, x = small_model(), torch.randn(5, 6)
    lora = inject_lora(model, select_targets(model, "layers", TARGETS), rank=3, alpha=12.0, seed=1)
    moved(lora)
    expected = run(model, x)
    path = tmp_path / "lora.safetensors"
    save_lora(path, lora, torch.float32, {"rank": "3"})
    loaded = load_lora(path)
    assert loaded.metadata["rank"] == "3"
    other = small_model()
    _, line = inject_weights(other, loaded.pairs, role="lora", source="test")
    assert line == "4 of 4 modules matched"
    torch.testing.assert_close(run(other, x), expected)


def test_rounded_to_shows_what_the_file_holds(tmp_path):
    model, x = small_model(), torch.randn(5, 6)
    lora = inject_lora(model, select_targets(model, "layers", TARGETS), rank=4, alpha=2.0, seed=1)
    moved(lora)
    exact = run(model, x)
    save_lora(tmp_path / "l.safetensors", lora, torch.bfloat16, {})
    with lora.rounded_to(torch.bfloat16):
        rounded = run(model, x)
    other = small_model()
    inject_weights(other, load_lora(tmp_path / "l.safetensors").pairs, role="lora", source="", dtype=torch.float32)
    torch.testing.assert_close(run(other, x), rounded)
    assert not torch.equal(exact, rounded)
    assert torch.equal(run(model, x), exact)


def test_a_wrong_training_adapter_is_refused_and_nothing_is_attached(tmp_path):
    model, x = small_model(), torch.randn(5, 6)
    before = run(model, x)
    path = tmp_path / "adapter.safetensors"
    tensors = {
        "diffusion_model.layers.0.to_q.lora_A.weight": torch.randn(2, 6),
        "diffusion_model.layers.0.to_q.lora_B.weight": torch.randn(8, 2),
        "diffusion_model.layers.7.to_q.lora_A.weight": torch.randn(2, 6),
        "diffusion_model.layers.7.to_q.lora_B.weight": torch.randn(8, 2),
    }
    save_file(tensors, path)
    with pytest.raises(AdapterError, match="1 of 2 modules matched"):
        attach_training_adapter(model, path)
    assert torch.equal(run(model, x), before)


def test_a_training_adapter_is_active_then_removed_bit_for_bit(tmp_path):
    model, x = small_model(), torch.randn(5, 6)
    before = run(model, x)
    path = tmp_path / "adapter.safetensors"
    save_file(
        {
            "diffusion_model.layers.1.to_q.lora_A.weight": torch.randn(2, 6),
            "diffusion_model.layers.1.to_q.lora_B.weight": torch.randn(8, 2),
        },
        path,
    )
    adapter = attach_training_adapter(model, path)
    assert (adapter.state, adapter.matched) == ("active", "1 of 1 modules matched")
    active = run(model, x)
    assert not torch.equal(active, before)
    with adapter.removed():
        assert adapter.state == "removed"
        assert torch.equal(run(model, x), before)
    assert torch.equal(run(model, x), active)


@pytest.mark.parametrize("content", [b"not a safetensors file", b""])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(AdapterError, match=r"broken\.safetensors"):
        load_lora(path)
