"""The playground in a real browser, with the process that draws: with and without a LoRA, a grid, settings again."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import pytest
from example_runs import make_run
from PIL import Image
from playwright.sync_api import Page, expect
from served import Served

from slipstream.drawings.progress import living_process
from slipstream.drawings.room import room_in

SECONDS_TO_LOAD = 60_000
ADAPTER = Path(__file__).parents[2] / "src/slipstream/tiny/adapters/training_adapter_v1.safetensors"
"""A LoRA for the tiny Turbo that shows."""


@pytest.fixture(scope="module")
def trained(studio: Served):
    run = make_run(studio.runs, "drawn", prompts=("a [trigger] emoji of fox", "a cat"))
    for path in [run.lora, *run.checkpoints.glob("*.safetensors")]:
        shutil.copy(ADAPTER, path)
    yield run
    shutil.rmtree(run.path)  # the studio is shared
    if (room := room_in(studio.home)).path.is_dir():
        room.leave.touch()


def pixels(page: Page, address: str) -> bytes:
    return Image.open(io.BytesIO(page.request.get(address).body())).tobytes()


def test_with_and_without_a_grid_and_the_settings_again(page: Page, studio: Served, trained):
    page.goto("/playground?run=drawn")
    expect(page.get_by_text("Nothing drawn yet")).to_be_visible()
    prompt = page.get_by_label("Prompt", exact=True)
    expect(prompt).to_have_value("a [trigger] emoji of fox")
    prompt.fill("emoji of a cat")
    page.get_by_title("Insert the trigger word").click()
    expect(prompt).to_have_value("foxy, emoji of a cat")
    page.get_by_label("Steps").fill("2")
    page.get_by_role("checkbox", name="Random").click()
    page.get_by_role("button", name="Draw 2 pictures").click()
    drawing = page.get_by_role("article", name="foxy, emoji of a cat").first
    expect(drawing.locator(".p-split img")).to_have_count(2, timeout=SECONDS_TO_LOAD)
    slider = drawing.get_by_role("slider")
    slider.press("End")
    expect(drawing.locator(".p-split-line")).to_have_attribute("style", re.compile("left: 100%"))
    pid = living_process(room_in(studio.home)).pid
    first = page.request.get("/api/playground/drawings").json()["drawings"][0]
    on, off = (f"/api/playground/drawings/{first['id']}/pictures/{number}" for number in (0, 1))
    assert pixels(page, on) != pixels(page, off)
    assert page.request.get(on).headers["content-type"] == "image/png"

    page.get_by_role("switch", name="Grid").click()
    page.get_by_label("Values, between commas").fill("0, 1")
    page.get_by_role("button", name="Draw 6 pictures").click()
    grid = page.get_by_role("article").first
    expect(grid.locator("td img")).to_have_count(6, timeout=SECONDS_TO_LOAD)
    assert living_process(room_in(studio.home)).pid == pid
    second = page.request.get("/api/playground/drawings").json()["drawings"][0]
    assert (second["rows"][-1], second["columns"]) == ("drawn.safetensors", ["0", "1"])
    (zero, one) = (f"/api/playground/drawings/{second['id']}/pictures/{number}" for number in (4, 5))
    assert (pixels(page, zero), pixels(page, one)) == (pixels(page, off), pixels(page, on))

    grid.get_by_role("button", name="Checkpoint Finished, Weight 1").click()
    viewer = page.get_by_role("dialog", name="Picture")
    picture = viewer.locator("figure img").first
    expect(picture).to_have_attribute("src", re.compile("pictures/5"))
    page.keyboard.press("ArrowLeft")
    expect(picture).to_have_attribute("src", re.compile("pictures/4"))
    expect(viewer.get_by_text("seed 42")).to_be_visible()
    with page.expect_download() as download:
        viewer.get_by_role("link", name="Download").click()
    assert Image.open(download.value.path()).text["lora"] == "drawn.safetensors:0"
    page.keyboard.press("Escape")

    page.get_by_role("article").nth(1).get_by_role("button", name="Use these settings again").click()
    expect(page.get_by_role("button", name="Draw 2 pictures")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    grid.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("article")).to_have_count(1)
    page.get_by_role("button", name="Free the memory").click()
    expect(page.get_by_role("button", name="Free the memory")).to_be_hidden()
