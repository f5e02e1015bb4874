"""A hub of this machine's own, and a small run to push."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import TOKEN, FakeHub, running
from PIL import Image
from small_run import METADATA, PLAIN, write_lora

from slipstream.runs.layout import RunDir


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The client speaks to this hub, logged in; every other way out is closed."""
    from huggingface_hub import constants

    with running() as hub:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield hub


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run with previews of two steps."""
    run = RunDir(tmp_path / "runs" / "my_style")
    run.previews.mkdir(parents=True)
    run.checkpoints.mkdir()
    run.config.write_text("job: {name: my_style}\ndatasets: [{path: p}]\n")
    write_lora(run.lora, METADATA)
    pictures = [
        {**PLAIN, "prompt": "a dog | cat", "has_trigger": False},
        {**PLAIN, "prompt": "a felt fox", "has_trigger": True},
    ]
    name = "Tongyi-MAI/Z-Image-Turbo"
    run.manifest.write_text(
        json.dumps({
            "model": {"variant": "turbo", "label": "Z-Image Turbo (w/ Training Adapter)", "name": f"{name}@abc",
                      "origins": {"transformer": f"{name}@abc"}},
            "dataset": {"num_images": 24}, "sample": {"pictures": pictures, "steps": 8, "guidance_scale": 0.0},
        })
    )  # fmt: skip
    for step in (0, 600):
        for prompt in range(2):
            Image.new("RGB", (16, 16), (step % 256, 100 * prompt, 9)).save(run.preview_image(step, prompt))
    return run
