"""A short run with prompts of all kinds: what is set for one picture shows in that picture alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from product import Product

from slipstream.previews.png import read_png_metadata
from slipstream.runs.controls import request
from slipstream.runs.exit_codes import FINISHED, STOPPED
from slipstream.worker import work

pytestmark = pytest.mark.usefixtures("in_this_process")

PROMPTS = '["a [trigger] emoji of pizza", "a noto emoji of fox --w 96 --m 0.5", "a noto emoji of fox --m 0"]'
OVERRIDES = (
    "training.steps=2", "training.learning_rate=0.05", "save.every=0", "sample.every=0", f"sample.prompts={PROMPTS}",
    "sample.lora_scales=[0.5, 1.0]", "sample.steps=2",
)  # fmt: skip


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.tobytes()


def test_prompts_weights_and_marks_in_the_files_of_a_run(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    run = product.new_run(*OVERRIDES)
    assert work(run) == FINISHED
    said = [read_png_metadata(run.preview_image(2, number)) for number in range(3)]
    assert [one["has_trigger"] for one in said] == ["yes", "no", "no"]
    assert [one["lora_scale"] for one in said] == ["1", "0.5", "0"]
    assert [(one["width"], one["height"]) for one in said] == [("64", "64"), ("96", "64"), ("64", "64")]
    assert pixels(run.preview_image(2, 2)) == pixels(run.preview_image(0, 2)), "weight 0 is the base"
    assert pixels(run.preview_image(2, 0)) != pixels(run.preview_image(0, 0))
    assert run.weight_image(2, 1.0, 0).read_bytes() == run.preview_image(2, 0).read_bytes(), "drawn once"
    assert run.weight_image(2, 0.5, 1).read_bytes() == run.preview_image(2, 1).read_bytes()
    assert pixels(run.weight_image(2, 0.5, 0)) != pixels(run.weight_image(2, 1.0, 0))
    assert read_png_metadata(run.weight_image(2, 0.5, 2))["lora_scale"] == "0.5"
    assert run.weight_sheet.is_file()
    assert "Which weight to use" in run.report.read_text()
    sample = json.loads(run.manifest.read_text())["sample"]
    assert [picture["has_trigger"] for picture in sample["pictures"]] == [True, False, False]


def test_a_sweep_that_was_cut_short_is_drawn_on_resume(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    run = product.new_run(*OVERRIDES, "sample.at_start=false")
    from slipstream.training import preview_stage

    real = preview_stage.save_png

    def save_and_stop(path: Path, *rest: object) -> None:
        real(path, *rest)  # type: ignore[arg-type]
        if "_lora_" in path.name:
            request(run, "stop")

    with monkeypatch.context() as patch:
        patch.setattr(preview_stage, "save_png", save_and_stop)
        assert work(run) == STOPPED
    assert not run.lora.exists()
    assert not run.weight_sheet.exists()
    assert not list(run.previews.glob("step_000000000_*")), "at_start is off"
    assert work(run) == FINISHED
    assert run.weight_sheet.exists()
    assert run.lora.exists()
