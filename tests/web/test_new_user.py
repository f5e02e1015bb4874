"""The way of somebody new, in a real browser: twelve pictures, captions, a tiny Turbo, a training that is watched, its
LoRA tried in the playground and taken home."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from safetensors import safe_open
from served import Served, serving
from test_new_job_page import entry

from slipstream.drawings.room import room_in
from slipstream.jobs.service import stop_supervisor

PICTURES = sorted((Path(__file__).parents[2] / "examples/foxy_style").glob("*.png"))[:12]
NAME = "my_first_lora"
STEPS = 12
ENOUGH_MS = 120_000


@pytest.fixture
def own_studio(tmp_path: Path) -> Iterator[Served]:
    """As somebody starts it: with a supervisor, which the others here do without."""
    with serving(tmp_path / "studio") as found:
        yield found
        stop_supervisor(found.home)
        if (room := room_in(found.home)).path.is_dir():
            room.leave.touch()


@pytest.fixture
def page(browser: Browser, own_studio: Served) -> Iterator[Page]:
    context = browser.new_context(base_url=own_studio.address, viewport={"width": 1280, "height": 800}, locale="en-US")
    tab = context.new_page()
    tab.set_default_timeout(20_000)
    yield tab
    context.close()


def test_twelve_pictures_become_a_lora(page: Page, tmp_path: Path):
    upload(page)
    caption(page)
    start(page)
    watch(page)
    file = take_home(page, tmp_path)
    with safe_open(file, "pt") as tensors:
        assert len(list(tensors.keys())) > 50
    try_out(page)


def upload(page: Page) -> None:
    page.goto("/datasets")
    page.get_by_role("button", name="New dataset").click()
    page.get_by_label("Name").fill("drawings")
    page.keyboard.press("Enter")
    page.locator("input[type=file]:not([webkitdirectory])").first.set_input_files(PICTURES)
    expect(page.get_by_role("listbox", name="Pictures")).to_have_attribute("data-total", str(len(PICTURES)))


def caption(page: Page) -> None:
    """The first by hand, looked through with the keyboard; the rest gets a default in the form."""
    page.get_by_role("listbox", name="Pictures").get_by_role("option").first.click()
    editor = page.get_by_role("dialog")
    for number in range(1, 3):
        expect(editor.get_by_text(f"{number} / 12")).to_be_visible()
        expect(editor.get_by_label("Caption")).to_be_focused()
        editor.get_by_label("Caption").fill(f"a [trigger] emoji, number {number}")
        expect(editor.get_by_text("Saved")).to_be_visible()
        page.keyboard.press("Control+Enter")
    expect(editor.get_by_text("3 / 12")).to_be_visible()
    page.keyboard.press("Escape")


def start(page: Page) -> None:
    page.goto("/new")
    page.locator("[data-preset=tiny_demo]").click()
    expect(entry(page, "training.learning_rate")).to_have_value("0.001")
    page.locator('[data-setting="datasets.0.path"] .q-select').click()
    page.get_by_role("option", name="drawings · 12 pictures").click()
    for path, value in {
        "job.name": NAME, "training.steps": STEPS, "save.every": STEPS // 2, "sample.every": STEPS // 2,
    }.items():  # fmt: skip
        entry(page, path).fill(str(value))
    expect(page.locator(".s-handin-state")).to_have_text(re.compile("Ready to train"))
    page.get_by_role("button", name="Start now").click()


def watch(page: Page) -> None:
    """Loss and previews arrive without a reload."""
    expect(page.get_by_role("heading", level=1)).to_have_text("Queue", timeout=ENOUGH_MS)
    page.get_by_role("link", name=NAME).first.click(timeout=ENOUGH_MS)
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)
    expect(page.get_by_text(re.compile(rf"\d+ / {STEPS}"))).to_be_visible(timeout=ENOUGH_MS)
    expect(page.get_by_role("img", name=re.compile("Loss 0"))).to_be_visible(timeout=ENOUGH_MS)
    expect(page.locator(".r-newest img").first).to_be_visible(timeout=ENOUGH_MS)
    expect(page.get_by_text("Finished", exact=True)).to_be_visible(timeout=ENOUGH_MS)


def take_home(page: Page, tmp_path: Path) -> Path:
    page.get_by_role("tab", name="Checkpoints").click()
    with page.expect_download() as taken:
        page.get_by_role("link", name=f"Download {NAME}.safetensors").click()
    file = tmp_path / taken.value.suggested_filename
    taken.value.save_as(file)
    assert file.name == f"{NAME}.safetensors"
    return file


def try_out(page: Page) -> None:
    """From the checkpoint into the playground: with the LoRA and without."""
    page.get_by_role("button", name=re.compile(f"More to do with {NAME}.safetensors")).first.click()
    page.get_by_role("listitem").filter(has_text="Use in the playground").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Playground")
    page.get_by_label("Steps").fill("2")
    page.get_by_role("button", name="Draw 2 pictures").click()
    expect(page.get_by_role("article").first.locator(".p-split img")).to_have_count(2, timeout=ENOUGH_MS)
