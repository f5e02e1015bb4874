"""The contact sheet: every picture in its place, and sizes that stay sane."""

from itertools import pairwise

import numpy as np
import pytest
from fake_run import PROMPTS, STEPS, draw_preview
from PIL import Image, ImageFont

from slipstream.reports.contact_sheet import write_contact_sheet
from slipstream.reports.headings import Heading
from slipstream.reports.pictures import find_previews, thinned
from slipstream.reports.sheet import MAX_SIDE, wrapped


def sheet_of(run, prompts=PROMPTS) -> np.ndarray:
    path = write_contact_sheet(run, [Heading(prompt) for prompt in prompts])
    assert path == run.contact_sheet
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def centre_of(pixels: np.ndarray, color: tuple[int, int, int]) -> tuple[float, float]:
    rows, columns = np.nonzero((pixels == color).all(-1))
    assert len(rows) > 500, f"{color} is not on the sheet"
    return float(rows.mean()), float(columns.mean())


def test_rows_are_steps_and_columns_are_prompts(empty_run):
    colors = {(step, prompt): (50 + step, 10 + 100 * prompt, 200) for step in STEPS for prompt in range(2)}
    for (step, prompt), color in colors.items():
        draw_preview(empty_run, step, prompt, color=color)
    pixels = sheet_of(empty_run)
    places = {cell: centre_of(pixels, color) for cell, color in colors.items()}
    for step in STEPS:
        assert places[step, 0][0] == pytest.approx(places[step, 1][0])
        assert places[step, 0][1] < places[step, 1][1]
    for prompt in range(2):
        assert places[0, prompt][0] < places[50, prompt][0] < places[100, prompt][0]
        assert places[0, prompt][1] == pytest.approx(places[100, prompt][1])


def test_no_pictures_no_sheet(empty_run):
    assert write_contact_sheet(empty_run, [Heading(prompt) for prompt in PROMPTS]) is None
    empty_run.previews.mkdir()
    (empty_run.previews / "holiday.png").write_bytes(b"")
    assert write_contact_sheet(empty_run, [Heading(prompt) for prompt in PROMPTS]) is None
    assert not empty_run.contact_sheet.exists()


def test_missing_and_broken_pictures_are_empty_tiles(empty_run):
    draw_preview(empty_run, 0, 0, color=(250, 10, 10))
    draw_preview(empty_run, 50, 1, color=(10, 10, 250))
    empty_run.preview_image(0, 1).write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
    pixels = sheet_of(empty_run)
    row, column = centre_of(pixels, (250, 10, 10))
    other_row, other_column = centre_of(pixels, (10, 10, 250))
    tile = pixels[round(row), round(other_column)]
    assert (tile == pixels[round(other_row), round(column)]).all()
    assert (tile != pixels[2, 2]).any(), "an empty tile should stand out from the paper"


def test_the_sheet_does_not_read_itself_back(full_run):
    first = sheet_of(full_run)
    assert (sheet_of(full_run) == first).all()
    assert find_previews(full_run).steps == STEPS


@pytest.mark.parametrize(("steps", "prompts", "size"), [(40, 2, (512, 512)), (3, 30, (64, 96)), (2, 2, (3000, 2000))])
def test_large_sets_stay_within_bounds(empty_run, steps, prompts, size):
    for step in range(steps):
        for prompt in range(prompts) if step == 0 else range(1):
            draw_preview(empty_run, step * 250, prompt, size=size)
    height, width, _ = sheet_of(empty_run, ["a prompt " * 40] * prompts).shape
    assert max(height, width) <= MAX_SIDE


def test_small_pictures_are_enlarged_and_large_ones_kept(empty_run):
    draw_preview(empty_run, 0, 0, size=(32, 16), color=(250, 10, 10))
    rows, columns = np.nonzero((sheet_of(empty_run, ["a"]) == (250, 10, 10)).all(-1))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (192, 96)
    draw_preview(empty_run, 0, 0, size=(600, 300), color=(250, 10, 10))
    rows, columns = np.nonzero((sheet_of(empty_run, ["a"]) == (250, 10, 10)).all(-1))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (600, 300)


def test_thinning_keeps_first_last_and_spreads_the_rest():
    assert thinned([0, 1, 2], 24) == (0, 1, 2)
    found = thinned(range(0, 101 * 250, 250), 24)
    assert (len(found), found[0], found[-1]) == (24, 0, 25000)
    gaps = {after - before for before, after in pairwise(found)}
    assert gaps <= {1000, 1250}


def test_long_prompts_are_wrapped_and_cut():
    font = ImageFont.load_default(16)
    text = "one two three four five six seven eight nine ten"
    lines = wrapped(text, font, 100, 3)
    assert len(lines) == 3
    assert lines[-1].endswith("…")
    assert all(font.getlength(line) <= 100 for line in lines)
    assert text.startswith(" ".join(lines)[:-1])
    assert wrapped("short", font, 100, 3) == ["short"]
    assert "".join(wrapped("x" * 60, font, 100, 99)) == "x" * 60
    assert wrapped("", font, 100, 3) == [""]
