"""The benchmark of caching and previews runs on the tiny size, part by part."""

from __future__ import annotations

import json

import pytest

OPTIONS = ["--size", "tiny", "--device", "cpu", "--pictures", "3", "--captions", "8", "--repeats", "1"]


@pytest.fixture
def small(benchmark, monkeypatch):
    module = benchmark("caching")
    monkeypatch.setattr(module, "CACHE_ENTRIES", 20)
    monkeypatch.setattr(module, "SIZES", ((160, 128), (128, 128), (192, 144)))
    monkeypatch.setattr(module, "PREVIEW_SIDES", (512,))
    monkeypatch.setattr(module, "PREVIEW_STEPS", 1)
    return module


def test_every_part_has_its_figures(small, tmp_path):
    assert small.main([*OPTIONS, "--previews", "--out", str(tmp_path / "caching.json")]) == 0
    report = json.loads((tmp_path / "caching.json").read_text())
    assert report["pictures: whole"]["product_views_per_second"] > 0
    assert report["captions"]["in_batches_per_second"] > 0
    assert report["cache of 10,000 entries"]["second_look_ms"] >= 0
    assert report["previews: 64, batch 8"]["warm_seconds_per_picture"] > 0


def test_a_part_that_fails_leaves_the_others_alone(small, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(small.ImageCodec, "encode", broken)
    assert small.main([*OPTIONS, "--out", str(tmp_path / "caching.json")]) == 2
    report = json.loads((tmp_path / "caching.json").read_text())
    assert report["pictures: whole"]["error"] == "RuntimeError: no such kernel"
    assert report["captions"]["in_batches_per_second"] > 0
