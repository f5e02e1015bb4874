"""Where a LoRA starts: at nothing with every init, or at what another LoRA does."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.dropout import Dropout
from slipstream.adapters.files import load_lora, save_lora
from slipstream.adapters.inject import inject_fresh, inject_weights
from slipstream.adapters.kinds import Recipe
from slipstream.adapters.start import fit_rank, start_from
from slipstream.core.errors import AdapterError

X = torch.randn(5, 7, 24, generator=torch.Generator().manual_seed(5))


def two_linears() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 32), nn.SiLU(), nn.Linear(32, 24, bias=False))


def adapted(recipe: Recipe, names=("0", "2")) -> tuple[nn.Sequential, BranchSet]:
    model = two_linears()
    return model, inject_fresh(model, names, recipe, seed=3)


def moved(branches: BranchSet, std: float = 0.3) -> BranchSet:
    for index, parameter in enumerate(branches.parameters()):
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)) * std
    return branches


@pytest.mark.parametrize(("kind", "init"), [("lora", "orthogonal"), ("dora", "orthogonal"), ("lora", "pissa")])
@pytest.mark.parametrize("dropout", [Dropout(), Dropout(inputs=0.3, ranks=0.3)], ids=["plain", "dropout"])
def test_every_init_changes_no_bit(kind, init, dropout):
    model, branches = adapted(Recipe(kind, 4, 2.0, dropout, init))
    bare = two_linears()(X)
    assert torch.equal(model(X), bare)
    if not dropout.ranks or init == "pissa":
        with branches.learning():
            assert torch.equal(model(X), bare), "also while dropout acts, since both products meet the same masks"


def test_orthogonal_rows_are_at_right_angles_and_as_long_as_usual():
    _, branches = adapted(Recipe("lora", 4, 4.0, init="orthogonal"))
    a = branches.branches["0"].a.detach()
    torch.testing.assert_close(a @ a.T, torch.eye(4) / 3, rtol=1e-5, atol=1e-6)
    _, usual = adapted(Recipe("lora", 4, 4.0))
    assert usual.branches["0"].a.square().sum(1).mean().item() == pytest.approx(1 / 3, rel=0.3)


def test_pissa_begins_at_the_largest_singular_values_and_leaves_the_weight_alone():
    model, branches = adapted(Recipe("lora", 3, 6.0, init="pissa"))
    untouched = two_linears()
    for name in ("0", "2"):
        branch, weight = branches.branches[name], untouched[int(name)].weight
        assert torch.equal(model[int(name)].base.weight, weight)
        u, values, v = torch.linalg.svd(weight)
        torch.testing.assert_close(branch.b @ branch.a * 2, u[:, :3] * values[:3] @ v[:3], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(branch.a.norm(dim=1), branch.b.norm(dim=0) * 2, rtol=1e-3, atol=1e-4)


def test_a_pissa_file_is_a_lora_of_twice_the_rank(tmp_path):
    model, branches = adapted(Recipe("lora", 3, 6.0, init="pissa"))
    moved(branches)
    save_lora(tmp_path / "p.safetensors", branches, torch.float32, {})
    assert load_file(tmp_path / "p.safetensors")["diffusion_model.0.lora_A.weight"].shape == (6, 24)
    other = two_linears()
    inject_weights(other, load_lora(tmp_path / "p.safetensors").modules, role="lora", source="p")
    torch.testing.assert_close(other(X), model(X), rtol=1e-4, atol=1e-5)
    with branches.rounded_to(torch.bfloat16):
        assert (model(X) - other(X)).abs().max() < 0.2
    tensors = dict(branches.named_tensors())
    assert {"0.a0", "0.b0"} <= tensors.keys(), "the start is part of the training state"
    assert len(branches.parameters()) == 4, "and never trained"


def test_pissa_needs_enough_singular_values():
    with pytest.raises(AdapterError, match="0 has only 24 singular values, not 25"):
        adapted(Recipe("lora", 25, 25.0, init="pissa"))


def saved(tmp_path, recipe: Recipe, names=("0", "2")):
    """A file of a moved adapter, and the output of the model with it."""
    model, branches = adapted(recipe, names)
    moved(branches)
    path = tmp_path / "old.safetensors"
    save_lora(path, branches, torch.float32, {})
    return path, model(X)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Recipe("lora", 4, 8.0), Recipe("lora", 4, 2.0)),
        (Recipe("lora", 4, 8.0), Recipe("lora", 7, 2.0)),
        (Recipe("lora", 4, 8.0), Recipe("dora", 4, 2.0)),
        (Recipe("lora", 4, 8.0), Recipe("dora", 6, 2.0)),
        (Recipe("dora", 4, 2.0), Recipe("dora", 5, 5.0)),
        (Recipe("loha", 3, 6.0), Recipe("loha", 3, 3.0)),
        (Recipe("lokr", 2, 3.0, lokr_factor=4), Recipe("lokr", 2, 2.0, lokr_factor=4)),
        (Recipe("oft", 4, 0.6), Recipe("oft", 4, 0.0)),
    ],
    ids=lambda recipe: f"{recipe.kind} {recipe.rank}",
)
def test_it_starts_where_the_file_ended_whatever_the_alpha(tmp_path, old, new):
    path, expected = saved(tmp_path, old)
    model, branches = adapted(new)
    line = start_from(model, branches, path)
    assert line.startswith("start from old.safetensors: 2 of 2 modules matched")
    assert (f"rank {old.rank} -> {new.rank}" in line) is (old.rank != new.rank)
    torch.testing.assert_close(model(X), expected, rtol=1e-4, atol=1e-4)
    model(X).square().sum().backward()
    assert all(parameter.grad is not None for parameter in branches.parameters())


def test_a_smaller_rank_keeps_the_strongest_directions(tmp_path):
    path, _ = saved(tmp_path, Recipe("lora", 6, 6.0))
    model, branches = adapted(Recipe("lora", 2, 4.0))
    line = start_from(model, branches, path)
    assert "rank 6 -> 2" in line
    assert "% of it kept" in line
    for name, tensors in load_lora(path).modules.items():
        product = tensors["lora_B.weight"] @ tensors["lora_A.weight"]
        u, values, v = torch.linalg.svd(product)
        branch = branches.branches[name]
        torch.testing.assert_close(branch.b @ branch.a * 2, u[:, :2] * values[:2] @ v[:2], rtol=1e-3, atol=1e-4)


def test_ranks_beyond_the_files_change_nothing_and_can_learn():
    a, b, fresh = torch.randn(2, 9), torch.randn(5, 2), torch.randn(4, 9)
    fit = fit_rank(a, b, fresh)
    assert torch.equal(fit.a[:2], a)
    assert torch.equal(fit.a[2:], fresh[2:])
    assert torch.equal(fit.b[:, 2:], torch.zeros(5, 2))
    thin = fit_rank(torch.randn(8, 3), torch.randn(5, 8), torch.randn(6, 3))
    assert (thin.a.shape, thin.b.shape) == ((6, 3), (5, 6))
    assert thin.kept == pytest.approx(1.0)


def test_modules_that_the_file_lacks_start_fresh(tmp_path):
    path, expected = saved(tmp_path, Recipe("lora", 4, 4.0), names=("2",))
    model, branches = adapted(Recipe("lora", 4, 4.0))
    assert start_from(model, branches, path) == "start from old.safetensors: 1 of 1 modules matched, 1 more start fresh"
    torch.testing.assert_close(model(X), expected)


@pytest.mark.parametrize(
    ("old", "new", "names", "match"),
    [
        (Recipe("lora", 4, 4.0), Recipe("lora", 4, 4.0), ("0",), "2 of 2 modules matched, but 1 of them"),
        (Recipe("dora", 4, 4.0), Recipe("lora", 4, 4.0), ("0", "2"), "this is a dora, and target.type is lora"),
        (Recipe("lora", 4, 4.0), Recipe("lokr", 4, 4.0), ("0", "2"), "this is a lora, and target.type is lokr"),
        (Recipe("loha", 4, 4.0), Recipe("loha", 3, 4.0), ("0", "2"), r"w._. is \(.*\) in the file and \("),
        (Recipe("lokr", 2, 4.0), Recipe("lokr", 2, 4.0, lokr_full_rank=True), ("0", "2"), "0: w2_. is"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(tmp_path, old, new, names, match):
    path, _ = saved(tmp_path, old)
    model, branches = adapted(new, names)
    with pytest.raises(AdapterError, match=match) as caught:
        start_from(model, branches, path)
    assert caught.value.where == str(path)
