"""Branches of every kind: nothing at the start, one meaning in memory, in a file and in ComfyUI's formulas."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.dropout import Dropout
from slipstream.adapters.files import load_lora, save_lora
from slipstream.adapters.inject import inject_fresh, inject_weights
from slipstream.adapters.kinds import Recipe
from slipstream.core.errors import AdapterError

RECIPES = {
    "lora": Recipe("lora", 3, 6.0),
    "dora": Recipe("dora", 3, 1.5),
    "lokr": Recipe("lokr", 2, 3.0, lokr_factor=4),
    "lokr whole": Recipe("lokr", 2, 3.0, lokr_full_rank=True),
    "loha": Recipe("loha", 3, 6.0),
    "oft": Recipe("oft", 4, 0.0),
    "oft limited": Recipe("oft", 4, 0.7),
}
every_kind = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
X = torch.randn(5, 7, 24, generator=torch.Generator().manual_seed(5))


def two_linears() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 32), nn.SiLU(), nn.Linear(32, 24, bias=False))


def moved(branches: BranchSet, std: float = 0.3) -> BranchSet:
    for index, (name, parameter) in enumerate(branches.named_parameters()):
        step = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)) * std
        parameter.data += step.abs() if name.endswith("magnitude") else step
    return branches


def adapted(recipe: Recipe) -> tuple[nn.Sequential, BranchSet]:
    model = two_linears()
    return model, inject_fresh(model, ["0", "2"], recipe, seed=3)


@every_kind
def test_fresh_it_changes_no_bit_and_every_parameter_can_learn(recipe):
    model, branches = adapted(recipe)
    bare = two_linears()(X)
    out = model(X)
    assert torch.equal(out, bare)
    (out * torch.randn_like(out)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in branches.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    assert sum(gradient.abs().max() > 0 for gradient in gradients.values()) >= 2, "one tensor of each branch at least"
    moved(branches)
    model.zero_grad()
    model(X).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in branches.parameters())


@every_kind
def test_disabled_and_at_strength_zero_it_is_the_bare_model(recipe):
    model, branches = adapted(recipe)
    moved(branches)
    bare, full = two_linears()(X), model(X)
    with branches.disabled():
        assert torch.equal(model(X), bare)
    branches.set_strength(0.0)
    torch.testing.assert_close(model(X), bare)
    branches.set_strength(1.0)
    assert torch.equal(model(X), full)
    assert (full - bare).abs().max() > 0.05


@every_kind
def test_strength_interpolates_the_weight(recipe):
    """At 0.5 a single linear is half way between bare and full."""
    model, branches = adapted(recipe)
    moved(branches)
    bare, full = model[0].base(X), model[0](X)
    branches.set_strength(0.5)
    torch.testing.assert_close(model[0](X), (bare + full) / 2, rtol=1e-4, atol=1e-5)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_file_gives_the_same_model_and_rounded_to_shows_it(tmp_path, recipe, dtype):
    model, branches = adapted(recipe)
    moved(branches)
    exact = model(X)
    path = tmp_path / "a.safetensors"
    save_lora(path, branches, dtype, {})
    file = load_lora(path)
    assert file.kinds == (recipe.kind,)
    other = two_linears()
    loaded, line = inject_weights(other, file.modules, role="lora", source="a", dtype=torch.float32)
    assert line == "2 of 2 modules matched"
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with branches.rounded_to(dtype):
        rounded = model(X)
        branches.set_strength(0.0)
        torch.testing.assert_close(model(X), two_linears()(X))
    torch.testing.assert_close(rounded, other(X), rtol=1e-5, atol=1e-5)
    assert torch.equal(model(X), exact), "and the training goes on with the unrounded one"
    if dtype == torch.float32:
        torch.testing.assert_close(rounded, exact, rtol=1e-4, atol=1e-5)
    assert {t.dtype for key, t in load_file(path).items() if "dora_scale" not in key} == {dtype}


def comfy_weight(kind: str, weight: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """What ComfyUI makes of a weight and a file's tensors at strength 1, by its formulas."""
    if kind in ("lora", "dora"):
        changed = weight + tensors["lora_B.weight"] @ tensors["lora_A.weight"]
        if kind == "lora":
            return changed
        assert tensors["dora_scale"].shape[0] != weight.shape[0], "else it would be taken for one length per output"
        return changed * (tensors["dora_scale"] / changed.norm(dim=0, keepdim=True))
    if kind == "lokr":
        w2 = tensors["lokr_w2"] if "lokr_w2" in tensors else tensors["lokr_w2_a"] @ tensors["lokr_w2_b"]
        return weight + torch.kron(tensors["lokr_w1"], w2)
    if kind == "loha":
        first, second = (tensors[f"hada_w{n}_a"] @ tensors[f"hada_w{n}_b"] for n in (1, 2))
        return weight + first * second
    blocks = tensors["oft_blocks"]
    q, eye = blocks - blocks.mT, torch.eye(blocks.shape[-1])
    turn = (eye + q) @ torch.linalg.inv(eye - q)
    return torch.einsum("knm,kni->kmi", turn, weight.view(*blocks.shape[:2], -1)).reshape(weight.shape)


