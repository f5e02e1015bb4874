"""A step with float8 products on a GPU is as near to full precision as their emulation on the CPU, graphs included."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slipstream.kernels.float8 import float8_obstacle

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or float8_obstacle(torch.device("cuda")) is not None,
        reason="needs a GPU with float8 tensor cores",
    ),
]
LINEARS = ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3", "adaLN_modulation.0")


class Case:
    """The tiny transformer in float8 with a LoRA off its start, and a batch; `float8` multiplies float8."""

    def __init__(self, tiny, device: str, dtype: torch.dtype, *, float8: bool) -> None:
        from slipstream.adapters.inject import inject_lora, select_targets
        from slipstream.models.z_image.family import predictor
        from slipstream.training.fast_path import fast_path
        from slipstream.training.gradients import FlatGradients

        on = torch.device(device)
        family = replace(tiny.family, device=on, transformer_dtype=dtype, transformer_scheme="float8")
        model = family.load_transformer()
        self.lora = inject_lora(model, select_targets(model, "layers", LINEARS), rank=8, alpha=8.0, seed=1)
        generator = torch.Generator().manual_seed(2)
        for parameter in self.lora.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
        self.flat = FlatGradients(self.lora.parameters())
        self.predict = predictor(model)
        if float8:
            path, self.lines = fast_path(model, self.lora, on, float8=True)
            assert path is not None, self.lines
            self.predict = path.predict
        self.noisy = torch.randn(2, 16, 16, 16, generator=generator).to(device)
        self.sigma = torch.tensor([0.3, 0.8], device=device)
        self.texts = [tiny.features("a noto emoji of cat"), tiny.features("a blob emoji of fire")]

    def step(self) -> tuple[Tensor, Tensor]:
        """(velocity, all gradients as one vector)."""
        self.flat.zero()
        velocity = self.predict(self.noisy, self.sigma, self.texts)
        velocity.square().mean().backward()
        found = torch.cat([parameter.grad.flatten().float() for parameter in self.lora.parameters()])
        return velocity.detach().cpu(), found.cpu()


def error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def test_a_step_is_as_near_to_full_precision_as_the_emulation(tiny):
    exact = Case(tiny, "cpu", torch.float32, float8=False).step()
    emulated = Case(tiny, "cpu", torch.float32, float8=True).step()
    case = Case(tiny, "cuda", torch.bfloat16, float8=True)
    print(*case.lines, sep="\n")
    for run in ("first", "captured", "replayed"):
        for name, own, cpu, whole in zip(("velocity", "gradients"), case.step(), emulated, exact, strict=True):
            found, expected = error(own, whole), error(cpu, whole)
            print(f"{run}: error of {name} to full precision: GPU {found:.4f}, emulated {expected:.4f}")
            assert found < 1.3 * expected + 0.02, name
