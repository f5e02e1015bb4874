"""Pictures made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipstream.data.dataset import Dataset, build_dataset
from slipstream.data.settings import DatasetSettings

MakePicture = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pictures"
    path.mkdir()
    return path


@pytest.fixture
def make(folder: Path) -> MakePicture:
    """`make("a.png", 128, 96, caption="...", seed=1)` writes noise of that size, and its caption file if given."""

    def write(
        name: str, width: int = 64, height: int = 64, caption: str | None = None, seed: int | None = None
    ) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(sum(name.encode()) if seed is None else seed)
        Image.fromarray(values.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        if caption is not None:
            path.with_suffix(".txt").write_text(caption, encoding="utf-8")
        return path

    return write


@pytest.fixture
def dataset(make: MakePicture, folder: Path) -> Callable[..., Dataset]:
    """`dataset({(64, 64): 3, (96, 64): 2}, **settings)`: that many pictures of each size, at their own size."""

    def build(sizes: dict[tuple[int, int], int], **settings: object) -> Dataset:
        for (width, height), count in sizes.items():
            for number in range(count):
                make(f"{width}x{height}_{number}.png", width, height, caption=f"caption {width} {number}")
        return build_dataset([DatasetSettings(folder, **{"resolutions": (1024,), **settings})])

    return build
