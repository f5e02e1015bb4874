"""A training on CUDA takes the fused blocks and learns the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


def test_fused_blocks_learn_what_the_modules_learn(tiny):
    """Gradients of a bf16 step on CUDA: the fused blocks are as near to fp32 on the CPU as the modules are."""
    from slipstream.adapters.inject import inject_lora, select_targets
    from slipstream.adapters.training_adapter import attach_training_adapter
    from slipstream.models.z_image.family import ZImage, predictor
    from slipstream.models.z_image.resolve import TINY_ROOT, resolve_parts
    from slipstream.training.fast_path import fast_path

    def gradients(device: str, dtype: torch.dtype, fused: bool) -> Tensor:
        model = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), torch.device(device), dtype, dtype).load_transformer()
        attach_training_adapter(model, TINY_ROOT / "adapters" / "training_adapter_v2.safetensors")
        names = select_targets(model, "layers", ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3"))
        lora = inject_lora(model, names, rank=8, alpha=8.0, seed=1)
        generator = torch.Generator().manual_seed(2)
        for parameter in lora.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
        stack = None
        if fused:
            stack, line = fast_path(model, torch.device(device), keep_inputs=False)
            assert stack is not None, line
        noisy = torch.randn(2, 16, 16, 16, generator=generator).to(device)
        sigma = torch.tensor([0.3, 0.8], device=device)
        texts = [tiny.features("a noto emoji of cat"), tiny.features("a blob emoji of fire")]
        velocity = predictor(model, stack=stack)(noisy, sigma, texts)
        velocity.square().mean().backward()
        return torch.cat([parameter.grad.flatten().float().cpu() for parameter in lora.parameters()])

    exact = gradients("cpu", torch.float32, fused=False)
    by_modules = (gradients("cuda", torch.bfloat16, fused=False) - exact).norm() / exact.norm()
    by_stack = (gradients("cuda", torch.bfloat16, fused=True) - exact).norm() / exact.norm()
    print(f"error of LoRA gradients in bf16: modules {by_modules:.4f}, fused {by_stack:.4f}")
    assert by_stack < 1.2 * by_modules


def test_a_training_on_cuda_takes_the_fused_blocks(tmp_path, monkeypatch):
    from pathlib import Path

    from slipstream import worker
    from slipstream.config.run_config import dump_yaml, load_config
    from slipstream.runs.create import create_run

    config = tmp_path / "run.yaml"
    pictures = Path(__file__).parents[2] / "examples/foxy_style"
    config.write_text(
        f"job: {{name: fused, trigger_word: felt, output_dir: {tmp_path}}}\n"
        "model: {variant: turbo, name_or_path: tiny/turbo}\n"
        "training: {steps: 30, batch_size: 2, optimizer: adamw, learning_rate: 1e-3}\n"
        f"datasets: [{{path: {pictures}, resolutions: [128]}}]\n"
        "advanced: {tensorboard: false}\n"
    )
    resolved = load_config(config)
    run, _ = create_run(tmp_path, "fused", dump_yaml(resolved))
    assert worker.work(run) == 0
    log = run.log.read_text()
    assert "blocks: fused" in log
    assert "attention: " in log