@every_kind
def test_comfyui_makes_the_same_weight_of_the_file(tmp_path, recipe):
    model, branches = adapted(recipe)
    moved(branches)
    save_lora(tmp_path / "a.safetensors", branches, torch.float32, {})
    tensors = load_file(tmp_path / "a.safetensors")
    assert not any(key.endswith("alpha") for key in tensors)
    by_hand = two_linears()
    for name in ("0", "2"):
        prefix = f"diffusion_model.{name}."
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        by_hand[int(name)].weight.data = comfy_weight(recipe.kind, by_hand[int(name)].weight.data, own)
    torch.testing.assert_close(model(X), by_hand(X), rtol=1e-4, atol=1e-4)


def test_an_ofts_limit_is_in_the_file(tmp_path):
    _, branches = adapted(RECIPES["oft limited"])
    moved(branches)
    save_lora(tmp_path / "a.safetensors", branches, torch.float32, {})
    for blocks in load_file(tmp_path / "a.safetensors").values():
        assert (blocks - blocks.mT).norm().item() == pytest.approx(0.7, rel=1e-4)


def test_an_oft_needs_blocks_that_fit():
    with pytest.raises(AdapterError, match="0 has 32 outputs, which are no blocks of 5") as caught:
        inject_fresh(two_linears(), ["0"], Recipe("oft", 5, 0.0), seed=0)
    assert caught.value.fix == "an OFT's rank is its block size: use 8."


@every_kind
def test_the_same_seed_gives_the_same_start(recipe):
    (_, first), (_, second) = adapted(recipe), adapted(recipe)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["lora", "dora", "lokr", "loha"])
def test_input_dropout_of_every_kind_acts_while_learning_only(kind):
    model, branches = adapted(Recipe(kind, 3, 6.0, Dropout(inputs=0.5)))
    moved(branches)
    plain = model(X)
    with branches.learning():
        assert not torch.equal(model(X), plain)
    assert torch.equal(model(X), plain)


SHAPES = {
    "lora_A.weight": (2, 6), "lora_B.weight": (12, 2), "hada_w1_a": (12, 2), "hada_w1_b": (2, 6), "hada_w2_a": (12, 2),
    "hada_w2_b": (2, 6), "lokr_w1": (3, 2), "lokr_w2": (4, 3), "lokr_w1_a": (3, 2), "lokr_w1_b": (2, 2),
    "lokr_w2_a": (4, 2), "lokr_w2_b": (2, 3), "oft_blocks": (6, 2, 2), "dora_scale": (1, 6),
}  # fmt: skip
LAYOUTS = {
    "lora": ("lora_A.weight", "lora_B.weight"),
    "loha": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    "lokr": ("lokr_w1", "lokr_w2"),
    "lokr products": ("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"),
    "oft": ("oft_blocks",),
    "dora": ("lora_A.weight", "lora_B.weight", "dora_scale"),
}


