"""The New job page in a real browser: from a preset to the queue, through the form, its problems, and the YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from served import Served

from slipstream.jobs.control import pause_queue, resume_queue
from slipstream.jobs.database import Database, open_database
from slipstream.jobs.places import database_url
from slipstream.jobs.store import delete_job, list_jobs

expect.set_options(timeout=20_000)
"""A form of forty settings is drawn anew within a second or two; a busy machine takes several times that."""

JOB = """
job: extension
config:
  name: imported
  process:
    - type: sd_trainer
      trigger_word: foxy
      network: {type: lora, linear: 24, linear_alpha: 24}
      datasets: [{folder_path: /data/foxes, resolution: [512]}]
      train: {steps: 700, lr: 1e-4, batch_size: 1, optimizer: adamw8bit, a_key_of_nobody: 1}
      model: {name_or_path: Tongyi-MAI/Z-Image-Turbo, arch: "zimage:turbo"}
"""


@pytest.fixture
def foxes(studio: Served) -> str:
    folder = studio.datasets / "new_job_foxes"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        Image.new("RGB", (96, 80), (number * 40, 90, 30)).save(folder / f"{number}.png")
    return folder.name


@pytest.fixture
def still_queue(studio: Served) -> Iterator[Database]:
    """The studio's queue, of which nothing is started; its jobs are gone afterwards."""
    db = open_database(database_url(studio.home))
    for name in ("any", "cpu"):
        pause_queue(db, name)
    yield db
    for job in list_jobs(db, text="from_the_browser").jobs:
        delete_job(db, job.id)
    for name in ("any", "cpu"):
        resume_queue(db, name)
    db.close()


def setting(page: Page, path: str) -> Locator:
    return page.locator(f'[data-setting="{path}"]')


def entry(page: Page, path: str) -> Locator:
    return setting(page, path).locator("input").first


def code(page: Page) -> Locator:
    return page.locator(".cm-content")


def view(page: Page, name: str) -> None:
    page.locator(".s-views").get_by_role("button", name=name, exact=True).click()


def test_from_the_tiny_preset_to_the_queue(page: Page, studio: Served, foxes: str, still_queue: Database):
    page.goto("/new")
    expect(page.locator("[data-panel]")).to_have_count(9)
    page.locator("[data-preset=tiny_demo]").click()
    expect(entry(page, "training.learning_rate")).to_have_value("0.001")
    state = page.locator(".s-handin-state")
    expect(state).to_have_text(re.compile("1 thing to fix"))
    page.locator('[data-setting="datasets.0.path"] .q-select').click()
    page.get_by_role("option", name=f"{foxes} · 3 pictures").click()
    expect(state).to_have_text(re.compile("Ready to train"))

    steps = entry(page, "training.steps")
    steps.fill("many")
    expect(setting(page, "training.steps").get_by_role("alert")).to_contain_text("expected a whole number")
    expect(state).to_have_text(re.compile("1 thing to fix"))
    steps.fill("40")
    expect(setting(page, "training.steps").get_by_role("alert")).to_be_hidden()
    expect(state).to_have_text(re.compile("Ready to train"))

    view(page, "YAML")
    expect(code(page)).to_contain_text("steps: 40")
    expect(code(page)).to_contain_text("takes ten times the usual rate")  # the preset's comments are still there
    code(page).click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text("\nadvanced: {log_evry: 5}\n")
    expect(page.locator(".s-finding")).to_contain_text(["did you mean advanced.log_every?"])
    page.get_by_role("button", name="Remove it").click()
    expect(code(page)).not_to_contain_text("log_evry")
    code(page).click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text("\ntarget: [\n")
    expect(page.locator(".s-newjob-yaml").get_by_role("alert")).to_contain_text("Line")
    view(page, "Form")
    expect(page.get_by_text("The YAML cannot be read")).to_be_visible()
    page.get_by_role("button", name="Undo the last change").click()
    expect(entry(page, "training.steps")).to_have_value("40")

    entry(page, "job.name").fill("from_the_browser")
    page.get_by_role("button", name="Add to queue").click()
    expect(page).to_have_url(re.compile("/queue$"))
    expect(page.get_by_text("from_the_browser").first).to_be_visible()
    (job,) = list_jobs(still_queue, text="from_the_browser").jobs
    assert "steps: 40" in job.config_yaml
    assert job.run_dir == studio.runs.resolve() / "from_the_browser"

    page.goto(f"/new?job={job.id}")
    entry(page, "training.steps").fill("60")
    page.get_by_role("button", name="Save changes").click()
    expect(page).to_have_url(re.compile("/queue$"))
    assert "steps: 60" in list_jobs(still_queue, text="from_the_browser").jobs[0].config_yaml


def test_the_variant_shows_what_applies_and_changes_the_previews(page: Page):
    page.goto("/new?preset=turbo_style")
    expect(setting(page, "model.training_adapter")).to_be_visible()
    expect(entry(page, "sample.steps")).to_have_value("8")
    page.get_by_role("button", name="Z-Image De-Turbo").click()
    expect(setting(page, "model.training_adapter")).to_have_count(0)
    expect(entry(page, "model.name_or_path")).to_have_value("ostris/Z-Image-De-Turbo")
    expect(entry(page, "sample.steps")).to_have_value("25")
    expect(entry(page, "sample.guidance_scale")).to_have_value("2.5")
    page.get_by_role("button", name="Undo the last change").click()
    expect(entry(page, "sample.steps")).to_have_value("8")


def test_search_help_groups_and_reset(page: Page):
    page.goto("/new?preset=turbo_style")
    search = page.get_by_label("Search settings")
    search.fill("lokr factor")
    expect(page.locator(".s-search-result").first).to_contain_text("LoKr factor")
    search.press("Enter")  # opens the fold that it is in
    expect(setting(page, "target.lokr_factor")).to_be_in_viewport()
    page.get_by_role("button", name="Help on Learning rate").click()
    expect(page.get_by_text("Careful", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    setting(page, "training.ema").locator(".q-toggle").click()
    expect(entry(page, "training.ema.decay")).to_have_value("0.99")
    entry(page, "target.rank").fill("32")
    page.get_by_role("button", name="Reset Rank").click()
    expect(entry(page, "target.rank")).to_have_value("16")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_job_file_of_ai_toolkit_is_imported_with_its_report(page: Page):
    page.goto("/new")
    page.get_by_role("button", name="Import").click()
    page.get_by_label("Paste the file here").fill(JOB)
    page.get_by_role("button", name="Convert").click()
    expect(page.locator(".s-key").filter(has_text="a_key_of_nobody")).to_contain_text("unknown")
    page.get_by_role("button", name="Use it").click()
    expect(entry(page, "target.rank")).to_have_value("24")
    expect(entry(page, "job.name")).to_have_value("imported")


def test_a_run_or_job_that_is_not_there_is_told(page: Page):
    page.goto("/new?run=nothing")
    expect(page.locator(".q-notification")).to_contain_text("run of this name")
    expect(page.locator("[data-panel]")).to_have_count(9)
