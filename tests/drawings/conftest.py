"""A LoRA that shows, and rooms whose process ends with the test."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from drawing_rooms import kill

from slipstream.adapters.files import save_lora
from slipstream.adapters.inject import inject_lora
from slipstream.drawings.room import Room

MakeLora = Callable[..., Path]
TARGETS = ["layers.1.attention.to_v", "layers.2.feed_forward.w2"]


@pytest.fixture
def make_lora(tiny, tmp_path: Path) -> MakeLora:
    """`make_lora("a", seed=1, rank=2)` writes a LoRA that shows."""

    def make(name: str, *, seed: int = 1, rank: int = 2, targets: list[str] = TARGETS, folder: Path = tmp_path) -> Path:
        branches = inject_lora(copy.deepcopy(tiny.transformer), targets, rank=rank, alpha=float(rank), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for parameter in branches.parameters():
            torch.nn.init.normal_(parameter, std=0.4, generator=generator)
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_lora(path, branches, torch.float32, {"modelspec.trigger_phrase": name})
        return path

    return make


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """A room of the test's own."""
    found = Room(tmp_path / "playground")
    yield found
    kill(found)
