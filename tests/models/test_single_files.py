"""A transformer in one file: every layout and precision loads as the folder does, and wrong files are named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from single_files import cast, in_float8, marked, older, original, tiny_tensors, write
from slipstream.core.errors import ModelError
from slipstream.models.z_image.family import predictor
from slipstream.models.z_image.loading import load_transformer
from slipstream.models.z_image.names import block_linears
from slipstream.models.z_image.resolve import TINY_ROOT, resolve_parts
from slipstream.models.z_image.transformer_file import open_transformer
from slipstream.precision.linear import QuantizedLinear

CPU = torch.device("cpu")
FOLDER = TINY_ROOT / "turbo/transformer"
COMFY = "model.diffusion_model."


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return tiny_tensors()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def predicted(transformer: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    noisy = torch.randn(1, 16, 8, 12, generator=generator)
    text = torch.randn(20, 128, generator=generator)
    with torch.no_grad():
        return predictor(transformer)(noisy, torch.tensor([0.6]), [text])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("prefix", ["", "diffusion_model.", COMFY])
@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_every_layout_and_precision_is_the_folders_model(tmp_path, tiny, tensors, layout, prefix, dtype):
    weights = cast(tensors, dtype)
    named = original(weights, prefix) if layout == "original" else {prefix + k: t for k, t in weights.items()}
    path = write(tmp_path / "z.safetensors", named)
    mine = load_transformer(path, CPU, torch.float32)
    assert open_transformer(path).layout == layout
    wanted = state(tiny.transformer) if dtype != torch.float16 else state(half_rounded(tensors))
    assert state(mine).keys() == wanted.keys()
    assert all(torch.equal(value, wanted[key]) for key, value in state(mine).items())
    if dtype != torch.float16:
        assert torch.equal(predicted(mine), predicted(tiny.transformer))


def half_rounded(tensors: dict[str, torch.Tensor]) -> nn.Module:
    """The folder's model with its weights rounded to fp16."""
    model = load_transformer(FOLDER, CPU, torch.float32)
    model.load_state_dict({key: value.half().float() for key, value in tensors.items()}, strict=False)
    return model


def test_the_model_has_the_folders_settings(tmp_path, tensors):
    path = write(tmp_path / "z.safetensors", original(tensors))
    mine, theirs = open_transformer(path).config, json.loads((FOLDER / "config.json").read_text())
    left_out = {"_diffusers_version", "axes_lens", "siglip_feat_dim"}
    assert {k: v for k, v in mine.items() if k != "axes_lens"} == {k: theirs[k] for k in theirs.keys() - left_out}
    assert block_linears(path) == block_linears(FOLDER)


def test_parts_of_a_whole_checkpoint_and_an_unused_norm_are_left_aside(tmp_path, tiny, tensors):
    others = {"vae.decoder.conv_in.weight": torch.ones(1), "text_encoders.qwen3_4b.x": torch.ones(1),
              f"{COMFY}norm_final.weight": torch.ones(192)}  # fmt: skip
    path = write(tmp_path / "whole.safetensors", original(tensors, COMFY) | others)
    assert torch.equal(predicted(load_transformer(path, CPU, torch.float32)), predicted(tiny.transformer))


FLOAT8 = {
    "present": {"extra": marked},
    "older": {"scale_name": "scale_weight", "extra": older},
    "rows": {"per_row": True},
    "plain": {"scale_name": None},
    "e5m2": {"scale_name": None, "dtype": torch.float8_e5m2},
}


