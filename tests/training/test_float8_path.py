"""Float8 products in a training: which path it takes, what the log says, and where it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.config.run_config import parse_config
from slipstream.core.errors import ConfigError
from slipstream.kernels import float8
from slipstream.models.z_image.fused_linear8 import FusedLinear8
from slipstream.runs.layout import RunDir
from slipstream.training.build import make_reporter
from slipstream.training.fast_path import Kernels, branches_of, fast_path
from slipstream.training.float8_path import distinct_products, float8_path
from slipstream.training.setting import settle
from slipstream.training.stages import prepare_transformer

CPU = torch.device("cpu")


@pytest.fixture
def transformer(tiny):
    return replace(tiny.family, transformer_scheme="float8").load_transformer()


def lora_on(transformer, *targets):
    return inject_lora(transformer, select_targets(transformer, "layers", targets), rank=4, alpha=4.0, seed=1)


def test_the_cpu_emulates_them_on_the_fast_path_when_asked(transformer):
    lora = lora_on(transformer, "to_q", "w2")
    path, lines = fast_path(transformer, lora, CPU, float8=True)
    assert all(isinstance(linear, FusedLinear8) for block in path.stack.blocks for linear in block.linears)
    assert "float8 products: emulated on the CPU, which is slow" in lines
    assert any("held transposed too" in line for line in lines)
    assert path.kernels == Kernels("torch", {})


def test_without_them_float8_weights_train_module_by_module(transformer):
    lora = lora_on(transformer, "to_q")
    path, (line,) = fast_path(transformer, lora, CPU)
    assert path is None
    assert line.startswith("blocks: module by module")


def test_captions_are_refined_at_every_step_where_a_branch_lies_outside_of_the_fused_blocks(transformer):
    names = select_targets(transformer, ("layers", "context_refiner"), ("to_q",))
    lora = inject_lora(transformer, names, rank=4, alpha=4.0, seed=1)
    path, lines = fast_path(transformer, lora, CPU, float8=True)
    assert any(line.startswith("captions: refined anew at every step (context_refiner.0") for line in lines)
    text = torch.randn(20, transformer.cap_embedder[0].weight.shape[0])
    path.predict(torch.randn(1, 16, 8, 8), torch.tensor([0.5]), [text]).sum().backward()
    learned = [name for name, parameter in lora.named_parameters() if name.endswith(".b") and parameter.grad.any()]
    assert any(name.startswith("context_refiner") for name in learned)


def test_weights_in_another_scheme_are_refused_also_where_no_branch_sits_beside_them(tiny):
    transformer = replace(tiny.family, transformer_scheme="int8").load_transformer()
    lora = lora_on(transformer, "adaLN_modulation.0")
    path, (line,) = fast_path(transformer, lora, CPU, float8=True)
    assert path is None
    assert "quantized and not multiplied in float8" in line


@pytest.fixture
def setting(tmp_path):
    """`setting(*overrides)` of a training with float8 weights, and the reporter of its run."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (64, 64), (80, 20, 20)).save(folder / "fox.png")

    def settled(*overrides):
        mapping = {
            "job": {"name": "felt", "output_dir": str(tmp_path / "runs"), "device": "cpu"},
            "model": {"variant": "turbo", "name_or_path": "tiny/turbo"},
            "quantization": {"transformer": "float8"},
            "datasets": [{"path": str(folder), "resolutions": [64]}],
        }
        config = parse_config(mapping, overrides)
        run = RunDir(tmp_path / "run")
        run.path.mkdir()
        return settle(config), make_reporter(config, run, lambda: False), run

    return settled


def test_asked_for_and_kept_off_the_fast_path_they_are_refused(setting):
    settings, reporter, _ = setting("quantization.compute_dtype=float8", "target.dropout=0.5")
    with pytest.raises(ConfigError, match=r"need the fused blocks; .*the LoRA has dropout") as refused:
        prepare_transformer(settings, reporter)
    assert refused.value.where == "quantization.compute_dtype"


def test_the_log_names_the_products(setting):
    settings, reporter, run = setting("quantization.compute_dtype=float8")
    assert prepare_transformer(settings, reporter).fast is not None
    text = run.log.read_text()
    assert "blocks: fused" in text
    assert "float8 products: emulated on the CPU" in text
    assert any("products of the blocks' linears: float8" in line for line in settings.describe())


def test_every_shape_is_timed_once_with_the_most_ranks(transformer):
    blocks = list(transformer.layers)
    inject_lora(transformer, ["layers.1.attention.to_q"], rank=4, alpha=4.0, seed=1)
    products = distinct_products(blocks, [branches_of(block) for block in blocks])
    shapes = [(product.columns, product.inner) for product in products]
    assert len(shapes) == len(set(shapes)) == 7
    assert {product.ranks for product in products if (product.columns, product.inner) == (576, 192)} == {64}
    assert {product.ranks for product in products if (product.columns, product.inner) == (1024, 192)} == {0}


def test_a_small_card_transposes_at_every_use(transformer, monkeypatch):
    from slipstream.training import float8_path as room

    monkeypatch.setattr(room, "free_bytes", lambda device: 8 * 2**30)
    monkeypatch.setattr(room, "chosen_float8", lambda *rest: float8.ChosenFloat8(None, {}, "timed"))
    blocks = list(transformer.layers)
    found = float8_path(blocks, [{} for _ in blocks], torch.device("cuda", 0), {})
    assert not found.keep_transposed
    assert "transposed anew for every gradient" in found.lines[1]


def test_the_fastest_is_taken_at_every_shape_and_kept_when_known(monkeypatch):
    """Candidates that are timed on a GPU stand in here, each with the time that it would take."""
    took = {"torch": 3.0, "Triton a": 1.0, "Triton b": 2.0}

    def times(candidates, device, product, rows):
        return {name: took[name] for name in candidates if name in took}

    monkeypatch.setattr(float8, "_candidates", lambda: dict.fromkeys(took, float8.scaled_multiply))
    monkeypatch.setattr(float8, "_times", times)
    products = [float8.Product(48, 96, 64), float8.Product(96, 48, 64)]
    chosen = float8.fastest_float8(CPU, products, [100, 200])
    assert set(chosen.names.values()) == {"Triton a"}
    assert chosen.line.startswith("float8 products: Triton a at 4 of 4 shapes timed; ")
    known = {"48x96 at 100": "Triton b", "96x48 at 200": "gone"}
    names = float8.fastest_float8(CPU, products, [100, 200], known).names
    assert names["48x96 at 100"] == "Triton b"
    assert set(list(names.values())[1:]) == {"Triton a"}
    took.clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    with pytest.raises(RuntimeError, match="no float8 product runs on a GPU"):
        float8.fastest_float8(CPU, products, [100])


def test_float8_chosen_by_itself_says_so_where_the_blocks_are_not_fused(setting):
    settings, reporter, run = setting("target.dropout=0.5")
    settings = replace(settings, compute=replace(settings.compute, float8_products=True))
    assert prepare_transformer(settings, reporter).fast is None
    text = run.log.read_text()
    assert "products of the blocks' linears: fp32 after all, since float8 needs the fused blocks" in text
    assert text.count("attention: ") == 1
