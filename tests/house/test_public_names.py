"""Names that other programs rely on: the tiny family is laid out as the real repositories are, key by key."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from slipstream.core.quiet import quiet_imports
from slipstream.models.z_image.resolve import TINY_ROOT

REAL_INDEX = {
    "_class_name": "ZImagePipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3Model"],
    "tokenizer": ["transformers", "Qwen2Tokenizer"],
    "transformer": ["diffusers", "ZImageTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
"""`model_index.json` of Tongyi-MAI/Z-Image-Turbo without the library's version."""

WEIGHTS = "diffusion_pytorch_model.safetensors"
TRANSFORMERS = ("turbo", "de_turbo", "base")
ADAPTED = {
    f"layers.{block}.{linear}"
    for block in range(5)
    for linear in (
        "attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0",
        "feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaLN_modulation.0",
    )
}  # fmt: skip


def header(path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Key -> (dtype, shape) of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
        return {key: (view.get_dtype(), tuple(view.get_shape())) for key, view in slices.items()}


def fresh_keys(folder) -> dict[str, tuple[int, ...]]:
    """Key -> shape of a transformer that diffusers makes from the folder's config, with weights of its own."""
    with quiet_imports():
        from diffusers import ZImageTransformer2DModel
    with torch.device("meta"):
        model = ZImageTransformer2DModel.from_config(ZImageTransformer2DModel.load_config(folder))
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_index_names_the_real_classes(name):
    index = json.loads((TINY_ROOT / name / "model_index.json").read_text())
    assert {key: value for key, value in index.items() if key != "_diffusers_version"} == REAL_INDEX


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_transformer_has_exactly_the_keys_of_diffusers_class(name):
    folder = TINY_ROOT / name / "transformer"
    stored = header(folder / WEIGHTS)
    assert {key: shape for key, (_, shape) in stored.items()} == fresh_keys(folder)
    assert {dtype for dtype, _ in stored.values()} == {"BF16"}


def test_only_the_sizes_of_the_config_differ_from_the_real_one():
    """The same class and switches: time scale, q/k norms, rotary theta, patches and latent channels."""
    config = json.loads((TINY_ROOT / "turbo/transformer/config.json").read_text())
    real = {"_class_name": "ZImageTransformer2DModel", "in_channels": 16, "all_patch_size": [2],
            "all_f_patch_size": [1], "qk_norm": True, "rope_theta": 256.0, "t_scale": 1000.0}  # fmt: skip
    assert {key: config[key] for key in real} == real


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_adapters_name_the_main_blocks_as_the_real_ones_do(version):
    stored = header(TINY_ROOT / "adapters" / f"training_adapter_{version}.safetensors")
    assert all(key.startswith("diffusion_model.layers.") for key in stored)
    modules = {key.removeprefix("diffusion_model.").rsplit(".lora_", 1)[0] for key in stored}
    assert sorted(stored) == sorted(f"diffusion_model.{name}.lora_{part}.weight" for name in modules for part in "AB")
    assert modules == ADAPTED
    shapes = fresh_keys(TINY_ROOT / "turbo/transformer")
    for name in modules:
        (_, (rank, width)), (_, (height, inner)) = (
            stored[f"diffusion_model.{name}.lora_{part}.weight"] for part in "AB"
        )
        assert rank == inner
        assert (height, width) == shapes[f"{name}.weight"]


def test_diffusers_own_pipeline_loads_the_family_and_draws():
    with quiet_imports():
        from diffusers import ZImagePipeline

        pipe = ZImagePipeline.from_pretrained(TINY_ROOT / "turbo", dtype=torch.float32, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    for part, (_, class_name) in ((name, value) for name, value in REAL_INDEX.items() if isinstance(value, list)):
        assert type(getattr(pipe, part)).__name__ == class_name

    def draw(prompt: str) -> torch.Tensor:
        generator = torch.Generator("cpu").manual_seed(3)
        return pipe(
            prompt=prompt, width=64, height=64, num_inference_steps=8, guidance_scale=0.0, generator=generator,
            output_type="pt",
        ).images[0]  # fmt: skip

    apple, cat = draw("a glossy emoji of red apple"), draw("a noto emoji of cat")
    assert apple.shape == (3, 64, 64)
    assert torch.isfinite(apple).all()
    assert apple.std() > 0.05, "an even surface is no picture"
    assert (apple - cat).abs().mean() > 0.02, "the prompt changes nothing"
