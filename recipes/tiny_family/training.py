"""What every stage shares: a time-based schedule, EMA, and the compiled blocks of the lean forward."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from slipstream.models.z_image import forward


def compile_blocks() -> None:
    """Compile the two block functions once; every stage, model and shape family shares them."""
    torch._dynamo.config.cache_size_limit = 64
    forward.modulated_block = torch.compile(forward.modulated_block)  # type: ignore[assignment]
    forward.plain_block = torch.compile(forward.plain_block)  # type: ignore[assignment]


@dataclass
class Schedule:
    """A stage's budget in seconds (or steps, for smoke runs) and its learning rate: warm-up, then cosine to 2 %."""

    seconds: float
    peak: float
    max_steps: int = 10**9
    warmup: float = 0.03
    step: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def elapsed(self) -> float:
        """Seconds since the first step (compilation of the first ten steps is not counted)."""
        return time.perf_counter() - self.started

    def steps(self, optimizer: torch.optim.Optimizer) -> Iterator[int]:
        """Yield step numbers until the budget is spent, setting the learning rate."""
        fraction = 0.0
        while fraction < 1:
            rise = min(1.0, fraction / self.warmup) if self.warmup else 1.0
            rate = self.peak * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction)))
            for group in optimizer.param_groups:
                group["lr"] = max(rate, self.peak * 1e-3)
            yield self.step
            self.step += 1
            if self.step == 10 and torch.cuda.is_available():
                torch.cuda.synchronize()
                self.started = time.perf_counter()
            fraction = max(self.elapsed / self.seconds, self.step / self.max_steps)


@dataclass
class Average:
    """An exponential moving average of a model's weights, with a warm-up."""

    model: nn.Module
    decay: float = 0.999
    shadow: nn.Module = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        self.shadow = copy.deepcopy(self.model).requires_grad_(False)

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow toward the model."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        pairs = list(zip(self.shadow.parameters(), self.model.parameters(), strict=True))
        torch._foreach_lerp_([s for s, _ in pairs], [p.data for _, p in pairs], 1 - decay)


def adamw(parameters: list[nn.Parameter], device: torch.device, weight_decay: float = 0.01) -> torch.optim.AdamW:
    """AdamW as every stage uses it."""
    return torch.optim.AdamW(
        parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=weight_decay, fused=device.type == "cuda"
    )


def autocast(device: torch.device) -> torch.autocast:
    """bf16 on the GPU, plain fp32 on the CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def flow_batch(clean: Tensor, uniform: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """(noisy, sigma_B, velocity target) for ordinary flow matching: half logit-normal, half uniform sigmas."""
    count, device = clean.shape[0], clean.device
    sigma = torch.rand(count, device=device)
    if not uniform:
        normal = torch.sigmoid(torch.randn(count, device=device) + 0.4)
        sigma = torch.where(torch.rand(count, device=device) < 0.5, normal, sigma)
    noise = torch.randn_like(clean)
    wide = sigma[:, None, None, None]
    return (1 - wide) * clean + wide * noise, sigma, noise - clean
