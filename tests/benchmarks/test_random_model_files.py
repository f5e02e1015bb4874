"""The random model on disk is whole, seeded, and of the published sizes; the product loads it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from slipstream.core.hashing import hash_file


@pytest.fixture(scope="module")
def device():
    return torch.device("cpu")


def test_the_same_seed_writes_the_same_files_in_shards(benchmark, tmp_path, monkeypatch, device):
    writer, sizes = benchmark("write_random_model"), benchmark("random_model")
    monkeypatch.setattr(writer, "SHARD_BYTES", 3 << 20)
    for name in ("one", "two"):
        writer.write_model(tmp_path / name, sizes.model_size("tiny"), device, seed=4)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.safetensors"))
    assert sum(path.parts[0] == "transformer" for path in files) > 1
    assert all(hash_file(tmp_path / "one" / path) == hash_file(tmp_path / "two" / path) for path in files)
    folder = tmp_path / "one/transformer"
    index = json.loads((folder / "diffusion_pytorch_model.safetensors.index.json").read_text())["weight_map"]
    for name in set(index.values()):
        with safe_open(folder / name, "pt") as file:
            assert set(file.keys()) == {key for key, value in index.items() if value == name}


def test_the_product_loads_every_part(benchmark, tmp_path, device):
    from slipstream.adapters.training_adapter import attach_training_adapter
    from slipstream.models.z_image.family import ZImage
    from slipstream.models.z_image.resolve import resolve_parts

    writer, sizes = benchmark("write_random_model"), benchmark("random_model")
    writer.write_model(tmp_path, sizes.model_size("tiny"), device)
    model = ZImage(resolve_parts(str(tmp_path), str(tmp_path)), device, torch.float32, torch.float32)
    features = model.load_text_encoder().encode(["a red fox"])[0]
    assert features.isfinite().all()
    assert model.load_shift().static == 3.0
    assert model.load_codec().encode(torch.zeros(1, 3, 64, 64)).isfinite().all()
    transformer = model.load_transformer()
    assert attach_training_adapter(transformer, tmp_path / writer.ADAPTER).matched == "40 of 40 modules matched"


def test_the_real_adapter_has_the_published_size(benchmark):
    sizes = benchmark("random_model")
    shapes = sizes.adapter_shapes(sizes.model_size("real"))
    assert len(shapes) == 240
    num_bytes = sum(2 * rows * columns for pair in shapes.values() for rows, columns in pair)
    assert abs(num_bytes - 340_194_488) < 100_000


def test_shards_are_named_as_diffusers_does(benchmark):
    writer = benchmark("write_random_model")
    assert writer.shard_names([1, 2], "model") == ["model.safetensors"] * 2
    half = writer.SHARD_BYTES // 2
    assert writer.shard_names([half, half, half], "m") == ["m-00001-of-00002.safetensors"] * 2 + [
        "m-00002-of-00002.safetensors"
    ]
