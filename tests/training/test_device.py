"""The device and precision of a run, and the reason for each."""

from __future__ import annotations

import pytest
import torch

from slipstream.core.errors import DeviceError
from slipstream.training import device as device_room
from slipstream.training.device import choose_compute, peak_memory_gib


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_the_cpu_in_fp32_and_says_why():
    compute = choose_compute("auto", "auto", "auto")
    assert compute.device == torch.device("cpu")
    assert compute.transformer_dtype == compute.text_encoder_dtype == torch.float32
    assert "no CUDA GPU" in compute.reasons[0]
    assert any("transformer: fp32" in reason for reason in compute.reasons)


@pytest.mark.usefixtures("no_gpu")
def test_a_precision_that_is_set_is_taken_for_its_part_alone():
    compute = choose_compute("cpu", "bf16", "fp32")
    assert (compute.transformer_dtype, compute.text_encoder_dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("asked", ["cuda", "cuda:1"])
def test_a_missing_gpu_is_refused_with_both_figures(asked):
    with pytest.raises(DeviceError, match=f"{asked} was asked for.*sees 0 CUDA devices") as caught:
        choose_compute(asked, "auto", "auto")
    assert caught.value.where == "job.device"


def test_with_a_gpu_auto_is_cuda_in_bf16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(device_room, "_device_name", lambda _: "a card")
    compute = choose_compute("auto", "auto", "auto")
    assert compute.device == torch.device("cuda", 0)
    assert compute.transformer_dtype == compute.text_encoder_dtype == torch.bfloat16
    with pytest.raises(DeviceError, match="sees 1 CUDA"):
        choose_compute("cuda:1", "auto", "auto")


def test_a_card_without_bf16_is_refused_when_bf16_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(DeviceError, match="no bf16"):
        choose_compute("cuda:0", "bf16", "auto")


def test_peak_memory_on_the_cpu_is_the_process():
    assert 0.05 < peak_memory_gib(torch.device("cpu")) < 64


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("scheme", ["float8", "int8", "nf4"])
def test_a_scheme_keeps_weights_small_and_computes_as_auto_would(scheme):
    compute = choose_compute("cpu", scheme, "bf16")
    assert (compute.transformer_scheme, compute.text_encoder_scheme) == (scheme, None)
    assert (compute.transformer_dtype, compute.text_encoder_dtype) == (torch.float32, torch.bfloat16)
    (line,) = [reason for reason in compute.reasons if reason.startswith("precision of the transformer")]
    assert (
        f"transformer: {scheme} (as set in quantization: {'4.25' if scheme == 'nf4' else '8'} bits per weight" in line
    )
    assert "matmuls in fp32" in line


@pytest.mark.usefixtures("no_gpu")
def test_nothing_is_quantized_unless_asked_for():
    compute = choose_compute("auto", "auto", "auto")
    assert compute.transformer_scheme is compute.text_encoder_scheme is None


def test_the_log_says_what_was_quantized_and_that_previews_show_it(tiny):
    from dataclasses import replace

    from slipstream.training.stages import quantization_lines

    assert quantization_lines(tiny.transformer, None) == []
    quantized = replace(tiny.family, transformer_scheme="int8").load_transformer()
    first, second = quantization_lines(quantized, "int8")
    assert first.startswith("transformer: 49 of 61 linears in int8, ")
    assert second.startswith("previews are drawn with these int8 weights")


def products(compute) -> list[str]:
    return [reason for reason in compute.reasons if reason.startswith("products")]


@pytest.mark.usefixtures("no_gpu")
def test_float8_products_are_chosen_where_the_weights_are_float8_and_the_device_multiplies_them(monkeypatch):
    compute = choose_compute("cpu", "float8", "auto", "auto")
    assert not compute.float8_products
    assert products(compute) == ["products of the blocks' linears: fp32 (auto: cpu has no float8 tensor cores)"]
    compute = choose_compute("cpu", "float8", "auto", "float8")
    assert compute.float8_products
    assert "emulated on the CPU" in products(compute)[0]
    monkeypatch.setattr(device_room, "float8_obstacle", lambda device: None)
    compute = choose_compute("cpu", "float8", "auto", "auto")
    assert compute.float8_products
    assert "float8 (auto: float8 weights" in products(compute)[0]
    for asked in (("float8", "auto", "bf16"), ("int8", "auto", "auto"), ("bf16", "auto", "auto")):
        compute = choose_compute("cpu", *asked)
        assert not compute.float8_products
        assert products(compute) == []


def test_float8_products_on_a_gpu_without_them_are_refused(monkeypatch):
    cuda = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "RTX 3090")
    kept = device_room.Precision(torch.bfloat16, "float8", "")
    with pytest.raises(DeviceError, match=r"RTX 3090 \(compute capability 8.6\) has no float8") as refused:
        device_room.choose_products("float8", kept, cuda)
    assert refused.value.where == "quantization.compute_dtype"
    chosen, (line,) = device_room.choose_products("auto", kept, cuda)
    assert not chosen
    assert line.startswith("products of the blocks' linears: bf16 (auto: RTX 3090")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    assert device_room.choose_products("float8", kept, cuda)[0]
