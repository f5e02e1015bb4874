"""The picture of strength against cost."""

from __future__ import annotations

from slipstream.reports.scatter import Mark, scatter_svg


def mark(x: float, y: float, *, dominated: bool = False, chosen: bool = False) -> Mark:
    return Mark(x, y, "100", "step 100: strength <1>", "green", dominated, chosen)


def test_one_is_ringed_and_beaten_ones_are_faint():
    svg = scatter_svg([mark(1, 0.2), mark(2, 0.1, dominated=True), mark(3, 0.8, chosen=True)],
                      x_label="drift", y_label="strength", percent_x=False)  # fmt: skip
    assert svg.count('class="ring"') == 1
    assert svg.count('class="beaten green"') == 1
    assert svg.index('class="beaten green"') < svg.index('class="front green"') < svg.index('class="chosen green"')
    assert "&lt;1&gt;" in svg


def test_a_single_one_without_any_cost_can_be_drawn():
    assert "<polyline" in scatter_svg([mark(0, -0.1)], x_label="leak", y_label="strength", percent_x=True)