@pytest.mark.parametrize("kind", FLOAT8)
@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_float8_files_are_the_numbers_that_they_mean(tmp_path, tiny, tensors, kind, layout):
    named = original(tensors, COMFY) if layout == "original" else tensors
    packed = in_float8(named, **FLOAT8[kind])  # type: ignore[arg-type]
    if kind == "older":
        packed[f"{COMFY if layout == 'original' else ''}scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    path = write(tmp_path / "z.safetensors", packed)
    mine = load_transformer(path, CPU, torch.float32)
    weight, wanted = mine.layers[1].attention.to_k.weight, tiny.transformer.layers[1].attention.to_k.weight
    assert torch.equal(mine.x_pad_token, tiny.transformer.x_pad_token)
    assert 1e-3 < (weight - wanted).norm() / wanted.norm() < (0.1 if kind in ("plain", "e5m2") else 0.04)
    error = (predicted(mine) - predicted(tiny.transformer)).norm() / predicted(tiny.transformer).norm()
    assert error < (0.2 if kind in ("plain", "e5m2") else 0.08)


@pytest.mark.parametrize("kind", ["present", "rows", "plain"])
def test_codes_of_a_float8_file_are_kept_for_float8_weights(tmp_path, tensors, kind):
    packed = in_float8(original(tensors), **FLOAT8[kind])  # type: ignore[arg-type]
    path = write(tmp_path / "z.safetensors", packed)
    dense, mine = (load_transformer(path, CPU, torch.float32, scheme) for scheme in (None, "float8"))
    linear = mine.layers[0].attention.to_v
    assert isinstance(linear, QuantizedLinear)
    assert torch.equal(linear.codes.float(), packed["layers.0.attention.qkv.weight"][384:].float())
    wanted = dense.layers[0].attention.to_v.weight
    assert (linear.dense_weight() - wanted).norm() / wanted.norm() < 0.004  # its scales were rounded to bf16
    assert isinstance(mine.layers[0].adaLN_modulation[0], nn.Linear)


@pytest.mark.parametrize("scheme", ["int8", "nf4"])
def test_float8_files_may_be_packed_otherwise(tmp_path, tensors, scheme):
    path = write(tmp_path / "z.safetensors", in_float8(original(tensors)))
    assert load_transformer(path, CPU, torch.float32, scheme).layers[0].attention.to_q.scheme.name == scheme


def test_a_file_takes_its_other_parts_from_elsewhere_and_is_described(tmp_path, tiny, tensors):
    path = write(tmp_path / "z_image_turbo.safetensors", in_float8(original(tensors)))
    parts = resolve_parts(str(path), "tiny/turbo")
    assert (parts.paths["transformer"], parts.origins["vae"]) == (path, "tiny/turbo")
    family = replace(tiny.family, parts=parts)
    text = "\n".join(family.describe())
    assert "original keys, float8 e4m3, one scale a tensor" in text
    assert "made dense in float32" in text
    assert "kept as they are" in "\n".join(replace(family, transformer_scheme="float8").describe())
    with pytest.raises(ModelError, match="a transformer alone; 'scheduler' has to come from elsewhere"):
        resolve_parts(str(path), str(path))
    with pytest.raises(ModelError, match="holds no text encoder") as caught:
        resolve_parts("tiny/turbo", str(path))
    assert caught.value.where == "model.extras_from"


WRONG = {
    "a LoRA": {"diffusion_model.layers.0.attention.to_q.lora_A.weight": (1, 2)},
    "a Flux transformer": {"double_blocks.0.img_attn.qkv.weight": (3, 1)},
    "a Stable Diffusion checkpoint": {f"{COMFY}input_blocks.0.0.weight": (1,), "first_stage_model.x": (1,)},
    "a text encoder": {"model.embed_tokens.weight": (2, 2), "model.layers.0.self_attn.q_proj.weight": (2, 2)},
    "a VAE": {"decoder.conv_in.weight": (1,), "encoder.conv_in.weight": (1,)},
    "a Lumina 2 transformer": {"layers.0.attention.qkv.weight": (3, 1), "cap_embedder.0.weight": (1,)},
    "a Z-Image ControlNet": {"control_layers.0.attention.to_q.weight": (1, 1)},
    "Z-Image Omni or Edit": {"x_pad_token": (1, 2), "cap_pad_token": (1, 2), "siglip_embedder.0.weight": (1,)},
    "not a model known here": {"something": (1,)},
}


@pytest.mark.parametrize("what", WRONG)
def test_other_models_are_told_by_their_keys(tmp_path, what):
    path = write(tmp_path / "x.safetensors", {key: torch.zeros(shape) for key, shape in WRONG[what].items()})
    with pytest.raises(ModelError, match=f"this is {what}") as caught:
        resolve_parts(str(path), "tiny/turbo")
    assert caught.value.where == str(path)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.gguf", b"GGUF\x03\0\0\0" + bytes(20), "a GGUF file"),
        ("x.safetensors", b"GGUF\x03\0\0\0" + bytes(20), "a GGUF file"),
        ("x.ckpt", b"PK\x03\x04" + bytes(20), "can run any program"),
        ("x.pt", bytes(20), "can run any program"),
        ("x.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a pointer of Git LFS"),
        ("x.safetensors", b"<!DOCTYPE html><html>please log in</html>", "a web page"),
        ("x.safetensors", b"", "an empty file"),
        ("x.safetensors", b"hello, I am text", "not a safetensors file"),
    ],
)
def test_other_formats_are_told_by_their_first_bytes(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        resolve_parts(str(path), "tiny/turbo")
    assert caught.value.where == str(path)


@pytest.mark.parametrize("left", [0.9, 0.0001])
def test_a_download_that_was_cut_off_is_seen_before_anything_loads(tmp_path, tensors, left):
    path = write(tmp_path / "z.safetensors", original(tensors))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * left)])
    with pytest.raises(ModelError, match=r"cut off") as caught:
        resolve_parts(str(path), "tiny/turbo")
    assert "download it again" in (caught.value.fix or "")


