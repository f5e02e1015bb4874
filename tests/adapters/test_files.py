"""LoRA files: layouts of the field, alpha, damage, and a disk that is full."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.files import load_lora, save_lora
from slipstream.adapters.inject import inject_lora, inject_weights
from slipstream.core.errors import AdapterError, DiskFullError

A, B = torch.arange(6.0).reshape(2, 3), torch.arange(8.0).reshape(4, 2) + 1


def lora(alpha: float = 8.0) -> BranchSet:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    branches = inject_lora(model, ["0", "1"], rank=2, alpha=alpha, seed=0)
    branches.branches["0"].a.data, branches.branches["0"].b.data = A.clone(), B.clone()
    return branches


def test_the_file_has_comfy_keys_alpha_in_b_and_nothing_else(tmp_path):
    save_lora(tmp_path / "l.safetensors", lora(alpha=8.0), torch.float32, {})
    tensors = load_file(tmp_path / "l.safetensors")
    assert sorted(tensors) == [f"diffusion_model.{n}.lora_{m}.weight" for n in (0, 1) for m in "AB"]
    assert torch.equal(tensors["diffusion_model.0.lora_A.weight"], A)
    assert torch.equal(tensors["diffusion_model.0.lora_B.weight"], B * 8 / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_dtype_is_the_one_asked_for(tmp_path, dtype):
    save_lora(tmp_path / "l.safetensors", lora(), dtype, {})
    assert {tensor.dtype for tensor in load_file(tmp_path / "l.safetensors").values()} == {dtype}


def test_strength_is_for_inference_and_never_saved(tmp_path):
    branches = lora()
    branches.set_strength(0.25)
    save_lora(tmp_path / "l.safetensors", branches, torch.float32, {})
    assert torch.equal(load_file(tmp_path / "l.safetensors")["diffusion_model.0.lora_B.weight"], B * 4)


def test_equal_loras_are_equal_files_with_sorted_metadata(tmp_path):
    metadata = {f"key_{index}": f"wert ü {index}" for index in range(20)}
    contents = []
    for index in range(3):
        path = tmp_path / f"{index}.safetensors"
        save_lora(path, lora(), torch.bfloat16, dict(reversed(metadata.items())) if index else metadata)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] == contents[2]
    size = int.from_bytes(contents[0][:8], "little")
    assert size % 8 == 0
    found = json.loads(contents[0][8 : 8 + size])["__metadata__"]
    assert list(found) == sorted(found)
    assert found == {"format": "pt", **metadata}
    assert load_lora(tmp_path / "0.safetensors").metadata == found


@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", ""])
@pytest.mark.parametrize("down_up", [("lora_A", "lora_B"), ("lora_down", "lora_up")])
@pytest.mark.parametrize("alpha", [None, 1.0, 2.0, 16.0])
def test_layouts_of_the_field(tmp_path, prefix, down_up, alpha):
    stem = f"{prefix}layers.0.attention.to_q"
    tensors = {f"{stem}.{down_up[0]}.weight": A, f"{stem}.{down_up[1]}.weight": B}
    if alpha is not None:
        tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    save_file(tensors, tmp_path / "l.safetensors")
    pairs = load_lora(tmp_path / "l.safetensors").pairs
    assert list(pairs) == ["layers.0.attention.to_q"]
    a, b = pairs["layers.0.attention.to_q"]
    torch.testing.assert_close(b @ a, B @ A * (1.0 if alpha is None else alpha / 2))


def test_the_size_of_a_file_in_memory(tmp_path):
    save_file({"x.lora_A.weight": A, "x.lora_B.weight": B.half()}, tmp_path / "l.safetensors")
    assert load_lora(tmp_path / "l.safetensors").num_bytes == 6 * 4 + 8 * 2


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ({"x.lora_A.weight": A}, r"x\.lora_A\.weight has no partner x\.lora_B\.weight"),
        ({"x.lora_B.weight": B}, r"x\.lora_B\.weight has no partner x\.lora_A\.weight"),
        ({"x.lora_A.weight": A, "x.lora_B.weight": B, "x.weight": B.clone()}, r"known here: x\.weight"),
        ({"x.lokr_w1": A, "x.lokr_w2_a": B}, r"x\.lokr_w1 has no partner x\.lokr_w2_b"),
        ({"x.lokr_w1": A, "x.lokr_w2": B, "x.lokr_t2": B.clone()}, r"known here: x\.lokr_t2"),
        ({"x.hada_w1_a": A, "x.oft_blocks": B}, r"x\.hada_w1_a stands beside hada_w1_a, oft_blocks"),
        ({"x.alpha": A}, r"known here: x\.alpha"),
        ({}, "no tensors at all"),
    ],
    ids=["half", "other half", "a model", "half a LoKr", "a convolution", "two kinds", "alpha alone", "empty"],
)
def test_other_files_are_refused_by_their_keys(tmp_path, tensors, match):
    path = tmp_path / "strange.safetensors"
    save_file(tensors, path)
    with pytest.raises(AdapterError, match=match) as caught:
        load_lora(path)
    assert caught.value.where == str(path)


def test_a_cut_file_is_named(tmp_path):
    path = tmp_path / "cut.safetensors"
    save_lora(path, lora(), torch.float32, {})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(AdapterError, match="not a readable safetensors file"):
        load_lora(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AdapterError, match=r"nowhere\.safetensors.*no such file"):
        load_lora(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("a", "b"),
    [(A, torch.ones(4, 3)), (A[None], B), (A, B[..., None, None])],
    ids=["ranks differ", "three axes", "convolution"],
)
def test_pairs_that_are_no_low_rank_product_are_refused(a, b):
    model = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(AdapterError, match="0 of 1 modules matched"):
        inject_weights(model, {"0": (a, b)}, role="lora", source="test")
    assert isinstance(model[0], nn.Linear)


def test_a_full_disk_leaves_the_old_file(tmp_path, full_disk):
    path = tmp_path / "l.safetensors"
    save_lora(path, lora(alpha=2.0), torch.float32, {})
    before = path.read_bytes()
    with full_disk(), pytest.raises(DiskFullError, match="no space"):
        save_lora(path, lora(alpha=4.0), torch.float32, {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["l.safetensors"]


def test_reading_errors_of_the_library_keep_their_reason(tmp_path, monkeypatch):
    path = tmp_path / "l.safetensors"
    path.write_bytes(b"x")

    def fail(*_, **__):
        raise SafetensorError("header too large")

    monkeypatch.setattr("slipstream.adapters.files.safe_open", fail)
    with pytest.raises(AdapterError, match="header too large"):
        load_lora(path)
