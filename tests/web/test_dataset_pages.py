"""Datasets in a real browser: made, filled, captioned by hand and by a model, edited in bulk, filtered, undone."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import picture
from PIL import Image
from playwright.sync_api import Page, expect
from served import Served, serving

from slipstream.web.services import dataset_checks
from slipstream.web.services.dataset_notes import DatasetNotes
from slipstream.workflows.inspect import check_folder, plain_report

sys.path.insert(0, str(Path(__file__).parents[1] / "captioning"))

DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  for (const kind of ["dragenter", "drop"])
    window.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def files(first: int, last: int) -> list[dict]:
    return [
        {"name": f"fox{number:02d}.png", "mimeType": "image/png", "buffer": picture(number, (96 + 8 * number, 96))}
        for number in range(first, last)
    ]


def send(page: Page, *payload: dict) -> None:
    page.locator("input[type=file]:not([webkitdirectory])").first.set_input_files(list(payload))


def grid(page: Page, count: int):
    found = page.get_by_role("listbox", name="Pictures")
    expect(found).to_have_attribute("data-total", str(count))
    return found.get_by_role("option")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With a supervisor, for captions by a model."""
    with serving(tmp_path_factory.mktemp("datasets")) as found:
        yield found


@pytest.fixture
def made(page: Page) -> Page:
    page.goto("/datasets")
    page.get_by_role("button", name="New dataset").click()
    page.get_by_label("Name").fill("foxes")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("foxes")
    return page


def test_from_nothing_to_a_captioned_dataset(made: Page, studio: Served, tmp_path: Path):
    page, folder = made, studio.datasets / "foxes"
    expect(page.get_by_text("No pictures yet")).to_be_visible()
    send(page, *files(0, 11), {"name": "0.png", "mimeType": "image/png", "buffer": b"none"},
         {"name": "a.gif", "mimeType": "image/gif", "buffer": b"GIF89a"})  # fmt: skip
    expect(page.get_by_text("Not taken: 2")).to_be_visible()
    expect(page.get_by_text("files of this kind are not taken")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    page.evaluate(DROP, ["fox11.png", base64.b64encode(picture(11)).decode()])
    options = grid(page, 12)
    assert len(list(folder.glob("*.png"))) == 12

    options.first.click()
    editor = page.get_by_role("dialog")
    caption = editor.get_by_label("Caption")
    expect(caption).to_be_focused()
    caption.fill("a fox asleep")
    page.keyboard.press("Control+Enter")
    expect(editor.get_by_text("2 / 12 · fox01.png")).to_be_visible()
    expect(caption).to_be_focused()
    page.keyboard.type("a fox awake")
    expect(editor.get_by_text("Saved")).to_be_visible()
    page.keyboard.press("PageUp")
    expect(caption).to_have_value("a fox asleep")
    page.keyboard.press("Escape")
    expect(editor).to_be_hidden()
    assert (folder / "fox00.txt").read_text() == "a fox asleep\n"
    assert (folder / "fox01.txt").read_text() == "a fox awake\n"

    caption_by_model(page, tmp_path)
    texts = {path.stem: path.read_text() for path in folder.glob("*.txt")}
    assert len(texts) == 12
    assert texts["fox00"] == "a fox asleep\n"
    assert all(text.startswith("ohwx, ") for name, text in texts.items() if name > "fox01")

    bulk_edit_and_undo(page, folder, options)
    page.get_by_label("Search names and captions").fill("asleep")
    grid(page, 1)
    expect(page.get_by_text("1 shown")).to_be_visible()
    page.get_by_label("Search names and captions").fill("")
    grid(page, 12)


def caption_by_model(page: Page, tmp_path: Path) -> None:
    """Let a random model caption what has no caption, through the queue and its supervisor."""
    from tiny_vlm import save_tiny_vlm

    model = save_tiny_vlm(tmp_path / "vlm")
    assert page.request.patch("/api/settings", data={"captioning_model": str(model)}).ok
    try:
        page.get_by_role("button", name="Caption with a model").click()
        page.get_by_label("Trigger word").fill("ohwx")
        page.get_by_role("dialog").get_by_text("More", exact=True).click()
        page.get_by_label("Longest answer").fill("16")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_text(re.compile("Captioning finished: 10 captions"))).to_be_visible(timeout=60_000)
    finally:
        page.request.patch("/api/settings", data={"captioning_model": ""})
    expect(page.get_by_role("option", name=re.compile("fox05.png: ohwx, "))).to_be_visible()


