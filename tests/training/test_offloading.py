"""Offloaded blocks in a training: the same numbers to the last bit, the log's line, the forecast, and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from slipstream.adapters.files import load_lora
from slipstream.adapters.folding import FoldedBranches, FoldedPacks, dense_hosts
from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter
from slipstream.config.run_config import parse_config
from slipstream.core.errors import ConfigError
from slipstream.kernels.attention import plain_attention
from slipstream.memory.pinned import HostArena, Offload
from slipstream.memory.plan import GIB
from slipstream.models.z_image.layout import RopeSpec, build_layout
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.models.z_image.stack import BlockStack
from slipstream.models.z_image.streamed import Streaming
from slipstream.runs.layout import RunDir
from slipstream.training import keeping, memory_forecast, offloading
from slipstream.training.build import make_reporter
from slipstream.training.device import Compute
from slipstream.training.fast_path import branches_of
from slipstream.training.memory_forecast import expected_memory
from slipstream.training.offloading import choose_offloading
from slipstream.training.setting import settle
from slipstream.training.stages import Adapted, prepare_transformer

CPU = torch.device("cpu")
GPU = Compute(torch.device("cuda"), torch.bfloat16, torch.bfloat16, ())
ADAPTER = TINY_ROOT / "adapters" / "training_adapter_v2.safetensors"


@pytest.fixture
def config_of(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (64, 64), (80, 20, 20)).save(folder / "fox.png")

    def config_of(*overrides):
        mapping = {
            "job": {"name": "felt", "output_dir": str(tmp_path / "runs"), "device": "cpu"},
            "model": {"variant": "turbo", "name_or_path": "tiny/turbo"},
            "quantization": {"transformer": "float8", "compute_dtype": "float8"}, "sample": {"prompts": []},
            "datasets": [{"path": str(folder), "resolutions": [64]}],
        }  # fmt: skip
        return parse_config(mapping, overrides)

    return config_of


@pytest.fixture
def prepared(tmp_path, config_of):
    """`prepared(*overrides)`: (the transformer as a training has it, its log)."""

    def prepared(*overrides) -> tuple[Adapted, str]:
        config = config_of(*overrides)
        run = RunDir(tmp_path / f"run{len(list(tmp_path.glob('run*')))}")
        run.path.mkdir()
        adapted = prepare_transformer(settle(config), make_reporter(config, run, lambda: False))
        generator = torch.Generator().manual_seed(7)
        for parameter in adapted.lora.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
        return adapted, run.log.read_text()

    return prepared


def figures(adapted: Adapted, texts) -> list[torch.Tensor]:
    """Prediction and gradients, and predictions without the training adapter, and with it again."""
    noisy = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    sigma, predict = torch.tensor([0.6]), adapted.fast.predict
    velocity = predict(noisy, sigma, texts)
    found = [velocity.detach(), *torch.autograd.grad(velocity.square().mean(), adapted.lora.parameters())]
    with torch.no_grad():
        with adapted.adapter.removed():
            found.append(predict(noisy, sigma, texts))
        found.append(predict(noisy, sigma, texts))
    return found


def test_a_training_with_offloaded_blocks_has_the_same_numbers(prepared, tiny):
    texts = [tiny.features("a noto emoji of cat")]
    resident, log = prepared()
    assert resident.fast.stack.streamed.number == 0
    expected = figures(resident, texts)
    assert not torch.equal(expected[-2], expected[-1])
    for percent in (50, 100):
        adapted, log = prepared(f"quantization.layer_offloading={percent}", "training.gradient_checkpointing=full")
        number = len(adapted.transformer.layers)
        assert adapted.fast.stack.streamed.number == round(percent * number / 100)
        assert "CUDA graphs: none" in log
        assert all(torch.equal(*pair) for pair in zip(figures(adapted, texts), expected, strict=True))


def test_sides_of_streaming_blocks_are_exchanged_without_a_copy(prepared, tiny):
    adapted, _ = prepared("quantization.layer_offloading=100")
    linear = adapted.transformer.get_submodule("layers.0.attention.to_q").base
    assert linear.computes_on == CPU
    with_adapter = linear.codes
    with adapted.adapter.removed():
        assert linear.codes is not with_adapter
        without = linear.codes
    assert linear.codes is with_adapter
    with adapted.adapter.removed():
        assert linear.codes is without


def test_dense_weights_stream_with_the_adapter_in_and_out(tiny):
    """Dense blocks are fused on a GPU alone; here the stack is built by hand."""
    found = []
    for blocks in ((), (0, 1, 2, 3)):
        offload = Offload(lambda name: name.startswith("layers.") and "adaLN" not in name, HostArena(pinned=False))
        model = tiny.family.load_transformer(offload=offload if blocks else None)
        adapter = attach_training_adapter(model, ADAPTER)
        assert adapter.branches is not None
        dense = dense_hosts(adapter.branches)
        folded = FoldedBranches(adapter.branches, dense, CPU, offload if blocks else None)
        lora = inject_lora(model, select_targets(model, "layers", ("to_q", "w2")), rank=4, alpha=4.0, seed=1)
        for number, parameter in enumerate(lora.parameters()):
            torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(number))
        number = len(model.layers)
        streaming = Streaming(tuple(range(number))) if blocks else Streaming()
        stack = BlockStack(
            list(model.layers), [branches_of(block) for block in model.layers], plain_attention, streaming=streaming
        )
        layout = build_layout(RopeSpec.of(model), (32,), 6, 8, CPU)
        generator = torch.Generator().manual_seed(2)
        x = torch.randn(1, layout.joint.cos.shape[1], 192, generator=generator)
        time = torch.randn(1, model.t_embedder.mlp[2].out_features, generator=generator)
        with torch.no_grad():
            stack.refresh()
            own = [stack(x, time, layout.joint)]
            with folded.taken_out():
                own.append(stack(x, time, layout.joint))
            own.append(stack(x, time, layout.joint))
        found.append(own)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert torch.equal(found[0][0], found[0][2])
    assert not torch.equal(found[0][0], found[0][1])


def test_packs_wait_in_the_arena_beside_the_codes(tiny):
    arena = HostArena(pinned=False)
    offload = Offload(lambda name: name.startswith("layers.1."), arena)
    packs = FoldedPacks(load_lora(ADAPTER).modules, "float8", CPU, offload)
    model = replace(tiny.family, transformer_scheme="float8").load_transformer(watch=packs.watch, offload=offload)
    far = [name for name, part in model.named_modules() if hasattr(part, "computes_on")]
    assert len(far) == 7
    assert all(name.startswith("layers.1.") for name in far)


def test_auto_offloads_nothing_and_lines_say_what_happens(config_of, tiny):
    sizes = tiny.family.sizes
    compute = replace(GPU, transformer_scheme="float8", float8_products=True)
    assert choose_offloading(config_of(), compute, sizes).line.startswith("layer offloading: none (auto")
    assert not choose_offloading(config_of("quantization.layer_offloading=0"), compute, sizes)
    real = memory_forecast.model_sizes({})
    half = choose_offloading(config_of("quantization.layer_offloading=50"), compute, real)
    assert half.streaming.blocks == tuple(range(1, 30, 2))
    assert "15 of 30 blocks stay in host memory (2.5 GiB) and stream through 2 slots of 0.16 GiB" in half.line
    assert half.chosen("layers.1.attention.to_q")
    assert not half.chosen("layers.0.attention.to_q")
    assert not half.chosen("layers.1.adaLN_modulation.0")
    assert not half.chosen("noise_refiner.1.attention.to_q")


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (("target.dropout=0.1",), "dropout"),
        (("target.type=loha",), "another kind"),
        (("quantization.compute_dtype=auto", "quantization.transformer=int8"), "made dense for every product"),
        (("quantization.compute_dtype=auto", "quantization.transformer=fp32"), "need a CUDA GPU"),
    ],
)
def test_where_blocks_cannot_stream_it_is_refused_before_anything_is_loaded(config_of, overrides, why):
    with pytest.raises(ConfigError, match=f"cannot stream from host memory: .*{why}") as refused:
        settle(config_of("quantization.layer_offloading=50", *overrides))
    assert refused.value.where == "quantization.layer_offloading"


def test_too_little_host_memory_is_refused(config_of, monkeypatch):
    monkeypatch.setattr(offloading, "available_host_bytes", lambda: 1000)
    setting = settle(config_of("quantization.layer_offloading=50"))
    with pytest.raises(ConfigError, match="of host memory"):
        setting.offloading.begin(setting.compute, sides=1)


def test_the_forecast_counts_slots_instead_of_blocks(config_of, monkeypatch):
    monkeypatch.setattr(memory_forecast, "transformer_config", lambda place: {})
    monkeypatch.setattr("slipstream.models.z_image.family.transformer_config", lambda place: {})
    for room in (keeping, memory_forecast):
        monkeypatch.setattr(room, "free_bytes", lambda device: 7 * GIB)
    float8 = replace(GPU, transformer_scheme="float8", float8_products=True)
    weights = {}
    for name, compute, override in (
        ("float8", float8, "quantization.compute_dtype=auto"), ("bf16", GPU, "quantization.compute_dtype=auto"),
    ):  # fmt: skip
        for percent in (0, 50, 100):
            scheme = "float8" if name == "float8" else "bf16"
            config = config_of(override, f"quantization.transformer={scheme}", "model.training_adapter=none")
            panel = config.quantization.model_copy(update={"layer_offloading": percent})
            config = config.model_copy(update={"quantization": panel})
            setting = replace(settle(config_of()), config=config, compute=compute, adapter=None)
            weights[name, percent] = expected_memory(setting).memory.resident.weights / GIB
    assert weights["float8", 0] == pytest.approx(5.9, abs=0.1)
    assert weights["float8", 50] == pytest.approx(5.9 - 13 * 0.165, abs=0.1)
    assert weights["float8", 100] == pytest.approx(5.9 - 28 * 0.165, abs=0.1)
    assert weights["bf16", 100] == pytest.approx(weights["bf16", 0] - 28 * 0.33 + 0.08, abs=0.1)
