"""Experiments in a real browser: the list, the comparison, and a run that finishes while somebody looks."""

from __future__ import annotations

import re

from example_experiments import make_experiment
from example_runs import make_run
from playwright.sync_api import Page, expect
from served import Served

from slipstream.runs.progress import Progress, write_progress


def test_the_list_leads_to_a_comparison(page: Page, studio: Served):
    page.goto("/experiments")
    expect(page.get_by_text("No experiments yet")).to_be_visible()
    make_experiment(studio.runs)
    page.reload()
    row = page.get_by_role("article")
    expect(row).to_contain_text("6 of 6 runs finished")
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("foxy_none_vs_v2")
    expect(
        page.get_by_text(re.compile(r"v2 drifts less than training_adapter none in 3 of 3 seeds: −4 ± 0"))
    ).to_be_visible()
    expect(page.get_by_text(re.compile("With 3 pairs the 95 % interval reaches 4.3 standard errors"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("model.training_adapter none v2"))).to_be_visible()
    expect(page.locator(".r-chart-canvas canvas")).to_be_visible()
    expect(page.locator(".r-cell img")).to_have_count(4)
    page.get_by_role("button", name="seed 44").click()
    expect(page.locator(".r-cell img").first).to_have_attribute("src", re.compile("s44"))
    page.goto("/experiments/nothing")
    expect(page.get_by_text("There is no experiment of this name")).to_be_visible()


def test_a_run_finishes_before_the_eyes(page: Page, studio: Served):
    one = make_experiment(studio.runs, "live", seeds=1)
    last = one.run_dir(one.runs[1])
    write_progress(last, Progress(state="stopped", step=60, steps=100))
    page.goto("/experiments/live")
    expect(page.get_by_text("1 of 2 runs finished")).to_be_visible()
    expect(page.get_by_text("No seed has every arm finished yet")).to_be_visible()
    write_progress(last, Progress(state="finished", step=100, steps=100))
    expect(page.get_by_text("2 of 2 runs finished")).to_be_visible()
    expect(page.get_by_text("One pair shows what happened once")).to_be_visible()


def test_an_experiment_is_begun_from_a_run(page: Page, studio: Served):
    make_run(studio.runs, "foxy")
    page.goto("/experiments")
    page.get_by_role("button", name="New experiment").click()
    begin = page.get_by_role("button", name="Put into the queue")
    expect(begin).to_be_disabled()
    page.get_by_label("All else as in the run").fill("foxy")
    page.get_by_role("option", name="foxy", exact=True).click()
    page.get_by_label("What to compare").fill("target.rnak=8,16")
    expect(page.get_by_text("did you mean target.rank?")).to_be_visible()
    page.get_by_label("What to compare").fill("target.rank=8,16")
    expect(page.get_by_text("6 trainings: 2 arms × 3 seeds")).to_be_visible()
    begin.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("foxy_rank_8_vs_rank_16")
    expect(page.get_by_text("0 of 6 runs finished")).to_be_visible()


def test_it_speaks_spanish(browser, studio: Served):
    make_experiment(studio.runs)
    context = browser.new_context(base_url=studio.address, locale="es-ES")
    tab = context.new_page()
    tab.goto("/experiments/foxy_none_vs_v2")
    expect(tab.get_by_text(re.compile("v2 deriva menos que training_adapter none en 3 de 3 semillas"))).to_be_visible()
    expect(tab.get_by_role("link", name="Informe")).to_be_visible()
    context.close()
