"""Small runs of the real commands on the tiny family."""

from __future__ import annotations

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
