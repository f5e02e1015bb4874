"""Loading tensor by tensor: the same weights as the libraries' own loaders, quantized ones without a dense model."""

from __future__ import annotations

import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slipstream.core.errors import ModelError
from slipstream.core.quiet import quiet_imports
from slipstream.models.z_image.loading import load_text_encoder, load_transformer, may_be_quantized, weight_files
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.precision.linear import QuantizedLinear
from slipstream.precision.placing import Placement, count_quantized, place_weights, weight_bytes
from slipstream.precision.schemes import SCHEMES

CPU = torch.device("cpu")
TRANSFORMER, TEXT_ENCODER = TINY_ROOT / "turbo/transformer", TINY_ROOT / "turbo/text_encoder"


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("part", ["transformer", "text encoder"])
def test_without_a_scheme_every_bit_is_that_of_the_librarys_loader(part, dtype):
    with quiet_imports():
        from diffusers import ZImageTransformer2DModel
        from transformers import AutoModel
    if part == "transformer":
        mine = load_transformer(TRANSFORMER, CPU, dtype)
        theirs = ZImageTransformer2DModel.from_pretrained(TRANSFORMER, torch_dtype=dtype)
    else:
        mine = load_text_encoder(TEXT_ENCODER, CPU, dtype)
        theirs = AutoModel.from_pretrained(TEXT_ENCODER, dtype=dtype)
        assert mine.config._attn_implementation == theirs.config._attn_implementation
    got, wanted = tensors_of(mine), tensors_of(theirs)
    assert list(got) == list(wanted)
    assert {key for key in wanted if got[key].dtype != wanted[key].dtype} == set()
    assert {key for key in wanted if not torch.equal(got[key], wanted[key])} == set()
    assert type(mine) is type(theirs)
    assert not mine.training


@pytest.mark.parametrize("scheme", SCHEMES)
def test_attention_and_feed_forward_of_the_blocks_are_quantized_and_nothing_else(scheme, tiny):
    model = load_transformer(TRANSFORMER, CPU, torch.float32, scheme)
    packed = {name for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}
    linears = ("attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0",
               "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")  # fmt: skip
    stacks = [f"layers.{block}" for block in range(5)] + ["noise_refiner.0", "context_refiner.0"]
    assert packed == {f"{block}.{linear}" for block in stacks for linear in linears}
    assert count_quantized(model) == (49, 49 + sum(isinstance(m, nn.Linear) for m in model.modules()))
    others = {key: value for key, value in tensors_of(tiny.transformer).items() if key.rpartition(".")[0] not in packed}
    assert all(torch.equal(tensors_of(model)[key], value) for key, value in others.items())
    assert weight_bytes(model) < 0.5 * weight_bytes(tiny.transformer)


def test_the_real_models_small_parts_are_never_quantized():
    for linear in ("t_embedder.mlp.0", "cap_embedder.1", "all_x_embedder.2-1", "all_final_layer.2-1.linear",
                   "all_final_layer.2-1.adaLN_modulation.1", "layers.0.adaLN_modulation.0",
                   "noise_refiner.1.adaLN_modulation.0"):  # fmt: skip
        assert not may_be_quantized(linear)
    assert may_be_quantized("layers.29.feed_forward.w2")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_text_encoders_layers_are_quantized(scheme):
    model = load_text_encoder(TEXT_ENCODER, CPU, torch.float32, scheme)
    assert count_quantized(model) == (3 * 7, 3 * 7)
    assert isinstance(model.layers[0].self_attn.q_proj, QuantizedLinear)
    assert model.embed_tokens.weight.dtype == torch.float32


def split(folder: Path, target: Path, stem: str) -> Path:
    """A copy of a component with its weights in three files and an index."""
    target.mkdir()
    shutil.copy(folder / "config.json", target)
    tensors = load_file(next(folder.glob("*.safetensors")))
    names = sorted(tensors)
    files = {f"{stem}-{part + 1:05d}-of-00003.safetensors": names[part::3] for part in range(3)}
    for file, keys in files.items():
        save_file({key: tensors[key] for key in keys}, target / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: file for file, keys in files.items() for key in keys}}
    (target / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    return target


@pytest.mark.parametrize("scheme", [None, "nf4"])
def test_several_files_with_an_index_are_one_model(tmp_path, scheme):
    folder = split(TRANSFORMER, tmp_path / "split", "diffusion_pytorch_model")
    whole, parts = (tensors_of(load_transformer(path, CPU, torch.float32, scheme)) for path in (TRANSFORMER, folder))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    next(folder.glob("*-00002-of-*")).unlink()
    with pytest.raises(ModelError, match="1 of 3 weight files are missing") as caught:
        load_transformer(folder, CPU, torch.float32, scheme)
    assert caught.value.where == str(folder)


def test_files_without_an_index_are_not_guessed_together(tmp_path):
    for name in ("a", "b"):
        save_file({"x": torch.ones(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match="2 safetensors files and no index"):
        weight_files(tmp_path)


def test_a_language_models_files_are_read_as_the_encoder_in_it(tmp_path):
    """The real text encoder is stored as Qwen3ForCausalLM."""
    folder = tmp_path / "text_encoder"
    folder.mkdir()
    config = json.loads((TEXT_ENCODER / "config.json").read_text()) | {"architectures": ["Qwen3ForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {f"model.{key}": value for key, value in load_file(TEXT_ENCODER / "model.safetensors").items()}
    save_file(tensors | {"lm_head.weight": torch.zeros(3072, 128)}, folder / "model.safetensors")
    got, wanted = (tensors_of(load_text_encoder(path, CPU, torch.float32)) for path in (folder, TEXT_ENCODER))
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_dense_weights_are_gone_before_the_next_one_is_read(scheme):
    """So neither host nor device ever holds the whole model in bf16."""
    with torch.device("meta"):
        model = nn.ModuleList([nn.Linear(64, 64) for _ in range(4)])
    read: list[weakref.ref[torch.Tensor]] = []

    def made(*shape: int) -> torch.Tensor:
        assert [ref() for ref in read] == [None] * len(read), "an earlier dense weight is still alive"
        tensor = torch.ones(shape)
        if len(shape) == 2:
            read.append(weakref.ref(tensor))
        return tensor

    def weights():
        for number in range(4):
            yield f"{number}.bias", made(64)
            yield f"{number}.weight", made(64, 64)

    place_weights(model, weights(), Placement(CPU, torch.float32, scheme))
    assert all(isinstance(layer, QuantizedLinear) for layer in model)
    assert all(torch.equal(layer.bias, torch.ones(64)) for layer in model)


def test_a_bias_may_come_after_its_weight():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(64, 8))
    weights = [("0.weight", torch.ones(8, 64)), ("0.bias", torch.arange(8.0))]
    place_weights(model, weights, Placement(CPU, torch.float32, "int8"))
    torch.testing.assert_close(model(torch.ones(1, 64))[0], torch.arange(8.0) + 64, rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layers.0.attention.to_q.weight"), "1 weights are missing: layers.0.attention.to_q.weight"),
        (lambda t: t.update({"layers.0.lora.weight": torch.ones(1)}), "1 weights have no place in this model: lay"),
        (lambda t: t.update({"x_pad_token": torch.ones(1, 7)}), r"x_pad_token has the shape \(1, 7\), expected \(1, 1"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(tmp_path, change, message):
    shutil.copy(TRANSFORMER / "config.json", tmp_path)
    tensors = load_file(TRANSFORMER / "diffusion_pytorch_model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ModelError, match=message):
        load_transformer(tmp_path, CPU, torch.float32, "int8")