def bulk_edit_and_undo(page: Page, folder: Path, options) -> None:
    options.first.get_by_label("Select").click()
    options.nth(2).get_by_label("Select").click(modifiers=["Shift"])
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.get_by_role("button", name="Edit captions").last.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Text").fill("in snow")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_text("in snow, a fox asleep")).to_be_visible()
    dialog.get_by_role("button", name="Change captions (3)").click()
    expect(options.first).to_have_accessible_name("fox00.png: in snow, a fox asleep")
    assert (folder / "fox01.txt").read_text() == "in snow, a fox awake\n"
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(options.first).to_have_accessible_name("fox00.png: a fox asleep")
    assert (folder / "fox01.txt").read_text() == "a fox awake\n"
    page.get_by_role("button", name="Select none").click()


def test_removed_pictures_come_back_from_the_trash(page: Page, studio: Served):
    folder = studio.datasets / "cats"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"cat{number}.png").write_bytes(picture(number))
    page.goto("/datasets/cats")
    options = grid(page, 3)
    options.first.get_by_label("Select").click()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    grid(page, 2)
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_text("Trash", exact=True).click()
    page.get_by_role("button", name="Put back").click()
    expect(page.get_by_text("The trash is empty")).to_be_visible()
    page.keyboard.press("Escape")
    grid(page, 3)
    assert (folder / "cat0.png").is_file()


def test_the_grid_is_used_by_keyboard_and_fits_a_phone(page: Page, studio: Served):
    folder = studio.datasets / "dogs"
    folder.mkdir(parents=True)
    for number in range(40):
        (folder / f"dog{number:02d}.png").write_bytes(picture(number, (48, 48)))
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/datasets/dogs")
    options = grid(page, 40)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the phone"
    assert options.count() < 40, "pictures out of view are in the page"
    page.get_by_role("listbox", name="Pictures").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("option", name="dog39.png")).to_be_in_viewport()
    page.keyboard.press(" ")
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_text("40 / 40")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the editor is wider than the phone"


def photo(number: int, size: tuple[int, int]) -> bytes:
    """A picture with detail, so that copies are known from others."""
    buffer = io.BytesIO()
    noise = Image.effect_noise((size[0] // 16, size[1] // 16), 90 + number).resize(size, Image.Resampling.BICUBIC)
    noise.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def checked(folder: Path) -> None:
    """What the last check of a dataset found, as its own process leaves it."""

    def ask(arguments: list[str], **_: object) -> object:
        report = plain_report(check_folder(Path(arguments[2]), (512,), "", ""))
        return json.loads(json.dumps(report))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_checks, "ask_child", ask)
        dataset_checks.run_check(folder, DatasetNotes(resolutions=(512,)))


def test_findings_copies_crops_and_masks_are_shown_and_mended(page: Page, studio: Served):
    folder = studio.datasets / "birds"
    folder.mkdir(parents=True)
    (folder / "small.png").write_bytes(photo(1, (400, 256)))
    (folder / "tall.png").write_bytes(photo(2, (520, 1600)))
    (folder / "tall_copy.png").write_bytes((folder / "tall.png").read_bytes())
    checked(folder)
    page.goto("/datasets/birds")
    grid(page, 3)
    page.get_by_role("button", name="Check", exact=True).click()
    sheet = page.get_by_role("dialog")
    expect(sheet.get_by_text("Without a caption: 3")).to_be_visible()
    expect(sheet.get_by_text("smaller than 512×512")).to_be_visible()
    sheet.get_by_role("button", name="Keep the best, remove 1").click()
    grid(page, 2)
    expect(sheet.get_by_text("have changed since this check")).to_be_visible()
    sheet.get_by_role("button", name="Close").click()
    page.get_by_label("Show").click()
    page.get_by_role("option", name="Copies").click()
    grid(page, 1).first.click()

    editor = page.get_by_role("dialog")
    editor.get_by_text("What training sees").click()
    editor.get_by_label("When it does not fit").click()
    page.get_by_role("option", name="Keep the top").click()
    editor.get_by_role("button", name=re.compile(r"^512: \d+ × \d+, loses")).click()
    shown = editor.locator(".s-crop").get_attribute("style")
    assert shown is not None
    assert "top: 0" in shown
    editor.get_by_text("Mask", exact=True).click()
    mask = io.BytesIO()
    Image.new("L", (130, 400), 255).save(mask, "PNG")
    with page.expect_file_chooser() as chooser:
        editor.get_by_role("button", name="Choose a mask").click()
    chooser.value.set_files({"name": "m.png", "mimeType": "image/png", "buffer": mask.getvalue()})
    expect(editor.locator(".s-stage-mask")).to_be_visible()
    assert len(list((folder / ".masks").glob("*.png"))) == 1
