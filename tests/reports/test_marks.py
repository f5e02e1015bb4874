"""Prompts with and without the trigger word are told apart, sizes may differ, and a sweep of weights has its sheet."""

import json

import numpy as np
import pytest
from fake_run import draw_preview, manifest
from PIL import Image

from slipstream.reports.contact_sheet import write_contact_sheet, write_weight_sheet
from slipstream.reports.headings import Heading, headings_of, run_headings
from slipstream.reports.html import render_report
from slipstream.reports.pictures import difference, find_previews, find_weights
from slipstream.reports.sheet import Sheet, draw_sheet

GREEN, AMBER = (15, 118, 110), (180, 83, 9)
PLAIN = {"width": 64, "height": 64, "steps": 8, "guidance_scale": 0.0, "lora_scale": 1.0, "seed": 1}
PICTURES = [
    {**PLAIN, "prompt": "a zfox", "has_trigger": True},
    {**PLAIN, "prompt": "a dog", "has_trigger": False, "height": 96, "lora_scale": 0.5},
]


def count(picture: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == color).all(-1).sum())


def draw_weight(run, scale, prompt, color, step=100, size=(64, 48)):
    run.previews.mkdir(exist_ok=True)
    Image.new("RGB", size, color).save(run.weight_image(step, scale, prompt))


def test_headings_say_what_is_a_prompts_own_and_nothing_that_all_share():
    assert headings_of([PICTURES[0]]) == [Heading("a zfox", "", True)]
    assert [heading.note for heading in headings_of(PICTURES)] == ["64 x 64", "LoRA x 0.5 · 64 x 96"]
    varied = [{**PLAIN, "prompt": "a", "steps": 4}, {**PLAIN, "prompt": "b", "guidance_scale": 2.5}]
    assert [heading.note for heading in headings_of(varied)] == ["4 steps · CFG 0", "8 steps · CFG 2.5"]
    assert [heading.mark for heading in headings_of(PICTURES)] == ["trigger", "no trigger"]


def test_runs_of_earlier_versions_have_unmarked_headings():
    assert run_headings({"sample": {"prompts": ["a", "b"]}}) == [Heading("a"), Heading("b")]
    assert run_headings({"sample": {"prompts": ["a"], "pictures": PICTURES[:1]}}) == [Heading("a zfox", "", True)]
    assert run_headings({}) == []


@pytest.mark.parametrize(("marks", "shown"), [((True, False), (1, 1)), ((True, True), (1, 1)), ((None, None), (0, 0))])
def test_a_sheet_has_a_legend_where_prompts_are_marked(marks, shown):
    headings = [Heading(f"prompt {number}", "", mark) for number, mark in enumerate(marks)]
    picture = draw_sheet(Sheet("run", ["step 0"], headings, {}))
    assert tuple(min(1, count(picture, color)) for color in (GREEN, AMBER)) == shown


def test_columns_are_as_wide_as_their_pictures_and_rows_stay_in_line(empty_run):
    colors = {0: (250, 10, 10), 1: (10, 250, 10), 2: (10, 10, 250)}
    sizes = {0: (400, 200), 1: (200, 300), 2: (200, 200)}
    for step in (0, 50):
        for prompt, size in sizes.items():
            draw_preview(empty_run, step, prompt, size=size, color=colors[prompt])
    write_contact_sheet(empty_run, [Heading("a"), Heading("b"), Heading("c")])
    with Image.open(empty_run.contact_sheet) as sheet:
        pixels = np.asarray(sheet).astype(int)
    middles = []
    for prompt, (width, height) in sizes.items():
        rows, columns = np.nonzero((pixels == colors[prompt]).all(-1))
        assert len(np.unique(columns)) == width
        assert len(np.unique(rows)) == 2 * height
        middles.append((columns.min(), columns.max(), rows.mean()))
    assert middles[0][1] < middles[1][0] < middles[1][1] < middles[2][0]
    assert {round(middle) for *_, middle in middles} == {round(middles[0][2])}


def test_the_newest_sweep_has_a_sheet_and_is_no_preview(empty_run):
    assert find_weights(empty_run) is None
    assert write_weight_sheet(empty_run, headings_of(PICTURES)) is None
    for scale, color in ((0.4, (250, 10, 10)), (1.0, (10, 10, 250))):
        draw_weight(empty_run, scale, 0, color)
        draw_weight(empty_run, scale, 0, (9, 9, 9), step=50)
    sweep = find_weights(empty_run)
    assert (sweep.step, sweep.scales, sorted(sweep.paths)) == (100, (0.4, 1.0), [(0.4, 0), (1.0, 0)])
    assert find_previews(empty_run).paths == {}
    assert write_weight_sheet(empty_run, headings_of(PICTURES)) == empty_run.weight_sheet
    with Image.open(empty_run.weight_sheet) as sheet:
        pixels = np.asarray(sheet).astype(int)
    upper, lower = ((pixels == color).all(-1).nonzero()[0].mean() for color in ((250, 10, 10), (10, 10, 250)))
    assert upper < lower, "weights rise downwards"


def test_the_report_marks_prompts_and_shows_the_sweep(full_run):
    facts = manifest()
    full_run.manifest.write_text(json.dumps(facts))
    assert "no trigger" not in render_report(full_run)
    assert "Which weight to use" not in render_report(full_run)
    facts["sample"]["pictures"] = PICTURES
    full_run.manifest.write_text(json.dumps(facts))
    draw_weight(full_run, 0.4, 0, (51, 0, 40))
    draw_weight(full_run, 0.4, 1, (0, 80, 40))
    page = render_report(full_run)
    assert page.count('<i class="mark off">no trigger</i>') >= 3, "legend, cards and grid"
    assert "Which weight to use" in page
    assert '<i class="mark on"></i>6.7 %' in page, "51 of 255 in one of three channels"
    assert '<i class="mark off"></i>0.0 %' in page
    assert "step_000000100_lora_0.4_prompt_00.png" in page


def test_pictures_that_cannot_be_compared_have_no_difference(empty_run):
    draw_weight(empty_run, 1.0, 0, (0, 0, 0))
    draw_weight(empty_run, 1.0, 1, (255, 255, 255))
    draw_weight(empty_run, 1.0, 2, (0, 0, 0), size=(10, 10))
    paths = [empty_run.weight_image(100, 1.0, prompt) for prompt in range(4)]
    assert difference(paths[0], paths[1]) == 1.0
    assert difference(paths[0], paths[2]) is None
    assert difference(paths[0], paths[3]) is None
