"""A training on CUDA takes the fused blocks and learns the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


class Case:
    """The tiny transformer on a device with a training adapter and a LoRA off its start, and a batch for it."""

    def __init__(self, tiny, device: str, dtype: torch.dtype, *, fused: bool, folded: bool = False) -> None:
        from slipstream.adapters.folding import FoldedBranches, dense_hosts
        from slipstream.adapters.inject import inject_lora, select_targets
        from slipstream.adapters.training_adapter import attach_training_adapter
        from slipstream.models.z_image.family import ZImage, predictor
        from slipstream.models.z_image.resolve import TINY_ROOT, resolve_parts
        from slipstream.training.fast_path import fast_path
        from slipstream.training.gradients import FlatGradients

        on = torch.device(device)
        model = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), on, dtype, dtype).load_transformer()
        adapter = attach_training_adapter(model, TINY_ROOT / "adapters" / "training_adapter_v2.safetensors")
        if folded:
            FoldedBranches(adapter.branches, dense_hosts(adapter.branches), torch.device("cpu"))
        linears = ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3", "adaLN_modulation.0")
        self.lora = inject_lora(model, select_targets(model, "layers", linears), rank=8, alpha=8.0, seed=1)
        generator = torch.Generator().manual_seed(2)
        for parameter in self.lora.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
        self.flat = FlatGradients(self.lora.parameters())
        self.predict = predictor(model)
        if fused:
            path, self.lines = fast_path(model, self.lora, on)
            assert path is not None, self.lines
            self.predict = path.predict
        self.noisy = torch.randn(2, 16, 16, 16, generator=generator).to(device)
        self.sigma = torch.tensor([0.3, 0.8], device=device)
        self.texts = [tiny.features("a noto emoji of cat"), tiny.features("a blob emoji of fire")]

    def gradients(self, *, between: bool = False) -> tuple[Tensor, Tensor]:
        """(velocity, all gradients as one vector) of a step."""
        self.flat.zero()
        velocity = self.predict(self.noisy, self.sigma, self.texts)
        if between:
            with torch.no_grad(), self.lora.disabled():
                self.predict(self.noisy, self.sigma, self.texts)
        velocity.square().mean().backward()
        found = torch.cat([parameter.grad.flatten().float() for parameter in self.lora.parameters()])
        return velocity.detach().cpu(), found.cpu()


def error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def test_fused_blocks_learn_what_the_modules_learn(tiny):
    """Gradients of a bf16 step on CUDA: the fused blocks are as near to fp32 on the CPU as the modules are."""
    _, exact = Case(tiny, "cpu", torch.float32, fused=False).gradients()
    by_modules = error(Case(tiny, "cuda", torch.bfloat16, fused=False).gradients()[1], exact)
    for folded in (False, True):
        by_stack = error(Case(tiny, "cuda", torch.bfloat16, fused=True, folded=folded).gradients()[1], exact)
        print(f"error of LoRA gradients in bf16: modules {by_modules:.4f}, fused {by_stack:.4f} (folded: {folded})")
        assert by_stack < 1.2 * by_modules


def test_previews_between_updates_leave_the_graphs_whole(tiny):
    """A preview draws with rounded copies of the LoRA, which are gone afterwards."""
    case = Case(tiny, "cuda", torch.bfloat16, fused=True, folded=True)
    with case.lora.rounded_to(torch.bfloat16), torch.no_grad():  # before the first update, as previews at the start are
        case.predict(case.noisy, case.sigma, case.texts)
    velocity, exact = case.gradients()
    for _ in range(2):  # captured, replayed
        case.gradients()
    for _ in range(3):
        with case.lora.rounded_to(torch.bfloat16), torch.no_grad():
            for _ in range(3):
                case.predict(case.noisy, case.sigma, case.texts)
        rubbish = [torch.full((1 << 20,), float("nan"), device="cuda") for _ in range(64)]
        again, found = case.gradients()
        assert error(again, velocity) < 1e-3
        assert error(found, exact) < 5e-3
        del rubbish
    case.lora.set_strength(0.5)
    weaker = [case.gradients()[0] for _ in range(3)]
    case.lora.set_strength(1.0)
    again, found = case.gradients()
    assert error(weaker[2], weaker[0]) < 1e-3
    assert error(weaker[0], velocity) > 1e-2
    assert error(again, velocity) < 1e-3, "a graph keeps the strength that it was captured with"
    assert error(found, exact) < 5e-3


def test_graphs_replay_what_was_run_without_them(tiny):
    """Three runs of a shape: without a graph, captured, replayed; with other predictions in between."""
    case = Case(tiny, "cuda", torch.bfloat16, fused=True, folded=True)
    assert any("one per shape" in line for line in case.lines), case.lines
    velocity, exact = case.gradients()
    for between in (False, False, True, True, False):
        again, found = case.gradients(between=between)
        assert error(again, velocity) < 1e-3
        assert error(found, exact) < 5e-3
    with torch.no_grad():
        for parameter in case.lora.parameters():
            parameter.mul_(0.5)
    smaller, _ = case.gradients()
    assert error(smaller, velocity) > 1e-2, "a replay reads the LoRA as it is now"
    with torch.no_grad():
        plain = [case.predict(case.noisy, case.sigma, case.texts) for _ in range(3)]
    assert all(error(one.cpu(), smaller) < 5e-3 for one in plain)


def test_drawing_with_a_lora_from_a_file_is_fast_too(tiny):
    """Nothing is trained: a frozen LoRA beside bf16 weights, at the strengths of a sweep."""
    from slipstream.adapters.files import load_lora
    from slipstream.adapters.inject import inject_weights
    from slipstream.models.z_image.family import ZImage, predictor
    from slipstream.models.z_image.resolve import TINY_ROOT, resolve_parts
    from slipstream.training.fast_path import fast_path

    def drawn(fused: bool) -> list[Tensor]:
        parts = resolve_parts("tiny/turbo", "tiny/turbo")
        model = ZImage(parts, torch.device("cuda"), torch.bfloat16, torch.bfloat16).load_transformer()
        weights = load_lora(TINY_ROOT / "adapters" / "training_adapter_v2.safetensors").modules
        lora, _ = inject_weights(model, weights, role="lora_0", source="file")
        predict = predictor(model)
        if fused:
            fast, lines = fast_path(model, None, torch.device("cuda"))
            assert fast is not None, lines
            predict = fast.predict
        noisy = torch.randn(2, 16, 16, 16, generator=torch.Generator().manual_seed(2)).cuda()
        texts = [tiny.features("a noto emoji of cat"), tiny.features("a blob emoji of fire")]
        found = []
        with torch.no_grad():
            for strength in (1.0, 1.0, 1.0, 0.5, 0.0):
                lora.set_strength(strength)
                found.append(predict(noisy, torch.tensor([0.3, 0.8], device="cuda"), texts).cpu())
        return found

    for own, plain in zip(drawn(True), drawn(False), strict=True):
        assert error(own, plain) < 2e-2


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
