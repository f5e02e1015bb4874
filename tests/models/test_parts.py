"""Finding and loading the parts of a model: names, folders, identities, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from slipstream.core.errors import ModelError
from slipstream.models.z_image.identity import weights_identity
from slipstream.models.z_image.loading import SamplingShift, load_sampling_shift, load_transformer
from slipstream.models.z_image.resolve import (
    COMPONENTS,
    TINY_ROOT,
    Source,
    component_folder,
    parse_source,
    resolve_adapter,
    resolve_parts,
)

CPU = torch.device("cpu")


def test_tiny_names_are_the_packaged_folders():
    assert parse_source("tiny/de-turbo").folder == TINY_ROOT / "de_turbo"
    parts = resolve_parts("tiny/turbo", "tiny/turbo")
    assert set(parts.paths) == set(COMPONENTS)
    assert all(origin == "tiny/turbo" for origin in parts.origins.values())
    with pytest.raises(ModelError, match=r"'tiny/turbos'") as caught:
        parse_source("tiny/turbos")
    assert "tiny/turbo" in (caught.value.fix or "")


@pytest.mark.parametrize("name", ["tiny/de-turbo", "tiny/base"])
def test_a_base_with_a_transformer_only_takes_the_rest_from_turbo(name):
    parts = resolve_parts(name, "tiny/turbo")
    assert parts.origins["transformer"] == name
    assert parts.origins["text_encoder"] == parts.origins["vae"] == "tiny/turbo"
    assert weights_identity(parts.paths["transformer"]) != weights_identity(TINY_ROOT / "turbo" / "transformer")


def test_a_part_that_is_nowhere_is_named(tmp_path):
    shutil.copytree(TINY_ROOT / "turbo" / "scheduler", tmp_path / "model" / "scheduler")
    with pytest.raises(ModelError, match="'transformer'"):
        resolve_parts(str(tmp_path / "model"), "tiny/turbo")
    with pytest.raises(ModelError, match="'text_encoder' folder found in tiny/de-turbo"):
        resolve_parts("tiny/de-turbo", "tiny/de-turbo")


def test_a_folder_that_lacks_its_marker_is_not_a_part(tmp_path):
    (tmp_path / "vae").mkdir()
    source = Source("x", folder=tmp_path)
    assert component_folder(source, "vae") is None
    (tmp_path / "vae" / "config.json").write_text("{}")
    assert component_folder(source, "vae") == tmp_path / "vae"


def test_hub_names_with_and_without_a_revision():
    assert parse_source("Tongyi-MAI/Z-Image-Turbo") == Source(
        "Tongyi-MAI/Z-Image-Turbo", repo="Tongyi-MAI/Z-Image-Turbo"
    )
    source = parse_source("org/name@abc123")
    assert (source.repo, source.revision) == ("org/name", "abc123")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, "neither an existing model folder or file nor a name of the hub") for name in ("", "word", "a/b/c")),
        *((name, "no such file or folder") for name in ("/no/such", "./folder", "~/folder", "org/file.safetensors")),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ModelError, match=message) as caught:
        parse_source(name)
    assert caught.value.where == "model.name_or_path"


def test_a_file_on_the_hub_with_and_without_a_revision():
    source = parse_source("org/name/deep/z.safetensors@abc")
    assert (source.repo, source.file, source.revision) == ("org/name", "deep/z.safetensors", "abc")
    assert source.is_file


def test_adapters_by_tiny_name_and_path(tmp_path):
    packaged = TINY_ROOT / "adapters" / "training_adapter_v2.safetensors"
    assert resolve_adapter("tiny/adapters/training_adapter_v2.safetensors") == packaged
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"")
    assert resolve_adapter(str(mine)) == mine
    for name in ("v3", "/nowhere/x.safetensors", "tiny/adapters/nothing.safetensors"):
        with pytest.raises(ModelError, match="no training adapter at") as caught:
            resolve_adapter(name)
        assert caught.value.where == "model.training_adapter"


def test_identity_is_the_content_wherever_it_lies(tmp_path):
    source = TINY_ROOT / "turbo" / "text_encoder"
    shutil.copytree(source, tmp_path / "copy")
    assert weights_identity(tmp_path / "copy") == weights_identity(source)
    path = tmp_path / "copy" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert weights_identity(tmp_path / "copy") != weights_identity(source)


def test_identity_of_a_single_file_is_its_content_and_is_read_once(tmp_path, monkeypatch):
    source = TINY_ROOT / "turbo/transformer/diffusion_pytorch_model.safetensors"
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    shutil.copy(source, path)
    shutil.copy(source, other)
    before = weights_identity(path)
    assert before == weights_identity(other)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda self: pytest.fail("read again"))
        assert weights_identity(path) == before
    path.write_bytes(path.read_bytes()[:-1])
    assert weights_identity(path) != before


def test_another_model_is_refused(tmp_path):
    folder = tmp_path / "transformer"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_class_name": "FluxTransformer2DModel"}))
    with pytest.raises(ModelError, match="this is a FluxTransformer2DModel, not a Z-Image transformer"):
        load_transformer(folder, CPU, torch.float32)


@pytest.mark.parametrize("damage", ["no config", "broken config", "no weights", "cut weights"])
def test_a_damaged_folder_is_a_model_error_that_names_it(tmp_path, damage):
    folder = tmp_path / "transformer"
    shutil.copytree(TINY_ROOT / "turbo" / "transformer", folder)
    weights = folder / "diffusion_pytorch_model.safetensors"
    if damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "broken config":
        (folder / "config.json").write_text("{")
    elif damage == "no weights":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError) as caught:
        load_transformer(folder, CPU, torch.float32)
    assert str(caught.value.where).startswith(str(folder))


def test_loaded_parts_are_frozen_in_evaluation_mode_and_in_the_asked_precision(tiny):
    for model in (tiny.transformer, tiny.text.model, tiny.codec.vae):
        assert isinstance(model, nn.Module)
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    half = load_transformer(TINY_ROOT / "turbo" / "transformer", CPU, torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_turbos_shift_is_three_at_every_size():
    shift = load_sampling_shift(TINY_ROOT / "turbo" / "scheduler")
    assert shift.at(64) == shift.at(4096) == 3.0


def test_a_dynamic_shift_is_flux_mu(tmp_path):
    """mu runs in a straight line from 0.5 at 256 tokens to 1.15 at 4096; the shift is e^mu."""
    shift = SamplingShift(static=3.0, dynamic=True)
    assert shift.at(256) == pytest.approx(math.exp(0.5))
    assert shift.at(4096) == pytest.approx(math.exp(1.15))
    assert shift.at(2176) == pytest.approx(math.exp(0.825))
    (tmp_path / "scheduler_config.json").write_text(
        json.dumps({"shift": 6.0, "use_dynamic_shifting": True, "max_shift": 2.0})
    )
    assert load_sampling_shift(tmp_path) == SamplingShift(static=6.0, dynamic=True, max_shift=2.0)


def test_identities_tell_encoders_precisions_and_models_apart(tiny):
    from dataclasses import replace

    half = replace(tiny.family, text_encoder_dtype=torch.bfloat16, transformer_dtype=torch.bfloat16)
    assert half.text_identity != tiny.family.text_identity
    assert half.latent_identity != tiny.family.latent_identity
    other = replace(tiny.family, parts=resolve_parts("tiny/base", "tiny/turbo"))
    assert (other.text_identity, other.latent_identity) == (tiny.family.text_identity, tiny.family.latent_identity)
