"""Shared fixtures: the packaged tiny model, read once; a cache folder of the test's own; two torch threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import pytest
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from slipstream.models.z_image.family import ZImage
    from slipstream.previews.render import Renderer

CPU = torch.device("cpu")


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPSTREAM_CACHE", str(tmp_path / "cache"))


@dataclass(frozen=True)
class TinyModel:
    """`tiny/turbo` in fp32 on the CPU. Parts load on first use and are shared: leave no adapter attached."""

    family: ZImage

    @cached_property
    def transformer(self) -> nn.Module:
        return self.family.load_transformer()

    @cached_property
    def text(self) -> Any:
        return self.family.load_text_encoder()

    @cached_property
    def codec(self) -> Any:
        return self.family.load_codec()

    @cached_property
    def _features(self) -> dict[str, Tensor]:
        return {}

    def features(self, caption: str) -> Tensor:
        """Caption features (tokens, 128), encoded once."""
        if caption not in self._features:
            self._features[caption] = self.text.encode([caption])[0]
        return self._features[caption]

    def renderer(self, transformer: nn.Module | None = None) -> Renderer:
        """The preview renderer on this model, or on another transformer of the family."""
        from slipstream.models.z_image.family import predictor
        from slipstream.previews.render import Renderer

        return Renderer(
            predict=predictor(self.transformer if transformer is None else transformer),
            decode=self.codec.decode,
            features=self.features,
            shift_at=self.family.load_shift().at,
            device=CPU,
        )


@pytest.fixture(scope="session")
def tiny() -> TinyModel:
    """The packaged Turbo, loaded once for the whole session."""
    from slipstream.models.z_image.family import ZImage
    from slipstream.models.z_image.resolve import resolve_parts

    return TinyModel(ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), CPU, torch.float32, torch.float32))


@pytest.fixture
def fresh_transformer(tiny: TinyModel) -> nn.Module:
    """A copy of the tiny transformer that a test may put adapters on."""
    import copy

    return copy.deepcopy(tiny.transformer)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """`with full_disk():` every flush to the disk fails as on a full one, after the bytes were written."""
    import errno

    @contextmanager
    def full() -> Iterator[None]:
        def refuse(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("slipstream.core.atomic.os.fsync", refuse)
            yield

    return full
