"""The packaged training adapters on tiny/turbo: matched completely, removed bit for bit, never in a saved LoRA."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from slipstream.adapters.branches import AdaptedLinear
from slipstream.adapters.files import load_lora, save_lora
from slipstream.adapters.inject import inject_lora, inject_weights, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter, no_training_adapter
from slipstream.core.errors import AdapterError
from slipstream.core.hashing import hash_file
from slipstream.models.z_image.family import predictor
from slipstream.models.z_image.resolve import TINY_ROOT

ADAPTERS = {version: TINY_ROOT / "adapters" / f"training_adapter_{version}.safetensors" for version in ("v1", "v2")}


def output(transformer, tiny) -> torch.Tensor:
    noisy = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return predictor(transformer)(noisy, torch.tensor([0.6]), [tiny.features("a noto emoji of cat")])


def adapted(transformer) -> int:
    return sum(isinstance(module, AdaptedLinear) for module in transformer.modules())


@pytest.mark.parametrize("version", sorted(ADAPTERS))
def test_active_changes_the_model_and_removed_is_the_bare_one(version, tiny, fresh_transformer):
    bare = output(fresh_transformer, tiny)
    adapter = attach_training_adapter(fresh_transformer, ADAPTERS[version])
    count = len(load_file(ADAPTERS[version])) // 2
    assert adapter.matched == f"{count} of {count} modules matched"
    assert adapted(fresh_transformer) == count > 20
    assert adapter.content_hash == hash_file(ADAPTERS[version])
    active = output(fresh_transformer, tiny)
    assert adapter.state == "active"
    assert (active - bare).abs().max() > 1e-3
    with adapter.removed():
        assert adapter.state == "removed"
        assert torch.equal(output(fresh_transformer, tiny), bare)
    assert torch.equal(output(fresh_transformer, tiny), active)
    with pytest.raises(ZeroDivisionError), adapter.removed():
        raise ZeroDivisionError
    assert adapter.state == "active"


def test_active_equals_weights_with_the_adapter_merged(tiny, fresh_transformer):
    """W + B A by hand, from the file, on a second copy."""
    import copy

    merged = copy.deepcopy(fresh_transformer)
    tensors = load_file(ADAPTERS["v2"])
    for key, a in tensors.items():
        if key.endswith(".lora_A.weight"):
            b = tensors[key.replace("lora_A", "lora_B")]
            name = key.removeprefix("diffusion_model.").removesuffix(".lora_A.weight")
            merged.get_submodule(name).weight.data += b.float() @ a.float()
    attach_training_adapter(fresh_transformer, ADAPTERS["v2"])
    torch.testing.assert_close(output(fresh_transformer, tiny), output(merged, tiny), rtol=1e-4, atol=1e-4)


def test_the_adapter_is_frozen(fresh_transformer):
    adapter = attach_training_adapter(fresh_transformer, ADAPTERS["v2"])
    assert adapter.branches is not None
    assert not any(parameter.requires_grad for parameter in adapter.branches.parameters())
    assert not any(parameter.requires_grad for parameter in fresh_transformer.parameters())


def test_a_saved_lora_holds_the_lora_only_and_gives_the_removed_model_back(tmp_path, tiny, fresh_transformer):
    import copy

    bare = copy.deepcopy(fresh_transformer)
    adapter = attach_training_adapter(fresh_transformer, ADAPTERS["v2"])
    names = select_targets(fresh_transformer, "layers", ("to_q", "w2"))
    lora = inject_lora(fresh_transformer, names, rank=4, alpha=2.0, seed=5)
    for index, parameter in enumerate(lora.parameters()):
        torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(index))
    path = tmp_path / "l.safetensors"
    save_lora(path, lora, torch.float32, {})
    tensors = load_file(path)
    assert sorted(tensors) == sorted(f"diffusion_model.{n}.lora_{m}.weight" for n in names for m in "AB")
    assert all(4 in tensor.shape for tensor in tensors.values())
    for name in names:
        a, b = (tensors[f"diffusion_model.{name}.lora_{m}.weight"] for m in "AB")
        assert torch.equal(a, lora.branches[name].a.detach())
        torch.testing.assert_close(b, lora.branches[name].b.detach() * 2 / 4)
    inject_weights(bare, load_lora(path).pairs, role="lora", source=str(path))
    with adapter.removed():
        torch.testing.assert_close(output(bare, tiny), output(fresh_transformer, tiny), rtol=1e-4, atol=1e-5)
    assert (output(bare, tiny) - output(fresh_transformer, tiny)).abs().max() > 1e-3


@pytest.mark.parametrize("fault", ["another width", "more layers"])
def test_an_adapter_of_another_model_is_refused_and_nothing_is_attached(fault, tmp_path, tiny, fresh_transformer):
    tensors = load_file(ADAPTERS["v2"])
    if fault == "another width":
        tensors = {key: torch.cat((t, t), dim=1 if "lora_A" in key else 0) for key, t in tensors.items()}
        expected = "0 of "
    else:
        extra = {key.replace("layers.0.", "layers.29."): t.clone() for key, t in tensors.items() if ".layers.0." in key}
        assert extra
        expected = f"{len(tensors) // 2} of {(len(tensors) + len(extra)) // 2} modules matched"
        tensors |= extra
    path = tmp_path / "wrong.safetensors"
    save_file(tensors, path)
    bare = output(fresh_transformer, tiny)
    with pytest.raises(AdapterError, match=expected) as caught:
        attach_training_adapter(fresh_transformer, path)
    assert caught.value.where == str(path)
    assert adapted(fresh_transformer) == 0
    assert torch.equal(output(fresh_transformer, tiny), bare)


def test_one_adapter_at_a_time(fresh_transformer):
    attach_training_adapter(fresh_transformer, ADAPTERS["v2"])
    with pytest.raises(AdapterError, match="already has a 'training_adapter' branch"):
        attach_training_adapter(fresh_transformer, ADAPTERS["v2"])


def test_the_absent_adapter_has_a_state_and_a_removed_block():
    adapter = no_training_adapter()
    assert adapter.state == "absent"
    with adapter.removed():
        assert adapter.state == "absent"
