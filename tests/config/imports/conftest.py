"""A folder that looks like another trainer's: job files beside folders of pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

JOBS = Path(__file__).parent / "jobs"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fixture files, and pictures (also masks and cut-outs) where their relative paths lead."""
    shutil.copytree(JOBS, tmp_path / "config")
    for folder in ("pictures", "masked", "masks", "cutouts", "others"):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(("one", "two")):
            colour = (60 + 100 * number, 80, 200 - 100 * number)
            picture = Image.new("RGB", (80, 80), colour)
            if folder == "masks":
                picture = Image.new("L", (80, 80), 0)
                picture.paste(255, (20, 20, 60, 60))
            elif folder == "cutouts":
                picture.putalpha(Image.new("L", (80, 80), 128 + 100 * number))
            picture.save(tmp_path / folder / f"{name}.png")
    (tmp_path / "pictures" / "one.txt").write_text("a red thing, on a table, soft light")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMPORT_TEST_ROOT", str(tmp_path / "root"))
    return tmp_path
