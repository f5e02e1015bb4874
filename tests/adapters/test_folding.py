"""A folded adapter acts without being there, and leaves no trace when it is taken out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slipstream.adapters import folding
from slipstream.adapters.files import load_lora
from slipstream.adapters.folding import FoldedBranches, FoldedPacks, dense_hosts, folded_bytes
from slipstream.adapters.training_adapter import TrainingAdapter, attach_training_adapter
from slipstream.models.z_image.family import predictor
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.precision.linear import QuantizedLinear

CPU = torch.device("cpu")
ADAPTER = TINY_ROOT / "adapters" / "training_adapter_v2.safetensors"


def test_it_predicts_as_the_live_adapter_and_comes_out_bit_for_bit(tiny, fresh_transformer):
    noisy, sigma = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0.6])
    texts = [tiny.features("a noto emoji of cat")]

    @torch.no_grad()
    def predicted() -> torch.Tensor:
        return predictor(fresh_transformer)(noisy, sigma, texts)

    bare = predicted()
    adapter = attach_training_adapter(fresh_transformer, ADAPTER)
    assert adapter.branches is not None
    names = dense_hosts(adapter.branches)
    assert set(names) == set(adapter.branches.branches)
    live = predicted()
    weights = {name: host.base.weight.detach().clone() for name, host in adapter.branches.hosts.items()}
    folded = TrainingAdapter(
        adapter.branches, adapter.source, adapter.content_hash, adapter.matched,
        (FoldedBranches(adapter.branches, names, CPU),),
    )  # fmt: skip
    assert folded_bytes(adapter.branches, names) == sum(weight.nbytes for weight in weights.values())
    once = predicted()
    torch.testing.assert_close(once, live, rtol=1e-4, atol=1e-5)
    assert (once - bare).norm() > 0.01 * bare.norm()
    assert folded.state == "active"
    with folded.removed():
        assert folded.state == "removed"
        assert torch.equal(predicted(), bare)
        assert all(torch.equal(adapter.branches.hosts[name].base.weight, w) for name, w in weights.items())
    assert torch.equal(predicted(), once)


def test_float8_weights_take_the_adapter_in_before_they_are_packed(tiny):
    """Packed with the adapter they predict as bf16 weights with it do; added afterwards most of it would be lost."""
    noisy, sigma = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0.6])
    texts = [tiny.features("a noto emoji of cat")]

    def predicted(model) -> torch.Tensor:
        with torch.no_grad():
            return predictor(model)(noisy, sigma, texts)

    packs = FoldedPacks(load_lora(ADAPTER).modules, "float8", CPU)
    packed = replace(tiny.family, transformer_scheme="float8").load_transformer(watch=packs.watch)
    bare = predicted(packed)
    adapter = attach_training_adapter(packed, ADAPTER)
    assert adapter.branches is not None
    live = predicted(packed)
    assert packs.fits(adapter.branches)
    dense = dense_hosts(adapter.branches)
    assert dense
    assert all("adaLN" in name for name in dense)
    folded = replace(adapter, folded=(FoldedBranches(adapter.branches, dense, CPU), packs))
    packs.fold_into(adapter.branches)
    once = predicted(packed)
    with folded.removed():
        assert torch.equal(predicted(packed), bare)
    assert torch.equal(predicted(packed), once)
    assert (once - live).norm() < 0.3 * (live - bare).norm()


def test_an_exchange_that_breaks_off_is_made_good(tiny, monkeypatch):
    packs = FoldedPacks(load_lora(ADAPTER).modules, "float8", CPU)
    transformer = replace(tiny.family, transformer_scheme="float8").load_transformer(watch=packs.watch)
    plain = {name: tensor.clone() for name, tensor in transformer.state_dict().items()}
    adapter = attach_training_adapter(transformer, ADAPTER)
    packs.fold_into(adapter.branches)
    hosts = adapter.branches.hosts.items()
    linears = {name: host.base for name, host in hosts if isinstance(host.base, QuantizedLinear)}
    folded = {name: linear.codes.clone() for name, linear in linears.items()}
    real, calls = folding._Aside.swap, []

    def swap(aside):
        calls.append(aside)
        if len(calls) == 7:
            raise torch.OutOfMemoryError
        real(aside)

    monkeypatch.setattr(folding._Aside, "swap", swap)
    with pytest.raises(torch.OutOfMemoryError), packs.taken_out():
        pass
    assert all(torch.equal(linear.codes, folded[name]) for name, linear in linears.items())
    with packs.taken_out():
        assert all(torch.equal(linear.codes, plain[f"{name}.codes"]) for name, linear in linears.items())
    assert all(torch.equal(linear.codes, folded[name]) for name, linear in linears.items())
