"""A LoRA saved here, loaded by diffusers' own pipeline: no key is left over, and the picture is our preview."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from slipstream.adapters.files import load_lora, save_lora
from slipstream.adapters.inject import inject_fresh, inject_lora, inject_weights, select_targets
from slipstream.adapters.kinds import Recipe
from slipstream.core.quiet import quiet_imports
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.previews.render import Picture, initial_noise, render
from slipstream.training.preview_stage import scaled

PROMPT, NEGATIVE, SEED = "a noto emoji of cat", "a flat emoji of tractor", 17
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3", "adaLN_modulation.0")


def picture(guidance_scale: float, width: int = 128, height: int = 96) -> Picture:
    return Picture(PROMPT, NEGATIVE, width, height, SEED, 8, guidance_scale)


def ours(tiny, transformer, wanted: Picture) -> Tensor:
    return next(image for _, image in render(tiny.renderer(transformer), [wanted]))


def theirs(pipeline, wanted: Picture) -> Tensor:
    """The pipeline's picture (3, H, W); its guidance argument is CFG - 1, and 0 is off."""
    image = pipeline(
        prompt=wanted.prompt, negative_prompt=wanted.negative_prompt, width=wanted.width, height=wanted.height,
        num_inference_steps=wanted.steps, guidance_scale=max(0.0, wanted.guidance_scale - 1),
        generator=torch.Generator("cpu").manual_seed(wanted.seed), output_type="pt",
    ).images[0]  # fmt: skip
    return image.float().cpu()


@pytest.fixture(scope="module")
def pipeline():
    with quiet_imports():
        from diffusers import ZImagePipeline

        loaded = ZImagePipeline.from_pretrained(TINY_ROOT / "turbo", torch_dtype=torch.float32, local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    """A LoRA file whose every A and B is random (alpha is not the rank), and the transformer with that file on it."""
    carrier = copy.deepcopy(tiny.transformer)
    lora = inject_lora(carrier, select_targets(carrier, "layers", TARGETS), rank=4, alpha=6.0, seed=1)
    for index, parameter in enumerate(lora.parameters()):
        torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(index))
    path = tmp_path_factory.mktemp("lora") / "style.safetensors"
    save_lora(path, lora, torch.bfloat16, {"rank": "4", "alpha": "6"})
    with_file = copy.deepcopy(tiny.transformer)
    inject_weights(with_file, load_lora(path).pairs, role="lora", source=str(path))
    return path, with_file


@pytest.fixture
def with_lora(pipeline, trained, caplog):
    with caplog.at_level("WARNING"):
        pipeline.load_lora_weights(trained[0])
    yield pipeline
    pipeline.unload_lora_weights()


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 3.0])
def test_without_a_lora_the_picture_is_the_same(tiny, pipeline, guidance_scale):
    wanted = picture(guidance_scale)
    assert (ours(tiny, tiny.transformer, wanted) - theirs(pipeline, wanted)).abs().max() <= 2 / 255


def test_every_key_of_the_file_finds_its_module(with_lora, trained, caplog):
    from peft.tuners.lora import LoraLayer

    pairs = load_lora(trained[0]).pairs
    layers = {name: module for name, module in with_lora.transformer.named_modules() if isinstance(module, LoraLayer)}
    assert set(layers) == set(pairs)
    assert len(layers) == 5 * 8
    for name, (a, b) in pairs.items():
        (adapter,) = layers[name].lora_A.keys()
        loaded = (
            layers[name].lora_B[adapter].weight @ layers[name].lora_A[adapter].weight * layers[name].scaling[adapter]
        )
        torch.testing.assert_close(loaded, b.float() @ a.float(), rtol=1e-4, atol=1e-5)
    assert "unexpected" not in caplog.text.lower()
    assert "missing" not in caplog.text.lower()


@pytest.mark.parametrize("guidance_scale", [0.0, 3.0])
def test_with_the_lora_the_picture_is_our_preview(tiny, with_lora, trained, guidance_scale):
    wanted = picture(guidance_scale)
    preview = ours(tiny, trained[1], wanted)
    assert (preview - theirs(with_lora, wanted)).abs().max() <= 2 / 255
    assert (preview - ours(tiny, tiny.transformer, wanted)).abs().max() > 0.1


