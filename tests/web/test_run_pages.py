"""Runs in a real browser: the list, a run that goes on while somebody looks, its previews, log and checkpoints."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from example_runs import as_if, draw, make_run
from playwright.sync_api import Page, expect
from served import Served

from slipstream.core.atomic import write_json
from slipstream.runs.lock import worker_lock

_FIGURES = {"light": "green", "leak_same": 0.21, "leak_unrelated": 0.1, "memorised": 0.0, "dominated": False}
RANKING = {
    "version": 1,
    "recommended": {"step": 50, "weight": 0.8},
    "checkpoints": [
        {"step": 50, "strength": 0.64, "drift": 18.0, "score": 0.52, **_FIGURES},
        {"step": 100, "strength": 0.66, "drift": 31.0, "score": 0.4, **_FIGURES},
    ],
}


@pytest.fixture(scope="module")
def foxy(studio: Served):
    run = make_run(studio.runs, "foxy")
    run.report.write_text("<!doctype html><title>report</title>")
    make_run(studio.runs, "broken", state="failed", done=40)
    return run


def test_the_list_is_searched_and_leads_to_a_run(page: Page, foxy):
    page.goto("/runs")
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_role("article").filter(has_text="broken")).to_contain_text("it broke")
    page.get_by_label("Search by name").fill("fox")
    expect(page.get_by_role("article")).to_have_count(1)
    page.get_by_role("link", name="foxy").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("foxy")
    expect(page.get_by_text("Finished", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Loss 0"))).to_be_visible()
    expect(page.locator(".r-newest img")).to_have_count(3)
    page.goto("/runs/nothing")
    expect(page.get_by_text("There is no run of this name")).to_be_visible()


def test_a_run_goes_on_before_the_eyes_and_is_asked_to_stop(page: Page, studio: Served):
    run = make_run(studio.runs, "live", state="running", done=60)
    with worker_lock(run):
        page.goto("/runs/live")
        expect(page.get_by_text("60 / 100", exact=True)).to_be_visible()
        draw(run, 70, 0)
        with run.metrics.open("a") as handle:
            handle.write(json.dumps({"step": 61, "loss": 0.123}) + "\n")
        as_if(run, step=61, phase="previews", done=1, total=3)
        expect(page.get_by_text("61 / 100", exact=True)).to_be_visible()
        expect(page.get_by_text("Drawing previews · 1 / 3")).to_be_visible()
        expect(page.get_by_text("After 70 steps")).to_be_visible()
        expect(page.get_by_role("img", name=re.compile(r"Loss 0\.1230"))).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("It saves and stops after this step.")).to_be_visible()
        assert (run.controls / "stop").exists()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.get_by_text("Killed", exact=True)).to_be_visible()


def test_findings_come_while_somebody_looks_and_are_tried_in_a_new_job(page: Page, studio: Served):
    run = make_run(studio.runs, "hot", state="running", done=60)
    with worker_lock(run):
        page.goto("/runs/hot")
        expect(page.get_by_role("button", name="Drift", pressed=True)).to_be_visible()
        finding = page.locator(".r-finding").filter(has_text="Turbo has drifted")
        expect(finding).to_have_count(0)
        for step, score, light in ((60, 50, "yellow"), (61, 70, "red")):
            with run.drift.open("a") as handle:
                handle.write(json.dumps({"step": step, "score": score, "light": light}) + "\n")
        as_if(run, step=61)
        expect(page.get_by_role("img", name=re.compile(r"Drift 70"))).to_be_visible()
    expect(finding).to_contain_text("left green at step 60 and was red at step 61")
    expect(finding).to_contain_text("Use the checkpoint of step 50.")
    finding.get_by_role("button", name="Try in a new job").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New job")
    draft = (studio.home / "drafts" / "try_hot.yaml").read_text()
    assert "learning_rate: 5.0e-05" in draft or "learning_rate: 5e-05" in draft
    spanish = page.request.get(f"{studio.address}/api/runs/hot/findings?language=es").json()
    assert "Turbo ha derivado" in [finding["title"] for finding in spanish]
    shutil.rmtree(run.path)


def test_previews_are_looked_through_with_the_keyboard(page: Page, foxy):
    page.goto("/runs/foxy?tab=previews")
    cells = page.locator(".r-cell img")
    expect(cells).to_have_count(9)
    assert page.evaluate("[...document.querySelectorAll('.r-cell img')].every((one) => one.src.includes('thumbnail'))")
    page.get_by_role("gridcell", name="Step 100: a [trigger] emoji of fox").click()
    viewer = page.get_by_role("dialog", name="Picture")
    picture = viewer.locator("figure img").first
    expect(picture).to_have_attribute("src", re.compile("/previews/100/0"))
    page.keyboard.press("ArrowLeft")
    expect(picture).to_have_attribute("src", re.compile("/previews/50/0"))
    page.keyboard.press("ArrowDown")
    expect(picture).to_have_attribute("src", re.compile("/previews/50/1"))
    expect(viewer.get_by_text("seed 42")).to_be_visible()
    viewer.get_by_role("button", name="Difference").click()
    expect(viewer.get_by_text(re.compile(r"\d+\.\d\d % apart"))).to_be_visible()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    page.get_by_role("button", name="By checkpoint").click()
    expect(page.locator(".r-turn-one img")).to_have_count(3)
    page.get_by_role("slider", name="Step 100").press("ArrowLeft")
    expect(page.locator(".r-turn-one img").first).to_have_attribute("src", re.compile("/previews/50/0"))


def test_the_log_is_searched_and_a_checkpoint_deleted_after_a_question(page: Page, foxy):
    page.goto("/runs/foxy?tab=log")
    expect(page.get_by_text("00199 line of the log, ñ")).to_be_visible()
    page.get_by_label("Search the log").fill("00150")
    expect(page.locator(".r-log-line")).to_have_count(1)
    write_json(foxy.ranking, RANKING)
    page.get_by_role("tab", name="Checkpoints").click()
    expect(page.get_by_text("Take step 50 at weight 0.8.")).to_be_visible()
    expect(page.locator(".r-ranking-chosen td")).to_have_text(["50", "64%", "18", "21%", "0%", "0.52"])
    expect(page.get_by_role("img", name="Strength against Drift")).to_be_visible()
    expect(page.get_by_role("button", name="Rank again")).to_be_visible()
    old = foxy.checkpoints / "foxy_000000050.safetensors"
    page.get_by_role("button", name=f"More to do with {old.name}").click()
    page.get_by_text("Delete", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    assert old.exists()
    page.get_by_role("button", name=f"More to do with {old.name}").click()
    page.get_by_text("Delete", exact=True).click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text(old.name)).to_have_count(0)
    assert not old.exists()
    page.get_by_role("tab", name="Config").click()
    expect(page.get_by_text("training.steps")).to_be_visible()


def test_runs_are_compared_by_curves_pictures_and_settings(page: Page, studio: Served, foxy):
    other = make_run(studio.runs, "other", steps=80, every=40)
    other.preview_image(80, 1).unlink()
    page.goto("/runs")
    for name in ("foxy", "other"):
        page.get_by_role("checkbox", name=f"Choose {name} for").click()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare")
    expect(page.get_by_role("img", name=re.compile("foxy: Loss .*; other: Loss"))).to_be_visible()
    expect(page.locator(".r-cell img")).to_have_count(5)
    expect(page.get_by_role("gridcell", name="other, step 80: a [trigger] emoji of fox")).to_be_visible()
    page.get_by_role("button", name="One prompt over checkpoints").click()
    expect(page.locator(".r-wall-step")).to_have_text(["100", "80", "50", "40", "0"])
    expect(page.get_by_role("row").filter(has_text="training.steps")).to_contain_text("10080")
    page.get_by_role("button", name="Take other away").click()
    expect(page.get_by_text("There is one run only")).to_be_visible()


def test_the_dashboard_shows_what_goes_on_and_what_came_last(page: Page, studio: Served, foxy):
    run = make_run(studio.runs, "marathon", state="running", done=10)
    with worker_lock(run):
        page.goto("/")
        card = page.locator(".r-active").filter(has=page.get_by_role("link", name="marathon", exact=True))
        expect(card).to_contain_text("10 / 100")
        expect(card.locator("img")).to_have_count(3)
        expect(page.get_by_role("article").filter(has_text="foxy")).to_be_visible()
        as_if(run, step=11)
        expect(card).to_contain_text("11 / 100")
    expect(page.get_by_role("article").filter(has_text="marathon")).to_contain_text("Killed")
    expect(page.locator(".r-active")).to_have_count(0)