def tensors_of(layout: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {key: torch.randn(SHAPES[key], generator=generator) for key in LAYOUTS[layout]}


class Attention(nn.Module):
    """Linears under the names of a block, 4 outputs each: fused they have 12."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        block = nn.ModuleDict(
            {"attention": nn.ModuleDict({name: nn.Linear(6, 4, bias=False) for name in ("to_q", "to_k", "to_v")})}
        )
        block["attention"]["to_out"] = nn.ModuleList([nn.Linear(6, 12, bias=False)])
        self.layers = nn.ModuleList([block])

    def rows(self) -> Tensor:
        """The three weights on top of each other, as the branches make them."""
        attention = self.layers[0]["attention"]
        return torch.cat([attention[name](torch.eye(6)) for name in ("to_q", "to_k", "to_v")], dim=1).T


ALIASES = {
    "attention.qkv": ("attention.to_q", "attention.to_k", "attention.to_v"),
    "attention.out": ("attention.to_out.0",),
}


def load_into(tmp_path, tensors: dict[str, Tensor], stem: str, model: nn.Module) -> str:
    save_file({f"{stem}.{key}": tensor for key, tensor in tensors.items()}, tmp_path / "x.safetensors")
    modules = load_lora(tmp_path / "x.safetensors").modules
    return inject_weights(model, modules, role="lora", source="x.safetensors", aliases=ALIASES)[1]


@pytest.mark.parametrize("stem", ["diffusion_model.layers.0.attention.qkv", "lora_unet_layers_0_attention_qkv"])
@pytest.mark.parametrize("layout", ["lora", "loha", "lokr", "oft"])
def test_a_fused_qkv_comes_apart(tmp_path, layout, stem):
    model = Attention()
    before = model.rows()
    tensors = tensors_of(layout)
    assert load_into(tmp_path, tensors, stem, model) == "3 of 3 modules matched"
    torch.testing.assert_close(model.rows(), comfy_weight(layout, before, tensors), rtol=1e-4, atol=1e-5)


def test_a_fused_dora_does_not_come_apart(tmp_path):
    with pytest.raises(AdapterError, match="does not come apart into 3"):
        load_into(tmp_path, tensors_of("dora"), "diffusion_model.layers.0.attention.qkv", Attention())


@pytest.mark.parametrize(
    "stem", ["transformer.layers.0.attention.to_out.0", "lora_unet_layers_0_attention_to_out_0",
             "diffusion_model.layers.0.attention.out", "lora_unet_layers_0_attention_out",
             "base_model.model.layers.0.attention.to_out.0", "lycoris_layers_0_attention_to_out_0"],
)  # fmt: skip
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("alpha", [None, 4.0])
def test_names_of_other_tools_and_their_alpha(tmp_path, stem, layout, alpha):
    """alpha / rank scales the change, has no effect on a LoKr of whole matrices, and limits an OFT."""
    model = Attention()
    weight = model.layers[0]["attention"]["to_out"][0].weight.data
    tensors = tensors_of(layout)
    plain = dict(tensors)
    if "lokr_w1_a" in plain:
        plain["lokr_w1"] = plain.pop("lokr_w1_a") @ plain.pop("lokr_w1_b")
    if alpha is not None:
        tensors["alpha"] = torch.tensor(alpha)
        if layout == "oft":
            norm = (plain["oft_blocks"] - plain["oft_blocks"].mT).norm()
            plain["oft_blocks"] = plain["oft_blocks"] * (alpha / norm).clamp_max(1)
        for key in {"lora_B.weight", "hada_w2_a", "lokr_w2_b"} & plain.keys():
            plain[key] = plain[key] * (alpha / 2)
    load_into(tmp_path, tensors, stem, model)
    got = model.layers[0]["attention"]["to_out"][0](torch.eye(6)).T
    torch.testing.assert_close(got, comfy_weight(layout.partition(" ")[0], weight, plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"lora_B.weight": torch.ones(11, 2)}, "for a 11x6 layer, the model has 12x6"),
        ({"dora_scale": torch.ones(5)}, r"dora_scale has the shape \(5, 1\), expected \(1, 6\) or \(12, 1\)"),
        ({"lora_A.weight": torch.ones(3, 6)}, r"\(3, 6\) and \(12, 2\) are not"),
    ],
)
def test_a_dora_that_does_not_fit_is_refused(tmp_path, changes, match):
    with pytest.raises(AdapterError, match=f"0 of 1 modules matched.*{match}"):
        load_into(tmp_path, tensors_of("dora") | changes, "diffusion_model.layers.0.attention.to_out.0", Attention())


def test_peft_spells_its_own_doras(tmp_path):
    tensors = tensors_of("dora")
    spelled = {
        "lora_A.default.weight": tensors["lora_A.weight"],
        "lora_B.default.weight": tensors["lora_B.weight"],
        "lora_magnitude_vector": torch.linspace(0.5, 2, 12),
    }
    model = Attention()
    weight = model.layers[0]["attention"]["to_out"][0].weight.data
    load_into(tmp_path, spelled, "base_model.model.layers.0.attention.to_out.0", model)
    changed = weight + tensors["lora_B.weight"] @ tensors["lora_A.weight"]
    expected = changed * (torch.linspace(0.5, 2, 12) / changed.norm(dim=1))[:, None]
    got = model.layers[0]["attention"]["to_out"][0](torch.eye(6)).T
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
