"""MODEL: three panels told apart by `variant`; only Turbo has an adapter; names lead to the right files."""

from pathlib import Path

import pytest

from slipstream.config.advice import advise
from slipstream.config.run_config import parse_config
from slipstream.config.variants import (
    VARIANTS,
    adapter_source,
    cache_root,
    extras_for,
    extras_source,
    preview_guidance,
    preview_steps,
    variant_named,
    variant_of,
)
from slipstream.core.errors import ConfigError

ADAPTERS = "ostris/zimage_turbo_training_adapter/zimage_turbo_training_adapter"


def config(*overrides: str, **model: object):
    return parse_config({"job": {"name": "a"}, "datasets": [{"path": "p"}], "model": model}, overrides)


def test_without_a_variant_it_is_turbo_and_defaults_follow_the_variant():
    assert config().model.name_or_path == "Tongyi-MAI/Z-Image-Turbo"
    assert config(variant="de_turbo").model.name_or_path == "ostris/Z-Image-De-Turbo"
    assert config(variant="base").model.name_or_path == "Tongyi-MAI/Z-Image"


def test_only_turbo_has_a_training_adapter():
    assert [name for name, facts in VARIANTS.items() if facts.uses_training_adapter] == ["turbo"]
    assert not hasattr(config(variant="de_turbo").model, "training_adapter")


@pytest.mark.parametrize("variant", ["de_turbo", "base"])
@pytest.mark.parametrize("adapter", ["v2", "none", None])
def test_an_adapter_elsewhere_is_refused_with_the_reason(variant, adapter):
    with pytest.raises(ConfigError, match=r"model\.training_adapter: only Turbo .* remove this line"):
        config(variant=variant, training_adapter=adapter)


@pytest.mark.parametrize("adapter", [None, "", False])
def test_turbo_without_an_adapter_must_be_asked_for_by_name(adapter):
    with pytest.raises(ConfigError, match=r'undoes its distillation.*"none" opts out'):
        config(training_adapter=adapter)
    assert adapter_source(config(training_adapter="none").model) is None


@pytest.mark.parametrize("adapter", ["v3", "ostris/zimage_turbo_training_adapter", "adapter.bin"])
def test_an_unknown_adapter_is_refused(adapter):
    with pytest.raises(ConfigError, match=r"v1, v2, none, `org/repo/file\.safetensors`"):
        config(training_adapter=adapter)


def test_adapter_sources():
    assert adapter_source(config().model) == f"{ADAPTERS}_v2.safetensors"
    assert adapter_source(config(training_adapter="v1").model) == f"{ADAPTERS}_v1.safetensors"
    assert adapter_source(config(training_adapter="me/mine/a.safetensors").model) == "me/mine/a.safetensors"
    tiny = config(name_or_path="tiny/turbo", training_adapter="v1").model
    assert adapter_source(tiny) == "tiny/adapters/training_adapter_v1.safetensors"
    assert adapter_source(config(variant="de_turbo").model) is None


def test_extras_sources():
    assert extras_source(config().model) == "Tongyi-MAI/Z-Image-Turbo"
    assert extras_source(config(variant="de_turbo").model) == "Tongyi-MAI/Z-Image-Turbo"
    assert extras_source(config(variant="base").model) == "Tongyi-MAI/Z-Image"
    assert extras_source(config(variant="base", name_or_path="tiny/base").model) == "tiny/turbo"
    assert extras_source(config(name_or_path="/models/turbo").model) == "/models/turbo"
    assert extras_source(config(variant="de_turbo", extras_from="/models/x").model) == "/models/x"
    assert extras_source(config(name_or_path="/models/z.safetensors").model) == "Tongyi-MAI/Z-Image-Turbo"
    assert extras_source(config(variant="base", name_or_path="a/b/z.safetensors").model) == "Tongyi-MAI/Z-Image"


def test_names_alone():
    assert (variant_of("tiny/de-turbo"), extras_for("tiny/de-turbo")) == ("de_turbo", "tiny/turbo")
    assert extras_for("ostris/Z-Image-De-Turbo@main") == "Tongyi-MAI/Z-Image-Turbo"
    assert (variant_of("/some/folder"), extras_for("/some/folder")) == ("turbo", "/some/folder")


@pytest.mark.parametrize(
    ("variant", "name", "meant"),
    [
        ("turbo", "tiny/de-turbo", "de_turbo"),
        ("turbo", "tiny/de_turbo", "de_turbo"),
        ("turbo", "Tongyi-MAI/Z-Image", "base"),
        ("de_turbo", "Tongyi-MAI/Z-Image-Turbo", "turbo"),
        ("de_turbo", "Tongyi-MAI/Z-Image-Turbo@main", "turbo"),
        ("base", "ostris/Z-Image-De-Turbo", "de_turbo"),
        ("turbo", "ostris/Z-Image-De-Turbo/z_image_de_turbo_v1_bf16.safetensors", "de_turbo"),
    ],
)
def test_a_known_name_under_another_variant_is_refused(variant, name, meant):
    with pytest.raises(ConfigError, match=f"set model.variant to '{meant}'"):
        config(variant=variant, name_or_path=name)


@pytest.mark.parametrize(
    ("variant", "name", "hint"),
    [
        ("turbo", "/models/z_image_de_turbo_v1_bf16.safetensors", "de_turbo"),
        ("de_turbo", "someone/Z-Image-Turbo-finetune@v2", "turbo"),
        ("base", "models/z-image-turbo/", "turbo"),
        ("turbo", "/models/Z-Image-Turbo", None),
        ("base", "/turbo/mine.safetensors", None),
    ],
)
def test_a_name_that_suggests_another_variant_is_pointed_out(variant, name, hint):
    advice = [line for line in advise(config(variant=variant, name_or_path=name), None) if "suggests" in line]
    assert len(advice) == (hint is not None)
    assert hint is None or f"set model.variant to {hint}" in advice[0]


def test_unknown_names_belong_to_any_variant():
    assert variant_named("someone/finetune") is None
    assert config(variant="base", name_or_path="someone/finetune@v2").model.name_or_path == "someone/finetune@v2"


@pytest.mark.parametrize("variant", ["de-turbo", "edit", None, ["turbo"]])
def test_an_unknown_variant_is_refused(variant):
    with pytest.raises(ConfigError, match=r"model\.variant: got .*expected 'turbo', 'de_turbo' or 'base'"):
        config(variant=variant)


def test_previews_are_the_variants_unless_set():
    assert (preview_steps(config()), preview_guidance(config())) == (8, 0.0)
    assert (preview_steps(config(variant="de_turbo")), preview_guidance(config(variant="de_turbo"))) == (
        25,
        2.5,
    )
    assert (preview_steps(config(variant="base")), preview_guidance(config(variant="base"))) == (40, 4.0)
    own = config("sample.steps=30", "sample.guidance_scale=0", variant="de_turbo")
    assert (preview_steps(own), preview_guidance(own)) == (30, 0.0)


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("SLIPSTREAM_CACHE", raising=False)
    assert cache_root(config()) == Path("/home/someone/.cache/slipstream")
    monkeypatch.setenv("SLIPSTREAM_CACHE", str(tmp_path))
    assert cache_root(config()) == tmp_path
    assert cache_root(config("advanced.cache_dir=~/mine")) == Path("/home/someone/mine")
