"""Small runs of the real commands on the tiny family."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from product import Product


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latents and captions are encoded once for all runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def product(tmp_path: Path, shared_cache: Path) -> Product:
    """The command in a fresh folder."""
    return Product(tmp_path, shared_cache)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> Iterator[None]:
    """For tests that call `work` themselves: it gets the shared cache, and its signal handlers are taken back."""
    monkeypatch.setenv("SLIPSTREAM_CACHE", str(shared_cache))
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)
