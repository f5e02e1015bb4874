"""What every stage shares: a time-based schedule, EMA, and the compiled blocks of the lean forward."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
    started: float = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the stage's steps began (graphs are captured before that)."""
        return time.perf_counter() - self.started

    def steps(self, optimizer: torch.optim.Optimizer) -> Iterator[int]:
        """Yield step numbers until the budget is spent, setting the learning rate."""
        fraction = 0.0
        self.started = time.perf_counter()
        while fraction < 1:
            rise = min(1.0, fraction / self.warmup) if self.warmup else 1.0
            rate = self.peak * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction)))
            for group in optimizer.param_groups:
                group["lr"].fill_(max(rate, self.peak * 1e-3))
            yield self.step
            self.step += 1
            if self.step % 20 == 0 and torch.cuda.is_available():
                torch.cuda.synchronize()
            fraction = max(self.elapsed / self.seconds, self.step / self.max_steps)


class Average:
    """An exponential moving average of a model's weights, with a warm-up; `update` can be captured in a graph."""

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.shadow = copy.deepcopy(model).requires_grad_(False)
        self.pairs = list(zip(self.shadow.parameters(), model.parameters(), strict=True))
        self.decay = decay
        self.count = torch.zeros((), device=self.pairs[0][0].device)

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow toward the model."""
        self.count += 1
        keep = torch.minimum((1 + self.count) / (10 + self.count), torch.full_like(self.count, self.decay))
        for shadow, parameter in self.pairs:
            shadow.lerp_(parameter, 1 - keep)


class Steps:
    """Training steps by key, each captured once as a CUDA graph (run eagerly on the CPU).

    A step is a closure that draws its own batch, does forward, backward and update, and returns the loss tensor. All
    randomness comes from the CUDA generator, which graphs advance properly.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self.optimizer = optimizer
        self.graphed = device.type == "cuda"
        self.pool = torch.cuda.graph_pool_handle() if self.graphed else None
        self.graphs: dict[object, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.eager: dict[object, Callable[[], Tensor]] = {}

    def add(self, key: object, step: Callable[[], Tensor]) -> None:
        """Register a step, warming it up twice (real updates) and capturing it on a GPU."""
        self.eager[key] = step
        if not self.graphed:
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool):
                loss = step()
        except RuntimeError as error:
            print(f"step {key} cannot be captured ({str(error)[:200]}); running it eagerly", flush=True)
            torch.cuda.synchronize()
            return
        self.graphs[key] = (graph, loss)

    def run(self, key: object) -> Tensor:
        """Do one step; the loss tensor is overwritten by the next run of the same key."""
        if key not in self.graphs:
            return self.eager[key]()
        graph, loss = self.graphs[key]
        graph.replay()
        return loss


def descend(loss: Tensor, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> Tensor:
    """Backward, clip to norm 1, update; returns the loss detached."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
    optimizer.step()
    return loss.detach()


def adamw(parameters: list[nn.Parameter], device: torch.device, weight_decay: float = 0.01) -> torch.optim.AdamW:
    """AdamW as every stage uses it; the learning rate is a tensor so that captured steps see it change."""
    on_gpu = device.type == "cuda"
    rate = torch.tensor(1e-6, device=device)
    return torch.optim.AdamW(
        parameters, lr=rate, betas=(0.9, 0.99), weight_decay=weight_decay, fused=on_gpu, capturable=on_gpu
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
