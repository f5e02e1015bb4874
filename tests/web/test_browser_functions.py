"""The functions that pages compute with in the browser, called there; and what components say."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page

from slipstream.web.parts import browser as parts

TEXTS = {
    "preview_wall": parts.WALL_TEXTS, "picture_viewer": parts.VIEWER_TEXTS, "loss_chart": parts.CHART_TEXTS,
    "log_view": parts.LOG_TEXTS, "compare_wall": parts.COMPARE_TEXTS,
}  # fmt: skip


@pytest.fixture
def call(page: Page):
    """Call a function of the module "studio" with plain values."""
    page.goto("/settings")

    def run(name: str, *values):
        return page.evaluate(f"async (a) => (await import('studio')).{name}(...a)", list(values))

    return run


def test_curves(call):
    assert call("smoothed", [1, 2, 3], 0) == [1, 2, 3]
    assert call("smoothed", [4, 4, None, 4], 0.9) == pytest.approx([4, 4, None, 4])
    assert call("smoothed", [0, 1], 0.5) == pytest.approx([0, 2 / 3])
    spiky = [1 + 0.01 * n for n in range(40)] + [500]
    assert call("robustRange", spiky) == pytest.approx([1, 1.39])
    assert call("robustRange", [3, None, 1]) == [1, 3]
    assert call("robustRange", []) is None
    assert call("axisEnds", 0.11, 0.98) == [0, 1, 0.2]
    assert call("axisEnds", 0.0, 0.83) == [0, 1, 0.2]
    assert call("axisEnds", -3, 40, 2) == [-50, 50, 50]
    assert call("axisEnds", 1e-4, 1e-4, 2) == pytest.approx([5e-5, 1.5e-4, 5e-5])
    joined = call("joined", {"step": [1, 2], "loss": [5, 4]}, {"step": [3], "seconds": [9]})
    assert joined == {"step": [1, 2, 3], "loss": [5, 4, None], "seconds": [None, None, 9]}
    assert call("points", joined, "loss") == [[1, 5], [2, 4]]
    assert call("points", {"step": [1, 2], "loss": [0, 4]}, "loss", {"log": True}) == [[2, 4]]


def test_what_is_in_view_and_going_through_cells(call):
    assert call("inView", 0, 600, 100, 1250, 1) == [0, 7]
    assert call("inView", 5000, 600, 100, 1250, 1) == [49, 57]
    assert call("inView", 10**9, 600, 100, 1250, 1) == [1250, 1250]
    assert call("inView", 0, 600, 100, 0) == [0, 0]
    assert call("offsetFor", 3, 0, 600, 100, 66) == 0
    assert call("offsetFor", 9, 0, 600, 100, 66) == 466
    assert call("offsetFor", 2, 900, 600, 100) == 200


def test_prompts_and_steps_of_several_runs_are_aligned(call):
    found = call("alignedPrompts", [["fox", "dog", "a felt cat"], ["dog", "fox", "a clay cat", "owl"]])
    assert [(one["text"], one["indexes"]) for one in found] == [
        ("fox", [0, 1]), ("dog", [1, 0]), ("a felt cat", [2, 2]), ("owl", [None, 3]),
    ]  # fmt: skip
    assert call("alignedPrompts", [["a", "a", "b"]]) == [
        {"text": "a", "indexes": [0]}, {"text": "a", "indexes": [1]}, {"text": "b", "indexes": [2]},
    ]  # fmt: skip
    assert call("alignedPrompts", [[], []]) == []
    assert call("alignedSteps", [[0, 100], [0, 50, 150]]) == [0, 50, 100, 150]
    assert [call("nearest", [0, 100, 200], step) for step in (140, 150, 999)] == [100, 100, 200]
    assert call("nearest", [], 3) is None


def test_cells_without_a_picture_are_passed_over(page: Page):
    page.goto("/settings")
    code = """async () => {
      const { neighbour } = await import("studio");
      const exists = (row, column) => !(row === 1 && column === 0);
      return [neighbour([0, 0], [1, 0], 3, 2, exists), neighbour([2, 0], [1, 0], 3, 2, exists),
              neighbour([1, 1], [0, -1], 3, 2, exists)];
    }"""
    assert page.evaluate(code) == [[2, 0], [2, 0], [1, 1]]


def test_the_difference_of_two_pictures(page: Page):
    page.goto("/settings")
    code = """async () => {
      const { difference } = await import("studio");
      const found = difference([10, 20, 30, 255, 0, 0, 0, 255], [13, 20, 0, 255, 0, 0, 0, 255], 4);
      return JSON.stringify([[...found.pixels], found.mean]);
    }"""
    pixels, mean = json.loads(page.evaluate(code))
    assert pixels == [12, 0, 120, 255, 0, 0, 0, 255]
    assert mean == pytest.approx(33 / (6 * 255))


@pytest.mark.parametrize("name", TEXTS)
def test_a_component_says_what_it_is_given_to_say(name):
    code = (parts.BROWSER / f"{name}.js").read_text(encoding="utf-8")
    used = set(re.findall(r"\btexts\.(\w+)", code))
    prefixes = re.findall(r"\btexts\['(\w+_)' \+", code)
    given = set(TEXTS[name])
    assert used - given == set()
    keyed = {"loss", "validation", "learning_rate", "grad_norm", "seconds"} if "texts[key]" in code else set()
    assert {one for one in given - used - keyed if not one.startswith(tuple(prefixes))} == set()