def test_strength_is_diffusers_adapter_scale(tiny, with_lora, trained):
    path, _ = trained
    half = copy.deepcopy(tiny.transformer)
    branches, _ = inject_weights(half, load_lora(path).pairs, role="lora", source=str(path))
    branches.set_strength(0.5)
    wanted = picture(0.0)
    with_lora.set_adapters(with_lora.get_active_adapters(), 0.5)
    assert (ours(tiny, half, wanted) - theirs(with_lora, wanted)).abs().max() <= 2 / 255


@pytest.mark.parametrize("lora_scale", [0.0, 0.6, 1.2])
def test_a_pictures_lora_scale_is_diffusers_adapter_weight(tiny, with_lora, trained, lora_scale):
    path, _ = trained
    carrier = copy.deepcopy(tiny.transformer)
    branches, _ = inject_weights(carrier, load_lora(path).pairs, role="lora", source=str(path))
    renderer = dataclasses.replace(tiny.renderer(carrier), at_lora_scale=scaled([(branches, 1.0)]))
    wanted = dataclasses.replace(picture(0.0), lora_scale=lora_scale)
    with_lora.set_adapters(with_lora.get_active_adapters(), lora_scale)
    drawn = next(image for _, image in render(renderer, [wanted]))
    assert (drawn - theirs(with_lora, wanted)).abs().max() <= 2 / 255


@pytest.mark.parametrize("caption", ["", "a noto emoji of cat", "ein 火 mit Größe 🔥", "word " * 600])
def test_caption_features_equal_the_pipelines(tiny, pipeline, caption):
    with torch.no_grad():
        (expected,), _ = pipeline.encode_prompt([caption], do_classifier_free_guidance=False)
    got = tiny.features(caption)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_initial_noise_is_the_pipelines_draw(pipeline):
    wanted = picture(0.0, width=160, height=96)
    generator = torch.Generator("cpu").manual_seed(SEED)
    drawn = pipeline.prepare_latents(1, 16, 96, 160, torch.float32, torch.device("cpu"), generator)
    assert torch.equal(initial_noise(wanted), drawn)


def test_a_picture_does_not_depend_on_its_batch_or_order(tiny):
    pictures = [
        picture(0.0, 64, 64),
        Picture("a blob emoji of fire", "", 96, 64, 3, 8, 0.0),
        Picture("a blob emoji of tractor " * 8, "", 64, 64, 4, 8, 0.0),
    ]
    before = torch.get_rng_state()
    together = dict(render(tiny.renderer(), pictures))
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(together) == [0, 1, 2]
    assert together[1].shape == (3, 64, 96)
    for index, wanted in enumerate(pictures):
        assert (together[index] - ours(tiny, tiny.transformer, wanted)).abs().max() <= 1 / 255


@pytest.mark.parametrize("factor", [None, 8])
def test_diffusers_draws_our_lokr(tiny, pipeline, tmp_path, factor):
    carrier = copy.deepcopy(tiny.transformer)
    recipe = Recipe("lokr", 4, 6.0, lokr_factor=factor)
    lokr = inject_fresh(carrier, select_targets(carrier, "layers", TARGETS), recipe, seed=1)
    for index, parameter in enumerate(lokr.parameters()):
        torch.nn.init.normal_(parameter, std=0.08, generator=torch.Generator().manual_seed(index))
    save_lora(tmp_path / "lokr.safetensors", lokr, torch.float32, {})
    wanted = picture(0.0, 64, 64)
    pipeline.load_lora_weights(tmp_path / "lokr.safetensors")
    drawn = theirs(pipeline, wanted)
    pipeline.unload_lora_weights()
    preview = ours(tiny, carrier, wanted)
    assert (preview - drawn).abs().max() <= 2 / 255
    assert (preview - ours(tiny, tiny.transformer, wanted)).abs().max() > 0.1
