"""The disk cache: what goes in comes out, damaged files count as missing, keys tell everything apart."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from safetensors.torch import save_file

from slipstream.core.errors import DataError, DiskFullError
from slipstream.data.cache import TensorCache, latent_key, text_key


@pytest.fixture
def cache(tmp_path):
    return TensorCache(tmp_path / "cache", "latents")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_goes_in_comes_out(cache, dtype):
    tensor = torch.randn(4, 6, 3).to(dtype).transpose(0, 2)
    assert cache.get("abcd") is None
    assert not cache.has("abcd")
    cache.put("abcd", tensor)
    assert cache.has("abcd")
    back = cache.get("abcd")
    assert back.dtype == dtype
    assert torch.equal(back, tensor)


def test_files_lie_two_levels_deep_and_leave_no_litter(cache):
    cache.put("abcd", torch.zeros(1))
    files = [path.relative_to(cache.root).as_posix() for path in cache.root.rglob("*") if path.is_file()]
    assert files == ["latents/ab/abcd.safetensors"]


def test_kinds_do_not_mix(cache):
    cache.put("abcd", torch.zeros(1))
    assert TensorCache(cache.root, "texts").get("abcd") is None


@pytest.mark.parametrize("look", ["get", "has"])
@pytest.mark.parametrize("damage", ["empty", "short", "rubbish", "other"])
def test_a_damaged_file_counts_as_missing_and_is_removed(cache, look, damage):
    cache.put("abcd", torch.randn(100))
    path = cache.path("abcd")
    whole = path.read_bytes()
    if damage == "other":
        save_file({"else": torch.zeros(1)}, path)
    else:
        path.write_bytes({"empty": b"", "short": whole[:-1], "rubbish": b"x" * 500}[damage])
    assert not getattr(cache, look)("abcd")
    assert not path.exists()
    cache.put("abcd", torch.ones(2))
    assert torch.equal(cache.get("abcd"), torch.ones(2))


def test_a_full_disk_is_told_and_leaves_nothing(cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("slipstream.data.cache.save_file", full)
    with pytest.raises(DiskFullError):
        cache.put("abcd", torch.zeros(1))
    assert not cache.has("abcd")


def test_missing_are_those_that_are_not_there_whole(cache):
    keys = [f"{number:02d}cd" for number in range(6)]
    assert cache.missing(keys) == set(keys)
    for key in keys[:4]:
        cache.put(key, torch.ones(3))
    damaged, lost = cache.path(keys[0]), cache.path(keys[1])
    damaged.write_bytes(damaged.read_bytes()[:-1])
    lost.unlink()
    assert cache.missing([*keys, keys[2]]) == {keys[0], keys[1], keys[4], keys[5]}
    assert not damaged.exists()
    assert cache.missing([]) == set()


def test_a_killed_process_leaves_litter_that_is_no_entry(cache):
    cache.put("abcd", torch.ones(3))
    whole = cache.path("abcd").read_bytes()
    cache.path("abce").with_name(".abce.safetensors.4711.part").write_bytes(whole[:20])
    assert cache.missing(["abcd", "abce"]) == {"abce"}
    cache.put("abce", torch.zeros(2))
    assert torch.equal(cache.get("abce"), torch.zeros(2))


def test_what_was_found_whole_is_looked_at_anew_once_it_changes(cache):
    cache.put("abcd", torch.ones(3))
    assert cache.has("abcd")
    assert cache.has("abcd")
    path = cache.path("abcd")
    path.write_bytes(b"x" * path.stat().st_size)
    os.utime(path, (1, 1))  # clocks of files are coarse
    assert not cache.has("abcd")
    cache.put("abcd", torch.ones(5))
    assert cache.missing(["abcd"]) == set()


def test_a_file_where_the_cache_folder_should_be(tmp_path):
    (tmp_path / "cache").write_text("a file")
    cache = TensorCache(tmp_path / "cache", "latents")
    with pytest.raises(DataError, match="SLIPSTREAM_CACHE"):
        cache.put("abcd", torch.zeros(1))
    with pytest.raises(DataError, match="cache cannot be read"):
        cache.get("abcd")
    with pytest.raises(DataError, match="cache cannot be read"):
        cache.missing(["abcd"])


def test_keys_know_content_transform_and_encoder():
    base = ("content", "transform", "encoder")
    variants = [base, ("other", *base[1:]), ("content", "other", "encoder"), ("content", "transform", "other")]
    assert len({latent_key(*parts) for parts in variants}) == 4
    assert latent_key("ab", "c", "d") != latent_key("a", "bc", "d")
    assert len({text_key("a", "e"), text_key("b", "e"), text_key("a", "f"), text_key("", "e")}) == 4