def without(tensors: dict[str, torch.Tensor], key: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: without(t, "layers.2.attention.qkv.weight"), "3 weights are missing: layers.2.attention.to_q."),
        (lambda t: t | {"layers.0.more.weight": torch.ones(1)}, "1 weights have no place in this model: layers.0.more"),
        (lambda t: t | {"x_pad_token": torch.ones(1, 7)}, r"x_pad_token has the shape \(1, 7\), expected \(1, 192\)"),
        (lambda t: t | {"layers.1.attention.qkv.weight": torch.ones(7, 192)}, "has 7 rows, expected those of 3"),
        (lambda t: without(t, "layers.0.attention.q_norm.weight"), "tells the model's size is missing"),
        (lambda t: t | {"layers.1.attention.qkv.weight": torch.ones(576, 96, dtype=torch.uint8)}, "stored as U8"),
        (lambda t: in_float8(t) | {"layers.1.attention.qkv.weight_scale": torch.ones(9, 4)}, r"has the shape \(9, 4\)"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named_before_they_are_read(tmp_path, tensors, change, message, monkeypatch):
    path = write(tmp_path / "z.safetensors", change(original(tensors)))
    monkeypatch.setattr("slipstream.models.z_image.loading.read_ahead", None)
    with pytest.raises(ModelError, match=message) as caught:
        load_transformer(path, CPU, torch.float32)
    assert caught.value.where == str(path)


def test_pickles_in_a_folder_are_named(tmp_path):
    folder = tmp_path / "model/transformer"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text((FOLDER / "config.json").read_text())
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"only diffusion_pytorch_model.bin, which is not opened"):
        resolve_parts(str(tmp_path / "model"), "tiny/turbo")


def test_a_missing_shard_is_seen_when_the_model_is_looked_up(tmp_path):
    folder = tmp_path / "model/transformer"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text((FOLDER / "config.json").read_text())
    save_file({"x_pad_token": torch.zeros(1, 192)}, folder / "m-00001-of-00002.safetensors")
    names = {"x_pad_token": "m-00001-of-00002.safetensors", "cap_pad_token": "m-00002-of-00002.safetensors"}
    (folder / "m.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(ModelError, match=r"1 of 2 weight files are missing: m-00002") as caught:
        resolve_parts(str(tmp_path / "model"), "tiny/turbo")
    assert caught.value.where == str(folder)


def test_paths_that_are_nowhere_are_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    names = ["models/a/z.safetensors", str(Path("/no/such/z.safetensors")), "z.safetensors", "./models/z", "~/nothing"]
    for name in names:
        with pytest.raises(ModelError, match="no such file or folder"):
            resolve_parts(name, "tiny/turbo")


def test_one_of_several_files_is_told_from_a_whole_one(tmp_path, tensors):
    path = write(tmp_path / "diffusion_pytorch_model-00001-of-00003.safetensors", tensors)
    with pytest.raises(ModelError, match="one of the several files") as caught:
        resolve_parts(str(path), "tiny/turbo")
    assert "in which `transformer/` lies" in (caught.value.fix or "")
